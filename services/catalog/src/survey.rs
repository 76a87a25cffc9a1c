//! Reads a Delta log once and derives all that is needed from it: the totals of its files, findings for the plan, and the list of
//! the files. A scan uses the totals, a plan all of it; a log that was read not long ago is not read again ([`kept`]). Memory
//! grows with the number of partitions, which is bounded, and with the number of files, up to a bound.

mod kept;

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;
use std::time::Instant;

use mms_delta::{Budget, FileList, LogId, LoggedFile, Snapshot, TableTotals, TimeColumn};
use mms_proto::FindingReason;
use mms_proto::types::v1::Severity;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use self::kept::Kept;
use crate::error::{CatalogError, Result};
use crate::plan::finding::Note;

/// Most partitions of one source table that a scan stores; the target can have 60,000.
pub const PARTITIONS_MAX: usize = 200_000;
/// Microseconds since 1970 that the tunnel can carry: nanoseconds in 64 bits.
const BY_TUNNEL: RangeInclusive<i64> = (i64::MIN / 1_000)..=(i64::MAX / 1_000);
/// Microseconds since 1970 that the target's type can hold, in the years 0000 to 9999.
const BY_ANY: RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;
/// Estimated memory of a partition's totals and digest, and the fixed memory of one reading, in bytes.
const PARTITION_BYTES: usize = 256;
const READING_BYTES: usize = 1024;

/// The result of reading the log of a version.
pub struct Survey {
    /// The totals of the files, by partition.
    pub totals: TableTotals,
    /// The digest of each partition's files, by its number: it changes when a file or a deleted row does.
    pub digests: Vec<u128>,
    /// The findings for a plan.
    pub notes: Vec<Note>,
    /// The files, unless they take too much memory.
    pub list: FileList,
}

/// Reads logs, and keeps the results for a while.
pub struct Surveys {
    /// Bytes of memory that the files of one plan may take.
    plan_memory: usize,
    /// Bytes of memory that the files of all scans take while they are read.
    scanning: Arc<Budget>,
    kept: Mutex<Kept<LogId, Arc<Survey>>>,
}

impl Surveys {
    /// `plan_memory`: bytes for the files of each plan; `kept`: bytes for the results that are kept, and as many again for logs
    /// that scans are reading.
    pub fn new(plan_memory: usize, kept: usize) -> Self {
        Self { plan_memory, scanning: Arc::new(Budget::new(kept)), kept: Mutex::new(Kept::new(kept)) }
    }

    /// Reads a log for a scan. Its files are collected only for the plan that may follow, and dropped when they take too much
    /// memory.
    pub async fn for_scan(&self, snapshot: &Snapshot) -> Result<Arc<Survey>> {
        self.of(snapshot, FileList::within(self.scanning.clone())).await
    }

    /// Reads a log for a plan.
    pub async fn for_plan(&self, snapshot: &Snapshot) -> Result<Arc<Survey>> {
        self.of(snapshot, FileList::new(self.plan_memory)).await
    }

    async fn of(&self, snapshot: &Snapshot, list: FileList) -> Result<Arc<Survey>> {
        let id = snapshot.log_id();
        if let Some(known) = self.kept.lock().get(&id, Instant::now()) {
            return Ok(known);
        }
        let mut survey = read(snapshot, list).await?;
        survey.list.settle();
        let survey = Arc::new(survey);
        if survey.list.is_whole() {
            let bytes = READING_BYTES + survey.totals.numbers() * PARTITION_BYTES + survey.list.bytes();
            self.kept.lock().put(id, survey.clone(), bytes, Instant::now());
        }
        Ok(survey)
    }

    /// Drops kept results that have expired.
    pub fn forget_old(&self) {
        self.kept.lock().forget_old(Instant::now());
    }
}

/// Reads the log once, and collects its files as long as the list has room.
async fn read(snapshot: &Snapshot, list: FileList) -> Result<Survey> {
    let look = Look {
        totals: TableTotals::default(),
        digests: Vec::new(),
        times: Times::of(snapshot.shape().time_columns()),
        list,
        error: None,
    };
    let Look { totals, digests, times, list, error } = snapshot.fold_files(look, Look::at).await?;
    if let Some(error) = error {
        return Err(error);
    }
    let mut notes = times.notes;
    // The log has been read to its end, so the notes are complete.
    notes.extend(snapshot.notes().into_iter().map(|note| {
        let message = format!("file {} of the log was skipped: {}", note.file, note.message);
        Note::new(Severity::Note, FindingReason::LogFileUnreadable, message, "write a new checkpoint of the table")
    }));
    Ok(Survey { totals, digests, notes, list })
}

/// The state of a reading.
struct Look {
    totals: TableTotals,
    digests: Vec<u128>,
    times: Times,
    list: FileList,
    error: Option<CatalogError>,
}

impl Look {
    fn at(&mut self, file: &LoggedFile<'_>) -> ControlFlow<()> {
        self.totals.add(file);
        if !file.partition_values.is_empty() {
            self.digests.resize(self.totals.numbers(), 0);
            if let Some(sum) = self.digests.get_mut(file.partition) {
                // The sum of the files' digests, so that their order in the log does not matter.
                *sum = sum.wrapping_add(digest_of(file));
            }
        }
        self.times.look(file);
        self.error = match self.list.add(file) {
            Err(error) => Some(error.into()),
            Ok(()) => too_many_partitions(&self.totals),
        };
        if self.error.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The error for a table with more partitions than a scan stores.
fn too_many_partitions(totals: &TableTotals) -> Option<CatalogError> {
    (totals.numbers() > PARTITIONS_MAX).then(|| {
        let what = format!("the table has more than {PARTITIONS_MAX} partitions");
        CatalogError::TooLarge { what, limit: PARTITIONS_MAX as u64 }
    })
}

/// The digest of a file: its path, and which of its rows are deleted.
fn digest_of(file: &LoggedFile<'_>) -> u128 {
    let mut hash = Sha256::new();
    hash.update(file.path.as_bytes());
    if let Some(vector) = &file.deletion_vector {
        hash.update([0]);
        hash.update(vector.path_or_inline.as_bytes());
        hash.update(vector.offset.unwrap_or(0).to_be_bytes());
        hash.update(vector.cardinality.to_be_bytes());
    }
    let bytes = hash.finalize();
    bytes.iter().take(16).fold(0, |number, byte| (number << 8) | u128::from(*byte))
}

/// Timestamp columns whose bounds are still to be checked. A column that the target cannot hold is reported once and removed.
struct Times {
    /// Each with whether it was reported to exceed what the tunnel carries.
    columns: Vec<(TimeColumn, bool)>,
    notes: Vec<Note>,
}

impl Times {
    fn of(columns: Vec<TimeColumn>) -> Self {
        Self { columns: columns.into_iter().map(|column| (column, false)).collect(), notes: Vec::new() }
    }

    fn look(&mut self, file: &LoggedFile<'_>) {
        if self.columns.is_empty() {
            return;
        }
        let Some(told) = file.statistics() else { return };
        let notes = &mut self.notes;
        self.columns.retain_mut(|(column, noted)| {
            let reaches = |bound: &str| format!("`{}` reaches {bound} in file {}", column.name, file.shown_path());
            if let Some(bound) = column.beyond(&told, &BY_ANY) {
                let message =
                    format!("{}, and the target's timestamps have the years 0000 to 9999 only", reaches(&bound));
                let remedy = "make a table of it with CREATE TABLE ... AS SELECT in which such values are NULL, within these years, or a text, and \
                              move that";
                notes
                    .push(Note::blocker(FindingReason::TimestampOutOfRange, message, remedy).of_column(&column.column));
                return false;
            }
            if let Some(bound) = column.beyond(&told, &BY_TUNNEL).filter(|_| !*noted) {
                *noted = true;
                let years = "the tunnel carries timestamps from 1677-09-21 to 2262-04-11 only";
                let message = format!("{}, and {years}: it goes by the Storage API instead", reaches(&bound));
                let remedy = "nothing needs to be done if the account may write by the Storage API";
                let note = Note::new(Severity::Note, FindingReason::TimestampByStorageApi, message, remedy);
                notes.push(note.of_column(&column.column));
            }
            true
        });
    }
}

#[cfg(test)]
mod tests;
