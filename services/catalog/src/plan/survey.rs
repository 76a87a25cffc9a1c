//! The reading of a pinned log before anything is planned: what its files add up to, what of it a plan must say, and the files
//! themselves, so that the log is read once. Memory grows with partitions, which are bounded, and with files up to a bound.

use std::ops::{ControlFlow, RangeInclusive};

use mms_delta::{FileList, LoggedFile, Snapshot, TableTotals, TimeColumn};
use mms_proto::FindingReason;
use mms_proto::types::v1::Severity;

use super::finding::Note;
use crate::error::{CatalogError, Result};
use crate::scan::facts;

/// Microseconds since 1970 that the tunnel carries: nanoseconds in 64 bits.
const CARRIED: RangeInclusive<i64> = (i64::MIN / 1_000)..=(i64::MAX / 1_000);

/// What the files of a version are.
pub struct Survey {
    /// What they add up to.
    pub totals: TableTotals,
    /// What came up.
    pub notes: Vec<Note>,
    /// The files, unless they take too much memory.
    pub list: FileList,
}

/// Reads the log once, and keeps its files if they take no more than so many bytes.
pub async fn files(snapshot: &Snapshot, memory: usize) -> Result<Survey> {
    let look = Look {
        totals: TableTotals::default(),
        times: Times { columns: snapshot.shape().time_columns(), notes: Vec::new() },
        list: FileList::new(memory),
        error: None,
    };
    let Look { totals, times, list, error } = snapshot.fold_files(look, Look::at).await?;
    if let Some(error) = error {
        return Err(error);
    }
    let mut notes = times.notes;
    // The log is read to its end now, so that all of it was looked at.
    notes.extend(snapshot.notes().into_iter().map(|note| {
        let message = format!("file {} of the log was passed by: {}", note.file, note.message);
        Note::new(Severity::Note, FindingReason::LogFileUnreadable, message, "write a new checkpoint of the table")
    }));
    Ok(Survey { totals, notes, list })
}

/// A reading under way.
struct Look {
    totals: TableTotals,
    times: Times,
    list: FileList,
    error: Option<CatalogError>,
}

impl Look {
    fn at(&mut self, file: &LoggedFile<'_>) -> ControlFlow<()> {
        self.totals.add(file);
        self.times.look(file);
        self.error = match self.list.add(file) {
            Err(error) => Some(error.into()),
            Ok(()) => facts::too_many_partitions(&self.totals),
        };
        if self.error.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Columns of timestamps, until one was found to reach too far.
struct Times {
    columns: Vec<TimeColumn>,
    notes: Vec<Note>,
}

impl Times {
    fn look(&mut self, file: &LoggedFile<'_>) {
        if self.columns.is_empty() {
            return;
        }
        let Some(told) = file.statistics() else { return };
        let notes = &mut self.notes;
        self.columns.retain(|column| {
            let Some(bound) = column.beyond(&told, &CARRIED) else { return true };
            let message = format!(
                "`{}` reaches {} in file {}, and the target's upload carries timestamps from 1677-09-21 to 2262-04-11 only",
                column.name,
                bound,
                file.shown_path()
            );
            let remedy = "make a table of it with CREATE TABLE ... AS SELECT in which such values are NULL, within these years, or a text, and \
                          move that";
            notes.push(Note::blocker(FindingReason::TimestampOutOfRange, message, remedy).of_column(&column.column));
            false
        });
    }
}
