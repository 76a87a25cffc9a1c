//! Turns one batch of the source into one batch of the target: the planned columns in the target's order, with the types of
//! the way there (tunnel or Storage API). Pure. A value that the target's type cannot hold exactly is an error, never a NULL
//! and never another value.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, SchemaRef, TimeUnit};
use mms_mapping::{ExistingTable, check_existing};
use mms_maxcompute::table::{Column, TableDefinition};
use mms_maxcompute::types::DataType;
use mms_proto::types::v1::{ColumnMapping, ColumnRole};

use crate::error::{Result, TransferError};
use crate::rows::Read;
use crate::values;

/// Turns batches of one task's source into batches of its target.
pub struct Shaper {
    /// Source column and target type of each target column.
    columns: Vec<(String, DataType)>,
    target: SchemaRef,
}

const EXACT: CastOptions<'static> =
    CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

impl Shaper {
    /// A shaper from the planned columns to those of an upload session. The session's columns must be those of the planned
    /// definition by name, order and type: casting to a table that somebody has altered since would change values silently.
    ///
    /// # Errors
    /// [`TransferError::Conflict`] names the columns that differ.
    pub fn new(
        mapping: &[ColumnMapping],
        planned: &TableDefinition,
        found: &[Column],
        target: SchemaRef,
    ) -> Result<Self> {
        let found = ExistingTable {
            kind: None,
            columns: found.to_vec(),
            partition_columns: planned.partition_columns.clone(),
            primary_key: planned.primary_key.iter().map(|name| name.as_str().to_owned()).collect(),
            properties: planned.properties.clone(),
        };
        let differences: Vec<String> = check_existing(planned, &found).iter().map(ToString::to_string).collect();
        if !differences.is_empty() {
            let differences = format!("it was changed after it was planned: {}", differences.join("; "));
            return Err(TransferError::Conflict { target: planned.target.to_string(), differences });
        }
        let data: Vec<&ColumnMapping> = mapping.iter().filter(|column| column.role() == ColumnRole::Data).collect();
        let same = data.len() == target.fields().len()
            && data.iter().zip(target.fields()).all(|(c, field)| c.target_column.eq_ignore_ascii_case(field.name()));
        if !same {
            let planned: Vec<&str> = data.iter().map(|column| column.target_column.as_str()).collect();
            return Err(TransferError::Plan(format!("its columns {planned:?} are not those of its definition")));
        }
        if data.is_empty() {
            return Err(TransferError::Plan("the target has no ordinary column".to_owned()));
        }
        let types = found.columns.into_iter().map(|column| column.data_type);
        Ok(Self { columns: data.iter().map(|column| column.source_column.clone()).zip(types).collect(), target })
    }

    /// Converts one batch. An error names the column, the row, and where the row lies at the source.
    pub fn shape(&self, read: &Read) -> Result<RecordBatch> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for ((column, data_type), field) in self.columns.iter().zip(self.target.fields()) {
            let value = |why: String| TransferError::Value { column: column.clone(), why };
            let Some(source) = read.batch.column_by_name(column) else {
                return Err(value("the source does not have it".to_owned()));
            };
            arrays.push(carried(source, data_type, field).map_err(|fault| {
                let row = first_bad(source.len(), |rows| carried(&source.slice(0, rows), data_type, field).is_ok());
                let shown = |why| format!("{why} ({})", read.shown_row(row));
                match fault {
                    Fault::Value(why) => value(shown(why)),
                    Fault::Beyond(why) => TransferError::Beyond { column: column.clone(), why: shown(why) },
                }
            })?);
        }
        RecordBatch::try_new(self.target.clone(), arrays)
            .map_err(|error| TransferError::Value { column: "(all)".to_owned(), why: error.to_string() })
    }
}

/// Why a column's values cannot be sent as they are.
#[derive(Debug)]
enum Fault {
    /// The target's type cannot hold one of them.
    Value(String),
    /// The tunnel cannot carry one of them; the Storage API may.
    Beyond(String),
}

/// Casts a column to the type of the way there; every value stays exactly what it was.
fn carried(source: &ArrayRef, data_type: &DataType, field: &Field) -> Result<ArrayRef, Fault> {
    let to = field.data_type();
    if values::has_timestamps(to, TimeUnit::Nanosecond) {
        values::reachable(source).map_err(Fault::Beyond)?;
    }
    if values::has_timestamps(to, TimeUnit::Microsecond)
        && values::has_timestamps(source.data_type(), TimeUnit::Nanosecond)
    {
        let why = "nanoseconds, in a table whose timestamps lie outside the years that the tunnel reaches: no way carries both";
        return Err(Fault::Value(why.to_owned()));
    }
    let array = cast_with_options(source, to, &EXACT).map_err(|error| Fault::Value(error.to_string()))?;
    if array.null_count() != source.null_count() {
        return Err(Fault::Value(format!("a value cannot be carried exactly as {to}")));
    }
    values::check(&array, data_type).map_err(Fault::Value)?;
    Ok(array)
}

/// The first bad row, found by halving: `good` says of a number of leading rows whether they are all good.
fn first_bad(rows: usize, good: impl Fn(usize) -> bool) -> usize {
    let (mut fine, mut bad) = (0, rows);
    while bad - fine > 1 {
        let middle = fine + (bad - fine) / 2;
        if good(middle) { fine = middle } else { bad = middle }
    }
    fine
}

/// Bytes of a batch's own values, whatever else the buffers behind them hold.
pub fn bytes(batch: &RecordBatch) -> u64 {
    let of =
        |array: &ArrayRef| array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size());
    batch.columns().iter().map(|array| of(array) as u64).sum()
}

/// Cuts a batch into pieces of about `goal` bytes, each of at least one row.
pub fn pieces(batch: RecordBatch, goal: u64) -> impl Iterator<Item = RecordBatch> {
    let rows = batch.num_rows();
    let most = (rows as u128 * u128::from(goal) / u128::from(bytes(&batch).max(1))).max(1);
    let step = usize::try_from(most).unwrap_or(usize::MAX).min(rows.max(1));
    (0..rows).step_by(step).map(move |at| batch.slice(at, step.min(rows - at)))
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
