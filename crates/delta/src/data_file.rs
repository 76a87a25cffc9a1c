//! Opens one Parquet file as batches of bounded bytes, from any row on, one row group after the other. What a column is
//! called and how its type is widened is the kernel's affair; this only decides how much is read at once.
//! Memory: the projected columns of one row group as they are stored, and one batch.

use std::num::NonZero;
use std::sync::Arc;

use arrow::array::RecordBatch;
use delta_kernel::KernelError;
use delta_kernel::engine::arrow_utils::{fixup_parquet_read, parquet_read_plan};
use delta_kernel::engine::reader_options;
use delta_kernel::schema::SchemaRef;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection, RowSelector};
#[allow(deprecated, reason = "the kernel reads with it, and the two must agree")]
use parquet::arrow::async_reader::{ParquetObjectReader, ParquetRecordBatchStreamBuilder};
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use crate::int96;

/// Fewest rows of a batch where the bytes of a row are only guessed, so that a bad guess does not make reading crawl.
const GUESSED_ROWS_MIN: u64 = 256;

/// A file that is being read.
pub(crate) struct DataFile {
    /// Rows that it holds, deleted ones included.
    pub rows: u64,
    /// Its rows from the first one asked for.
    pub batches: BoxStream<'static, Result<RecordBatch, KernelError>>,
}

/// How much is read at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub rows: NonZero<usize>,
    pub bytes: NonZero<usize>,
}

/// Opens a file of `size` bytes; its batches begin with row `first`.
pub(crate) async fn open(
    store: Arc<dyn ObjectStore>,
    object: ObjectPath,
    size: u64,
    schema: SchemaRef,
    goal: Goal,
    first: u64,
) -> Result<DataFile, KernelError> {
    #[allow(deprecated, reason = "the kernel reads with it, and the two must agree")]
    let mut reader = ParquetObjectReader::new(store, object).with_file_size(size);
    let metadata = ArrowReaderMetadata::load_async(&mut reader, reader_options()).await?;
    let metadata = int96::in_micros(metadata, reader_options())?;
    let (ordering, mask) = parquet_read_plan(&schema, &metadata)?;
    let ordering = Arc::new(ordering);
    let groups = metadata.metadata().row_groups();
    let rows = groups.iter().map(group_rows).sum();
    let mut parts = Vec::new();
    let mut begin = 0_u64;
    for (index, group) in groups.iter().enumerate() {
        let end = begin + group_rows(group);
        if end > first.max(begin) {
            parts.push((index, first.saturating_sub(begin), end - begin, batch_rows(group, goal)));
        }
        begin = end;
    }
    let open_group =
        move |(index, skip, rows, batch): (usize, u64, u64, usize)| {
            let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader.clone(), metadata.clone())
                .with_row_groups(vec![index])
                .with_batch_size(batch);
            if let Some(mask) = &mask {
                builder = builder.with_projection(mask.clone());
            }
            if skip > 0 {
                let count = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
                let wanted = vec![RowSelector::skip(count(skip)), RowSelector::select(count(rows - skip))];
                builder = builder.with_row_selection(RowSelection::from(wanted));
            }
            let (ordering, schema) = (ordering.clone(), schema.clone());
            Ok::<_, KernelError>(builder.build()?.map(move |batch| {
                fixup_parquet_read(batch?, &ordering, None, None, Some(&schema)).map(RecordBatch::from)
            }))
        };
    let batches = stream::iter(parts).map(open_group).try_flatten().boxed();
    Ok(DataFile { rows, batches })
}

fn group_rows(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or(0)
}

/// Rows whose values are about as many bytes as the goal.
fn batch_rows(group: &RowGroupMetaData, goal: Goal) -> usize {
    let rows = group_rows(group).max(1);
    let sizes: Vec<(u64, bool)> = group.columns().iter().map(|column| value_bytes(column, rows)).collect();
    let bytes: u64 = sizes.iter().map(|(bytes, _)| *bytes).fold(0, u64::saturating_add);
    let known: u64 = sizes.iter().filter(|(_, guess)| !guess).map(|(bytes, _)| *bytes).fold(0, u64::saturating_add);
    let fit = |bytes: u64| (goal.bytes.get() as u128 * u128::from(rows) / u128::from(bytes.max(1))).max(1);
    // What is known bounds the batch however small; what is guessed only down to a decent number of rows.
    let wanted = fit(bytes).max(u128::from(GUESSED_ROWS_MIN)).min(fit(known));
    usize::try_from(wanted).unwrap_or(usize::MAX).min(goal.rows.get())
}

/// Bytes of a column's values in memory, and whether that is a guess. A dictionary makes the stored size say little of it:
/// a few long texts stand for many rows.
fn value_bytes(column: &ColumnChunkMetaData, rows: u64) -> (u64, bool) {
    let positive = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    let values = positive(column.num_values());
    let stored = positive(column.uncompressed_size());
    let (width, variable) = match column.column_type() {
        PhysicalType::BOOLEAN => (1, false),
        PhysicalType::INT32 | PhysicalType::FLOAT => (4, false),
        PhysicalType::INT64 | PhysicalType::DOUBLE => (8, false),
        PhysicalType::INT96 => (12, false),
        PhysicalType::FIXED_LEN_BYTE_ARRAY => (positive(i64::from(column.column_descr().type_length())).max(16), false),
        PhysicalType::BYTE_ARRAY => (4, true),
    };
    let fixed = values.max(rows).saturating_mul(width);
    if !variable {
        return (fixed, false);
    }
    if let Some(told) = column.unencoded_byte_array_data_bytes() {
        return (fixed.saturating_add(positive(told)), false);
    }
    let dictionary = column.dictionary_page_offset().map(|at| positive(column.data_page_offset().saturating_sub(at)));
    let Some(packed) = dictionary else { return (fixed.saturating_add(stored), false) };
    // The dictionary's share of the stored bytes, unpacked like the rest.
    let share = |bytes: u64| {
        let all = u128::from(positive(column.compressed_size()).max(1));
        u64::try_from(u128::from(stored) * u128::from(bytes) / all).unwrap_or(stored).min(stored)
    };
    let (entries, codes) = (share(packed), stored - share(packed));
    // A code of b bits tells 2^b entries apart; runs make codes shorter, and then the entries seem longer than they are.
    let bits = codes.saturating_mul(8) / values.max(1);
    let average = entries >> bits.min(40);
    (fixed.saturating_add(stored.max(average.saturating_mul(values))), true)
}

#[cfg(test)]
#[path = "data_file_tests.rs"]
mod tests;
