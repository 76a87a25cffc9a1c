//! One reading of a pinned log before anything is planned: what its files add up to, and what of it a plan must say. Memory
//! grows with partitions, which are bounded.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use futures::TryStreamExt;
use mms_delta::{PartitionTotals, PartitionValues, Snapshot, SourceFile, TimeColumn, Totals};
use mms_proto::FindingReason;
use mms_proto::types::v1::Severity;

use super::finding::Note;
use crate::error::{CatalogError, Result};
use crate::scan::facts;

/// Microseconds since 1970 that the tunnel carries: nanoseconds in 64 bits.
const CARRIED: RangeInclusive<i64> = (i64::MIN / 1_000)..=(i64::MAX / 1_000);

/// What the files of a version add up to.
pub struct Survey {
    /// All files.
    pub all: Totals,
    /// Those of each partition.
    pub partitions: Vec<PartitionTotals>,
    /// What came up.
    pub notes: Vec<Note>,
}

/// Reads the log once.
pub async fn files(snapshot: &Snapshot) -> Result<Survey> {
    let mut all = Totals::EMPTY;
    let mut partitions: BTreeMap<PartitionValues, Totals> = BTreeMap::new();
    let mut times = Times { columns: snapshot.shape().time_columns(), notes: Vec::new() };
    let mut files = snapshot.scan_files();
    while let Some(file) = files.try_next().await? {
        all.add(&file);
        times.look(&file);
        if !file.partition_values.is_empty() {
            partitions.entry(file.partition_values.clone()).or_insert(Totals::EMPTY).add(&file);
        }
        if partitions.len() > facts::PARTITIONS_MAX {
            let limit = facts::PARTITIONS_MAX as u64;
            return Err(CatalogError::TooLarge { what: format!("the table has more than {limit} partitions"), limit });
        }
    }
    let partitions = partitions.into_iter().map(|(values, totals)| PartitionTotals { values, totals }).collect();
    let mut notes = times.notes;
    // The log is read to its end now, so that all of it was looked at.
    notes.extend(snapshot.notes().into_iter().map(|note| {
        let message = format!("file {} of the log was passed by: {}", note.file, note.message);
        Note::new(Severity::Note, FindingReason::LogFileUnreadable, message, "write a new checkpoint of the table")
    }));
    Ok(Survey { all, partitions, notes })
}

/// Columns of timestamps, until one was found to reach too far.
struct Times {
    columns: Vec<TimeColumn>,
    notes: Vec<Note>,
}

impl Times {
    fn look(&mut self, file: &SourceFile) {
        let Some(told) = &file.statistics else { return };
        let notes = &mut self.notes;
        self.columns.retain(|column| {
            let Some(bound) = column.beyond(told, &CARRIED) else { return true };
            let message = format!(
                "`{}` reaches {} in file {}, and the target's upload carries timestamps from 1677-09-21 to 2262-04-11 only",
                column.name,
                bound.trim_matches('"'),
                file.shown_path()
            );
            let remedy = "move a view of the table in which such values are NULL, within these years, or a text";
            notes.push(Note::blocker(FindingReason::TimestampOutOfRange, message, remedy).of_column(&column.column));
            false
        });
    }
}
