//! Streams the files of a snapshot, one target unit after the other. They come from the list that was made when the log was read:
//! sorted by target partition if all of them fit into memory, else bucket by bucket, since most units lie in a single bucket. If
//! that list grew too large to keep, the log is read again for each batch of units whose files fit into memory together; a unit
//! too large even for that is streamed in the order of the log. Must send each file exactly once and never interleave the files
//! of two units.

use std::ops::ControlFlow;
use std::sync::Arc;

use futures::TryStreamExt;
use mms_delta::{DeltaError, FileList, FilePage, LoggedFile, PartitionValues, Snapshot, SourceFile, TableTotals};
use mms_proto::catalog::v1 as pb;
use mms_proto::types::v1 as types;
use pb::pin_table_response::Part;
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::Status;

use super::message::file_to;
use super::units::Units;
use crate::error::{CatalogError, Result};
use crate::key;
use crate::scan::facts::count;
use crate::survey::Survey;

/// Bounds of one message: number of files, and their encoded bytes (column statistics make the files of wide tables long).
const FILES_MAX: usize = 1000;
const BYTES_MAX: usize = 1 << 20;
/// Sorting files may use this fraction (a quarter) of a plan's memory.
const ORDERED: u64 = 4;

/// The stream of answers.
pub type Out = mpsc::Sender<std::result::Result<pb::PinTableResponse, Status>>;

/// The files of a snapshot, ready to be streamed.
pub struct Files {
    /// The pinned snapshot.
    pub snapshot: Snapshot,
    /// What the reading of its log found, with the list of files.
    pub survey: Arc<Survey>,
    /// Assigns source partitions to target units.
    pub units: Units,
}

/// Why sending ended early.
enum Ended {
    /// The receiver of the stream was dropped.
    Gone,
    Failed(CatalogError),
}

impl<E: Into<CatalogError>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Files {
    /// Streams all files and returns the counts that end the stream. `memory` is in bytes. Stops early without an error when the
    /// receiver was dropped.
    pub async fn emit(&self, memory: usize, out: &Out) -> Result<pb::PinEnd> {
        let limit = memory as u64 / ORDERED;
        let mut sending = Sending::new(&self.survey.totals, &self.units, out);
        let sent = if self.survey.list.is_whole() {
            sending.listed(&self.survey.list, limit).await
        } else {
            self.read_again(&mut sending, limit).await
        };
        match sent {
            Ok(()) | Err(Ended::Gone) => Ok(sending.end),
            Err(Ended::Failed(error)) => Err(error),
        }
    }

    async fn read_again(&self, sending: &mut Sending<'_>, limit: u64) -> std::result::Result<(), Ended> {
        let all: Vec<usize> = (0..self.units.len()).collect();
        for (units, size) in sending.batches(&self.survey.list, &all, limit) {
            let wanted = sending.partitions(&units);
            if size > limit {
                // A batch above the limit is always a single unit.
                let partitions = self.survey.totals.partitions();
                let mut files = self.snapshot.scan_files();
                while let Some(file) = files.try_next().await? {
                    let at = partitions.binary_search_by(|(_, other)| other.values.cmp(&file.partition_values));
                    let number = at.ok().and_then(|at| partitions.get(at)).map_or(0, |(number, _)| *number);
                    if wanted.get(number).copied().unwrap_or(false) {
                        sending.put(number, file).await?;
                    }
                }
            } else {
                let gathered = Gathered { page: FilePage::default(), survey: self.survey.clone(), error: None };
                let gathered = self
                    .snapshot
                    .fold_files(gathered, move |gathered, file| {
                        if wanted.get(file.partition).copied().unwrap_or(false) {
                            gathered.take(file);
                        }
                        if gathered.error.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                    })
                    .await?;
                gathered.error.map_or(Ok(()), |error| Err(Ended::from(error)))?;
                sending.page(gathered.page).await?;
            }
            sending.send().await?;
        }
        Ok(())
    }
}

/// Collects the files of a batch of units while the log is read again.
struct Gathered {
    page: FilePage,
    survey: Arc<Survey>,
    error: Option<DeltaError>,
}

impl Gathered {
    fn take(&mut self, file: &LoggedFile<'_>) {
        let known =
            self.survey.totals.partition(file.partition).map_or(&[][..], |partition| partition.values.as_slice());
        self.error = if known == file.partition_values {
            self.page.add(file).err()
        } else {
            Some(DeltaError::Internal(format!(
                "{} was in another partition when the log was read first",
                file.shown_path()
            )))
        };
    }
}

/// The state of the stream being sent.
struct Sending<'a> {
    totals: &'a TableTotals,
    units: &'a Units,
    /// The source partitions of each unit.
    sources: Vec<Vec<usize>>,
    /// The rank of each source partition in the order of values, by its number.
    ranks: Vec<usize>,
    open: Message,
    end: pb::PinEnd,
    out: &'a Out,
}

/// Units whose files are sorted together, and the bytes that they take in memory.
type Batch = (Vec<usize>, u64);

impl<'a> Sending<'a> {
    fn new(totals: &'a TableTotals, units: &'a Units, out: &'a Out) -> Self {
        let mut ranks = vec![0; totals.numbers()];
        for (rank, (number, _)) in totals.partitions().into_iter().enumerate() {
            if let Some(found) = ranks.get_mut(number) {
                *found = rank;
            }
        }
        let (open, end) = (Message::default(), pb::PinEnd::default());
        Self { totals, units, sources: units.sources(), ranks, open, end, out }
    }

    /// Sends the files of the list: first, bucket by bucket, the units that lie in a single bucket, then the units spread over
    /// several.
    async fn listed(&mut self, list: &FileList, limit: u64) -> std::result::Result<(), Ended> {
        let all: Vec<usize> = (0..self.sources.len()).collect();
        if let [(_, size)] = &*self.batches(list, &all, limit)
            && *size <= limit
        {
            // The usual case: everything fits, in the order of target partitions.
            let wanted = |partition: usize| self.units.unit_of(partition).is_some();
            self.page(list.gather(list.buckets(), wanted)?).await?;
            return self.send().await;
        }
        let mut homes: Vec<Vec<usize>> = vec![Vec::new(); list.buckets().len()];
        let mut spread = Vec::new();
        for (unit, sources) in self.sources.iter().enumerate() {
            let mut buckets = sources.iter().map(|partition| FileList::bucket_of(*partition));
            let first = buckets.next().unwrap_or(0);
            match homes.get_mut(first).filter(|_| buckets.all(|bucket| bucket == first)) {
                Some(home) => home.push(unit),
                None => spread.push(unit),
            }
        }
        let work = homes.into_iter().enumerate().map(|(bucket, units)| (bucket..bucket + 1, units));
        for (buckets, units) in work.chain([(list.buckets(), spread)]) {
            for (units, size) in self.batches(list, &units, limit) {
                let wanted = self.partitions(&units);
                let wanted = |partition: usize| wanted.get(partition).copied().unwrap_or(false);
                if size <= limit {
                    self.page(list.gather(buckets.clone(), wanted)?).await?;
                } else {
                    // A batch above the limit is always a single unit.
                    for page in buckets.clone().flat_map(|bucket| list.pages(bucket)) {
                        self.page(page?.only(wanted)).await?;
                    }
                }
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Groups units into batches that fit into memory; a unit above the limit is a batch of its own.
    fn batches(&self, list: &FileList, units: &[usize], limit: u64) -> Vec<Batch> {
        let mut batches: Vec<Batch> = Vec::new();
        for unit in units {
            let sources = self.sources.get(*unit).map_or(&[][..], Vec::as_slice);
            let size = sources.iter().map(|partition| list.size_of(*partition)).fold(0, u64::saturating_add);
            match batches.last_mut().filter(|(_, sum)| sum.saturating_add(size) <= limit) {
                Some((units, sum)) => {
                    units.push(*unit);
                    *sum += size;
                }
                None => batches.push((vec![*unit], size)),
            }
        }
        batches
    }

    /// Indexed by the number of a source partition: whether it belongs to one of the units.
    fn partitions(&self, units: &[usize]) -> Vec<bool> {
        let mut wanted = vec![false; self.totals.numbers().max(1)];
        for partition in units.iter().filter_map(|unit| self.sources.get(*unit)).flatten() {
            if let Some(found) = wanted.get_mut(*partition) {
                *found = true;
            }
        }
        wanted
    }

    /// Sends files sorted by unit and partition. Within a source partition the order of the log is kept.
    async fn page(&mut self, mut page: FilePage) -> std::result::Result<(), Ended> {
        page.sort_by_key(|partition| (self.units.unit_of(partition), self.ranks.get(partition).copied()));
        for file in page.files(self.totals) {
            let file = file?;
            self.put(file.partition, file.into_source_file()).await?;
        }
        Ok(())
    }

    async fn put(&mut self, partition: usize, file: SourceFile) -> std::result::Result<(), Ended> {
        let Some(unit) = self.units.unit_of(partition) else {
            let what = format!("{} was not in the log when it was read first", file.shown_path());
            return Err(DeltaError::Internal(what).into());
        };
        let fits = self.open.unit == unit
            && self.open.partition == file.partition_values
            && self.open.files.len() < FILES_MAX
            && self.open.bytes < BYTES_MAX;
        if !fits {
            self.send().await?;
        }
        self.end.file_count += 1;
        self.end.size_bytes += count(file.size);
        if self.open.files.is_empty() {
            self.open.unit = unit;
            self.open.partition.clone_from(&file.partition_values);
        }
        let file = file_to(file)?;
        self.open.bytes += file.encoded_len();
        self.open.files.push(file);
        Ok(())
    }

    /// Sends the open message, if it has files.
    async fn send(&mut self) -> std::result::Result<(), Ended> {
        let open = std::mem::take(&mut self.open);
        if open.files.is_empty() {
            return if self.out.is_closed() { Err(Ended::Gone) } else { Ok(()) };
        }
        let target = self.units.units().get(open.unit).map(|unit| unit.target.as_slice()).unwrap_or_default();
        let value = |(column, value): &(String, String)| types::PartitionValue {
            column: column.clone(),
            value: value.clone(),
            is_null: false,
        };
        let source_partition = if open.partition.is_empty() { String::new() } else { key::segment(&open.partition)? };
        let files = pb::UnitFiles {
            target_partition: target.iter().map(value).collect(),
            source_partition,
            files: open.files,
            at_target: self.units.is_at_target(open.unit),
        };
        let sent = self.out.send(Ok(pb::PinTableResponse { part: Some(Part::Files(files)) })).await;
        sent.map_err(|_| Ended::Gone)
    }
}

/// The message being filled: files of one source partition of one unit.
#[derive(Default)]
struct Message {
    unit: usize,
    partition: PartitionValues,
    files: Vec<types::SourceFile>,
    bytes: usize,
}

#[cfg(test)]
#[path = "emit_tests.rs"]
mod tests;
