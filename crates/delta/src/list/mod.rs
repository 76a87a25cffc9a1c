//! All files of a version, kept small: the log is read once, and a plan takes them from here, partition by partition. Files lie
//! in pages of one bucket of partitions each, compressed: about a hundred bytes a file.
//!
//! Nothing here knows of targets, or in which order files are wanted. Nothing here takes more memory than it was given.

mod budget;
mod page;
mod record;

use std::ops::Range;
use std::sync::Arc;

pub use budget::Budget;
pub use page::FilePage;

use crate::{DeltaError, LoggedFile};

/// Buckets that partitions are spread over: what is wanted of one partition is looked for in one of them.
const BUCKETS: usize = 64;
/// Bytes of a page before it is compressed.
const PAGE_BYTES: usize = 64 << 10;
/// Names and statistics repeat themselves so much that more effort gains little.
const LEVEL: i32 = 1;

/// Files of one version.
pub struct FileList {
    /// Where the bytes of full pages are taken from.
    budget: Arc<Budget>,
    /// Bytes that the full ones take.
    taken: usize,
    /// None when it got too large.
    buckets: Option<Vec<Bucket>>,
    /// Bytes of the files of each partition, by its number, before they are compressed.
    sizes: Vec<u64>,
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

#[derive(Clone, Default)]
struct Bucket {
    /// Full pages, with their sizes before they were compressed.
    full: Vec<(Box<[u8]>, usize)>,
    open: Vec<u8>,
}

impl FileList {
    /// A list of no files, which keeps them as long as they take no more than so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self::within(Arc::new(Budget::new(limit)))
    }

    /// A list of no files, which keeps them as long as the budget has room.
    #[must_use]
    pub fn within(budget: Arc<Budget>) -> Self {
        let buckets = Some(vec![Bucket::default(); BUCKETS]);
        Self { budget, taken: 0, buckets, sizes: Vec::new(), compressor: None }
    }

    /// Ends the adding: what it took from its budget is given back, and is for its owner to count from now on.
    pub fn settle(&mut self) {
        self.budget.give(std::mem::take(&mut self.taken));
        self.budget = Arc::new(Budget::new(0));
        self.compressor = None;
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of =
            |bucket: &Bucket| bucket.full.iter().map(|(page, _)| page.len()).sum::<usize>() + bucket.open.capacity();
        let buckets = self.buckets.iter().flatten().map(of).sum::<usize>();
        buckets + BUCKETS * size_of::<Bucket>() + self.sizes.capacity() * size_of::<u64>()
    }

    /// Adds a file behind all others. A list that would get too large lets go of all files, and only counts from then on.
    ///
    /// # Errors
    /// Its page cannot be compressed.
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

    /// Whether all files that were added are here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.buckets.is_some()
    }

    /// Bytes that the files of a partition take in a [`FilePage`].
    #[must_use]
    pub fn size_of(&self, partition: usize) -> u64 {
        self.sizes.get(partition).copied().unwrap_or(0)
    }

    /// The buckets that files lie in.
    #[must_use]
    pub fn buckets(&self) -> Range<usize> {
        0..BUCKETS
    }

    /// The bucket that all files of a partition lie in.
    #[must_use]
    pub fn bucket_of(partition: usize) -> usize {
        partition % BUCKETS
    }

    /// The pages of one bucket. Each is an error of a list that is not whole.
    pub fn pages(&self, bucket: usize) -> impl Iterator<Item = Result<FilePage, DeltaError>> {
        let found = self.buckets.as_ref().and_then(|buckets| buckets.get(bucket)).ok_or_else(|| lost("it was let go"));
        let (found, error) = found.map_or_else(|error| (None, Some(Err(error))), |found| (Some(found), None));
        let full = found.into_iter().flat_map(|bucket| &bucket.full);
        let unpacked = full.map(|(page, size)| zstd::bulk::decompress(page, *size).map_err(lost));
        let open = found.into_iter().map(|bucket| Ok(bucket.open.clone()));
        error.into_iter().chain(unpacked).chain(open).map(|raw| FilePage::of(raw?))
    }

    /// The files of some buckets whose partitions are wanted, as one page.
    ///
    /// # Errors
    /// A page cannot be read.
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
