//! Keeps all files of a version in little memory, so that the log is read once and a plan takes the files from here,
//! partition by partition. Each compressed page holds files of one bucket of partitions; a file takes about a hundred bytes.
//!
//! Knows nothing of targets or of the order in which files are wanted, and must never take more memory than its budget.

mod budget;
mod page;
mod record;

use std::ops::Range;
use std::sync::Arc;

pub use budget::Budget;
pub use page::FilePage;

use crate::{DeltaError, LoggedFile};

/// Number of buckets that partitions are spread over; the files of one partition are all in one bucket.
const BUCKETS: usize = 64;
/// Size of a page before compression, in bytes.
const PAGE_BYTES: usize = 64 << 10;
/// Compression level: names and statistics repeat so much that a higher one gains little.
const LEVEL: i32 = 1;

/// The files of one version. Compressed, and dropped altogether if they outgrow the budget.
pub struct FileList {
    /// The budget that full pages count against.
    budget: Arc<Budget>,
    /// Bytes of the full pages.
    taken: usize,
    /// None once the list outgrew its budget.
    buckets: Option<Vec<Bucket>>,
    /// Bytes of the files of each partition before compression, by its number.
    sizes: Vec<u64>,
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

#[derive(Clone, Default)]
struct Bucket {
    /// Full pages, compressed, each with its size before.
    full: Vec<(Box<[u8]>, usize)>,
    open: Vec<u8>,
}

impl FileList {
    /// An empty list that may take `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self::within(Arc::new(Budget::new(limit)))
    }

    /// An empty list that takes its memory from a shared budget.
    #[must_use]
    pub fn within(budget: Arc<Budget>) -> Self {
        let buckets = Some(vec![Bucket::default(); BUCKETS]);
        Self { budget, taken: 0, buckets, sizes: Vec::new(), compressor: None }
    }

    /// Ends the adding of files and returns the bytes to the budget: from now on the list's owner has to count them.
    pub fn settle(&mut self) {
        self.budget.give(std::mem::take(&mut self.taken));
        self.budget = Arc::new(Budget::new(0));
        self.compressor = None;
    }

    /// Bytes of memory that the list takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of =
            |bucket: &Bucket| bucket.full.iter().map(|(page, _)| page.len()).sum::<usize>() + bucket.open.capacity();
        let buckets = self.buckets.iter().flatten().map(of).sum::<usize>();
        buckets + BUCKETS * size_of::<Bucket>() + self.sizes.capacity() * size_of::<u64>()
    }

    /// Adds a file after all others. A list that outgrows its budget drops all its files and only sums up sizes from then on.
    ///
    /// # Errors
    /// [`DeltaError::Internal`] if a page cannot be compressed.
    pub fn add(&mut self, file: &LoggedFile<'_>) -> Result<(), DeltaError> {
        if self.sizes.len() <= file.partition {
            self.sizes.resize(file.partition + 1, 0);
        }
        if let Some(size) = self.sizes.get_mut(file.partition) {
            *size += record::size(file) as u64;
        }
        let Some(buckets) = &mut self.buckets else { return Ok(()) };
        let Some(bucket) = buckets.get_mut(Self::bucket_of(file.partition)) else { return Ok(()) };
        record::write(file, &mut bucket.open).ok_or_else(|| lost("a text of 4 GiB"))?;
        if bucket.open.len() < PAGE_BYTES {
            return Ok(());
        }
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(zstd::bulk::Compressor::new(LEVEL).map_err(lost)?),
        };
        let page = compressor.compress(&bucket.open).map_err(lost)?;
        if self.budget.take(page.len()) {
            self.taken += page.len();
            bucket.full.push((page.into(), bucket.open.len()));
            bucket.open.clear();
        } else {
            self.buckets = None;
            self.budget.give(std::mem::take(&mut self.taken));
        }
        Ok(())
    }

    /// Whether the list still has all files that were added.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.buckets.is_some()
    }

    /// Bytes that the files of a partition take in a [`FilePage`]. Known even of a list that dropped its files.
    #[must_use]
    pub fn size_of(&self, partition: usize) -> u64 {
        self.sizes.get(partition).copied().unwrap_or(0)
    }

    /// The numbers of the buckets.
    #[must_use]
    pub fn buckets(&self) -> Range<usize> {
        0..BUCKETS
    }

    /// Number of the bucket that holds all files of a partition.
    #[must_use]
    pub fn bucket_of(partition: usize) -> usize {
        partition % BUCKETS
    }

    /// The pages of one bucket. If the list has dropped its files, the only item is an error.
    pub fn pages(&self, bucket: usize) -> impl Iterator<Item = Result<FilePage, DeltaError>> {
        let found = self.buckets.as_ref().and_then(|buckets| buckets.get(bucket)).ok_or_else(|| lost("it was dropped"));
        let (found, error) = found.map_or_else(|error| (None, Some(Err(error))), |found| (Some(found), None));
        let full = found.into_iter().flat_map(|bucket| &bucket.full);
        let unpacked = full.map(|(page, size)| zstd::bulk::decompress(page, *size).map_err(lost));
        let open = found.into_iter().map(|bucket| Ok(bucket.open.clone()));
        error.into_iter().chain(unpacked).chain(open).map(|raw| FilePage::of(raw?))
    }

    /// The files in some buckets whose partitions are wanted, as one page.
    ///
    /// # Errors
    /// [`DeltaError::Internal`] if a page cannot be read, or the list has dropped its files.
    pub fn gather(&self, buckets: Range<usize>, wanted: impl Fn(usize) -> bool) -> Result<FilePage, DeltaError> {
        let mut all = FilePage::default();
        for page in buckets.flat_map(|bucket| self.pages(bucket)) {
            all.take(&page?, &wanted);
        }
        Ok(all)
    }
}

impl Drop for FileList {
    fn drop(&mut self) {
        self.budget.give(self.taken);
    }
}

fn lost(why: impl ToString) -> DeltaError {
    DeltaError::Internal(format!("a page of the list of files cannot be kept or read: {}", why.to_string()))
}

#[cfg(test)]
mod tests;
