//! Sending the files of a snapshot unit by unit. The log gives them in its own order, so it is read once for each batch
//! of units whose files fit into memory together; a unit too large for that is passed through as the log has it.

use futures::TryStreamExt;
use futures::stream::BoxStream;
use mms_delta::{ColumnStatistics, DeletionVector, DeltaError, FileStatistics, PartitionValues, SourceFile};
use mms_proto::catalog::v1 as pb;
use mms_proto::types::v1 as types;
use pb::pin_table_response::Part;
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::Status;

use super::units::Units;
use crate::error::{CatalogError, Result};
use crate::key;
use crate::scan::facts::count;

/// Files in one message, and their bytes: statistics make files of wide tables long.
const FILES_MAX: usize = 1000;
const BYTES_MAX: usize = 1 << 20;

/// Where answers go.
pub type Out = mpsc::Sender<std::result::Result<pb::PinTableResponse, Status>>;
/// The files of a snapshot in the order of its log.
pub type Files = BoxStream<'static, std::result::Result<SourceFile, DeltaError>>;

/// Sends all files, and gives what the end of the stream says of them; ends early, without an error, when nobody listens
/// any more.
pub async fn emit(replay: impl Fn() -> Files, units: &Units, memory: usize, out: &Out) -> Result<pb::PinEnd> {
    let mut end = pb::PinEnd::default();
    for batch in units.batches(memory) {
        let alone = batch.len() == 1;
        let mut gathered: Vec<Vec<SourceFile>> = vec![Vec::new(); batch.len()];
        let mut files = replay();
        let mut open = Message::default();
        while let Some(file) = files.try_next().await? {
            let Some(unit) = units.unit_of(&file.partition_values) else {
                return Err(CatalogError::Delta(DeltaError::Internal(format!(
                    "{} was not there when the table was looked at first",
                    file.shown_path()
                ))));
            };
            if !batch.contains(&unit) {
                continue;
            }
            if alone {
                if !open.put(unit, file, units, out, &mut end).await? {
                    return Ok(end);
                }
            } else if let Some(slot) = gathered.get_mut(unit - batch.start) {
                slot.push(file);
            }
        }
        for (unit, mut files) in batch.zip(gathered) {
            // Stable: within one source partition the order of the log stays.
            files.sort_by(|a, b| a.partition_values.cmp(&b.partition_values));
            for file in files {
                if !open.put(unit, file, units, out, &mut end).await? {
                    return Ok(end);
                }
            }
        }
        if !open.send(units, out).await? {
            return Ok(end);
        }
    }
    Ok(end)
}

/// The message being filled: files of one source partition of one unit.
#[derive(Default)]
struct Message {
    unit: usize,
    partition: PartitionValues,
    files: Vec<types::SourceFile>,
    bytes: usize,
}

impl Message {
    /// Adds a file; false when nobody listens any more.
    async fn put(
        &mut self,
        unit: usize,
        file: SourceFile,
        units: &Units,
        out: &Out,
        end: &mut pb::PinEnd,
    ) -> Result<bool> {
        let fits = self.unit == unit
            && self.partition == file.partition_values
            && self.files.len() < FILES_MAX
            && self.bytes < BYTES_MAX;
        if !self.files.is_empty() && !fits && !self.send(units, out).await? {
            return Ok(false);
        }
        self.unit = unit;
        self.partition.clone_from(&file.partition_values);
        end.file_count += 1;
        end.size_bytes += count(file.size);
        let file = file_to(file)?;
        self.bytes += file.encoded_len();
        self.files.push(file);
        Ok(true)
    }

    async fn send(&mut self, units: &Units, out: &Out) -> Result<bool> {
        if self.files.is_empty() {
            return Ok(!out.is_closed());
        }
        self.bytes = 0;
        let target = units.units().get(self.unit).map(|unit| unit.target.as_slice()).unwrap_or_default();
        let value = |(column, value): &(String, String)| types::PartitionValue {
            column: column.clone(),
            value: value.clone(),
            is_null: false,
        };
        let source_partition = if self.partition.is_empty() { String::new() } else { key::segment(&self.partition)? };
        let files = pb::UnitFiles {
            target_partition: target.iter().map(value).collect(),
            source_partition,
            files: std::mem::take(&mut self.files),
        };
        Ok(out.send(Ok(pb::PinTableResponse { part: Some(Part::Files(files)) })).await.is_ok())
    }
}

fn file_to(file: SourceFile) -> Result<types::SourceFile> {
    let value = |(column, value): (String, Option<String>)| types::PartitionValue {
        column,
        is_null: value.is_none(),
        value: value.unwrap_or_default(),
    };
    Ok(types::SourceFile {
        path: file.path,
        size_bytes: count(file.size),
        row_count: file.rows.map(count),
        partition_values: file.partition_values.into_iter().map(value).collect(),
        deletion_vector: file.deletion_vector.map(vector_to).transpose()?,
        statistics: file.statistics.map(statistics_to),
    })
}

fn vector_to(vector: DeletionVector) -> Result<types::DeletionVector> {
    use types::DeletionVectorStorage as Storage;
    let storage = match vector.storage_type.as_str() {
        "u" => Storage::Relative,
        "p" => Storage::Absolute,
        "i" => Storage::Inline,
        other => {
            let what = format!("a deletion vector of storage type {other:?} is in no version of the Delta protocol");
            return Err(CatalogError::Delta(DeltaError::Internal(what)));
        }
    };
    Ok(types::DeletionVector {
        storage: storage as i32,
        path_or_inline: vector.path_or_inline,
        offset: vector.offset,
        size_bytes: vector.size_in_bytes,
        cardinality: count(vector.cardinality),
    })
}

fn statistics_to(told: FileStatistics) -> types::FileStatistics {
    let column = |column: ColumnStatistics| types::ColumnStatistics {
        path: column.path,
        null_count: column.nulls.map(count),
        min_value: column.least.unwrap_or_default(),
        max_value: column.most.unwrap_or_default(),
    };
    types::FileStatistics {
        row_count: told.rows.map(count),
        tight_bounds: told.tight,
        columns: told.columns.into_iter().map(column).collect(),
    }
}

#[cfg(test)]
#[path = "emit_tests.rs"]
mod tests;
