//! Files of rows: written batch by batch from an upload, read range by range for a download.
//!
//! A block that fails a check leaves no file behind.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{SchemaRef, TimeUnit};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;

use super::super::disk;
use super::super::error::{ApiError, ApiResult};
use super::super::schema::Column;
use super::super::table::{DataFile, FileEntry};
use super::super::wire::carrier::{Form, arrow_schema, convert};
use super::super::wire::check::check_column;
use super::super::wire::encoding::Encoding;
use super::super::wire::frame::Deframer;
use super::super::wire::from_io;
use super::super::wire::ipc::BatchReader;
use super::super::wire::record_read::RecordReader;
use super::super::wire::stream::StreamBatches;

/// The most rows of a batch in a file.
const ROWS: usize = 8192;

/// The format in which the rows of a block arrive or leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// As records.
    Records,
    /// As Arrow messages in CRC frames.
    Arrow,
    /// As an Arrow stream whose timestamps have this unit.
    Stream(TimeUnit),
}

/// A file that is removed on drop unless it is marked as kept.
struct Pending {
    path: PathBuf,
    kept: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "a rejected block's file stays until the next start");
        }
    }
}

fn disk_error(error: impl std::fmt::Display) -> ApiError {
    ApiError::internal(format!("the sandbox's own disk: {error}"))
}

struct BlockWriter {
    writer: FileWriter<BufWriter<File>>,
    batches: Vec<u64>,
    columns: Vec<Column>,
}

impl BlockWriter {
    fn write(&mut self, batch: &RecordBatch) -> ApiResult<()> {
        for (array, column) in batch.columns().iter().zip(&self.columns) {
            check_column(array, column).map_err(ApiError::malformed)?;
        }
        let mut at = 0;
        while at < batch.num_rows() {
            let rows = ROWS.min(batch.num_rows() - at);
            self.writer.write(&batch.slice(at, rows)).map_err(disk_error)?;
            self.batches.push(rows as u64);
            at += rows;
        }
        Ok(())
    }
}

/// Receives a block into `dir`. Every CRC, length and cell is checked, and the file is on disk when this returns.
///
/// # Errors
/// What is wrong with the block. The file is removed then.
pub fn receive(
    dir: &Path,
    name: String,
    columns: &[Column],
    carrier: Carrier,
    encoding: Encoding,
    body: impl Read,
) -> ApiResult<FileEntry> {
    let mut pending = Pending { path: dir.join(&name), kept: false };
    let file = File::create_new(&pending.path)?;
    let schema = arrow_schema(columns, Form::File);
    let writer = FileWriter::try_new(BufWriter::new(file), &schema).map_err(disk_error)?;
    let mut block = BlockWriter { writer, batches: Vec::new(), columns: columns.to_vec() };
    let input = encoding.reader(body).map_err(from_io)?;
    match carrier {
        Carrier::Records => {
            let mut records = RecordReader::new(input, columns);
            while let Some(batch) = records.next_batch()? {
                block.write(&batch)?;
            }
        }
        Carrier::Arrow => {
            let frames = Deframer::new(input).map_err(from_io)?;
            let mut messages = BatchReader::new(frames, arrow_schema(columns, Form::Wire));
            while let Some(batch) = messages.next_batch()? {
                block.write(&filed(&batch, columns, &schema)?)?;
            }
        }
        Carrier::Stream(unit) => {
            let mut messages = StreamBatches::new(input, arrow_schema(columns, Form::Stream(unit)));
            while let Some(batch) = messages.next_batch()? {
                block.write(&filed(&batch, columns, &schema)?)?;
            }
        }
    }
    block.writer.finish().map_err(disk_error)?;
    let file = block.writer.into_inner().map_err(disk_error)?.into_inner().map_err(disk_error)?;
    file.sync_all()?;
    let bytes = file.metadata()?.len();
    disk::sync_dir(dir)?;
    pending.kept = true;
    Ok(FileEntry { name, rows: block.batches.iter().sum(), bytes, batches: block.batches })
}

/// Converts a batch to the form of our files.
fn filed(batch: &RecordBatch, columns: &[Column], schema: &SchemaRef) -> ApiResult<RecordBatch> {
    let arrays: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .zip(columns)
        .map(|(array, column)| convert(array, &column.data_type, Form::File))
        .collect::<Result<_, _>>()
        .map_err(ApiError::malformed)?;
    RecordBatch::try_new(Arc::clone(schema), arrays).map_err(disk_error)
}

/// Adds NULL columns to a batch that has only the first of these columns.
fn padded(batch: RecordBatch, columns: &[Column], projection: &[usize]) -> ApiResult<RecordBatch> {
    if batch.num_columns() == projection.len() {
        return Ok(batch);
    }
    let wanted: Vec<Column> = projection.iter().map(|index| columns[*index].clone()).collect();
    let schema = arrow_schema(&wanted, Form::File);
    let missing = schema.fields().iter().skip(batch.num_columns());
    let nulls = missing.map(|field| arrow::array::new_null_array(field.data_type(), batch.num_rows()));
    let arrays = batch.columns().iter().cloned().chain(nulls).collect();
    RecordBatch::try_new(schema, arrays).map_err(disk_error)
}

/// Passes rows `start .. start+count` of the files, in order, to `sink`, with only the named columns of the table. Rows
/// of files that are older than a column hold NULL in it.
///
/// # Errors
/// A file cannot be read, the range ends after the last row, or the sink failed.
pub fn read_range(
    files: &[Arc<DataFile>],
    start: u64,
    count: u64,
    (columns, projection): (&[Column], &[usize]),
    sink: &mut dyn FnMut(RecordBatch) -> ApiResult<()>,
) -> ApiResult<()> {
    let (mut skip, mut left) = (start, count);
    for file in files {
        if left == 0 {
            return Ok(());
        }
        if skip >= file.entry.rows {
            skip -= file.entry.rows;
            continue;
        }
        let open = || File::open(&file.path).map(BufReader::new);
        let there = FileReader::try_new(open()?, None).map_err(disk_error)?.schema().fields().len();
        let own = projection.iter().copied().filter(|column| *column < there).collect();
        let mut reader = FileReader::try_new(open()?, Some(own)).map_err(disk_error)?;
        let mut first = 0;
        while let Some(rows) = file.entry.batches.get(first).filter(|rows| skip >= **rows) {
            skip -= rows;
            first += 1;
        }
        reader.set_index(first).map_err(disk_error)?;
        for batch in reader {
            let batch = batch.map_err(disk_error)?;
            let rows = (batch.num_rows() as u64 - skip).min(left);
            sink(padded(batch.slice(skip as usize, rows as usize), columns, projection)?)?;
            skip = 0;
            left -= rows;
            if left == 0 {
                break;
            }
        }
    }
    if left == 0 { Ok(()) } else { Err(ApiError::invalid(format!("the range ends {left} rows after the last row"))) }
}
