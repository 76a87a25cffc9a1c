//! Replays a log with the Delta kernel. It is slower than our own replay, and reports what is wrong with a log.

use delta_kernel::engine::arrow_data::EngineDataArrowExt;
use delta_kernel::scan::StatsOptions;

use super::keys::{Keys, Said, Verdict};
use super::logged::{LoggedFile, rows_left};
use super::rows::{Rows, column};
use super::{Replay, Sink};
use crate::DeltaError;
use crate::drive::Stop;
use crate::place::decoded;
use crate::snapshot::Opened;

/// Replays the log. Passes on the live files except those that are live in `given`, which were passed on before. Adds all files
/// to `live`.
pub(super) fn replay(
    opened: &Opened,
    replay: &mut Replay<'_>,
    live: &mut Keys,
    given: &Keys,
    sink: Sink<'_>,
) -> Result<(), Stop> {
    let snapshot = replay.snapshot;
    let of_log = |e| DeltaError::of_log(e, snapshot.shape().root(), Some(snapshot.version()));
    let scan = opened
        .inner
        .clone()
        .scan_builder()
        .with_stats(StatsOptions::json_only())
        .without_row_transforms()
        .build()
        .map_err(of_log)?;
    for page in scan.scan_metadata(opened.engine.as_ref()).map_err(of_log)? {
        let page = page.map_err(of_log)?;
        let rows = page.scan_files.apply_selection_vector().and_then(EngineDataArrowExt::try_into_record_batch);
        let batch = rows.map_err(of_log)?;
        let constants: &arrow::array::StructArray = column(&batch, "fileConstantValues")?;
        let rows = Rows::of(&batch, constants)?;
        for row in 0..batch.num_rows() {
            file(replay, &rows, row, live, given, sink)?;
        }
    }
    Ok(())
}

fn file(
    replay: &mut Replay<'_>,
    rows: &Rows<'_>,
    row: usize,
    live: &mut Keys,
    given: &Keys,
    sink: Sink<'_>,
) -> Result<(), Stop> {
    let shape = replay.snapshot.shape();
    let path = rows.path(row).unwrap_or_default();
    let wrong = |reason: String| DeltaError::InvalidLog { root: shape.shown_root(), reason };
    let invalid = |what: String| wrong(format!("file {} has {what}", decoded(path)));
    shape.locate(path)?;
    let vector = rows.deletion_vector(row).map_err(|n| invalid(format!("a deletion vector of cardinality {n}")))?;
    let id = vector.as_ref().map(crate::DeletionVector::id);
    let key = live.key(path, id);
    if live.say(key, path, id, Said::Kept) != Verdict::New {
        return Err(Stop::Failed(wrong(format!(
            "two live entries of it name {} (with different deletion vectors, or spelled differently): its rows would be \
             read twice",
            decoded(path)
        ))));
    }
    let size = rows.size(row).unwrap_or_default();
    let size = u64::try_from(size).map_err(|_| invalid(format!("size {size}")))?;
    let stats = rows.stats(row);
    let left = rows_left(stats, vector.as_ref()).map_err(invalid)?;
    let entry = rows.partition_values(row).unwrap_or_default();
    let partition = replay.partitions.number(&entry).map_err(invalid)?;
    if given.is_live(key) {
        return Ok(());
    }
    let partition_values = replay.partitions.get(partition);
    sink(LoggedFile { path, size, rows: left, partition, partition_values, deletion_vector: vector, stats })
}
