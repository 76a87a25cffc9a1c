//! Download sessions: a snapshot of a partition or the rows of a SELECT, read in ranges as records or Arrow.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType as ArrowType, Schema, TimeUnit};
use jiff::Timestamp;
use mms_maxcompute::types::DataType;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::super::error::{ApiError, ApiResult};
use super::super::partition::PartKey;
use super::super::request::Params;
use super::super::schema::{Column, TableMeta};
use super::super::sql::ResultSet;
use super::super::table::{DataFile, Part};
use super::super::wire::carrier::{Form, arrow_schema, convert};
use super::super::wire::encoding::Encoding;
use super::super::wire::frame::Framer;
use super::super::wire::ipc::write_batch;
use super::super::wire::record_write::RecordWriter;
use super::super::wire::stream;
use super::super::wire::{from_io, to_io};
use super::block::{Carrier, read_range};
use super::pipe::BodyWriter;
use super::schema_json;

/// The most sessions that are kept; the oldest are deleted first.
const SESSIONS_MAX: usize = 2000;
/// How long a session can be used, in seconds.
const SESSION_SECONDS: i64 = 24 * 3600;

enum Rows {
    /// Files, which stay on disk until the session ends, and their number of rows.
    Files(Vec<Arc<DataFile>>, u64),
    Memory(RecordBatch),
}

/// The source of a session's rows. A request must name the same source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A partition of the table with this id; an empty key for a table without partitions.
    Partition {
        /// The id of the table; a later table of the same name has another.
        table: String,
        key: PartKey,
    },
    /// The result of this instance.
    Instance(String),
}

/// One session.
pub struct Download {
    id: String,
    source: Source,
    created: i64,
    columns: Vec<Column>,
    partition_columns: Vec<Column>,
    rows: Rows,
}

/// Which rows and columns of a session are read, and in which format.
pub struct Reading {
    start: u64,
    count: u64,
    columns: Vec<usize>,
    carrier: Carrier,
    /// The compression of the body.
    pub encoding: Encoding,
}

impl Reading {
    /// All of a session's rows, as a stream of these columns with timestamps of this unit.
    pub fn stream(count: u64, columns: Vec<usize>, unit: TimeUnit) -> Self {
        Self { start: 0, count, columns, carrier: Carrier::Stream(unit), encoding: Encoding::Identity }
    }
}

fn result_batch(rows: &ResultSet) -> ApiResult<RecordBatch> {
    let column = |i: usize| rows.rows.iter().map(move |row| row[i].as_str());
    let arrays: Vec<ArrayRef> = rows
        .columns
        .iter()
        .enumerate()
        .map(|(i, (_, data_type))| -> ArrayRef {
            if data_type.is_integer() {
                Arc::new(column(i).map(|text| text.parse::<i64>().ok()).collect::<Int64Array>())
            } else {
                Arc::new(column(i).map(Some).collect::<StringArray>())
            }
        })
        .collect();
    let schema = arrow_schema(&result_columns(rows), Form::File);
    RecordBatch::try_new(schema, arrays).map_err(|error| ApiError::internal(error.to_string()))
}

/// Results are presented as BIGINT or STRING.
fn result_columns(rows: &ResultSet) -> Vec<Column> {
    let shown = |data_type: &DataType| if data_type.is_integer() { DataType::BigInt } else { DataType::String };
    let column = |(name, data_type): &(String, DataType)| Column {
        name: name.clone(),
        data_type: shown(data_type),
        nullable: true,
        comment: None,
    };
    rows.columns.iter().map(column).collect()
}

impl Download {
    fn new(source: Source, columns: Vec<Column>, partition_columns: Vec<Column>, rows: Rows, now: Timestamp) -> Self {
        let id = format!("{}{}", now.strftime("%Y%m%d%H%M%S"), uuid::Uuid::new_v4().simple());
        Self { id, source, created: now.as_second(), columns, partition_columns, rows }
    }

    /// A session over the present rows of a partition; later commits do not change what it reads.
    pub fn of_part(meta: &TableMeta, key: PartKey, part: &Part, now: Timestamp) -> Self {
        let rows = Rows::Files(part.files.clone(), part.rows());
        let source = Source::Partition { table: meta.id.clone(), key };
        Self::new(source, meta.columns.clone(), meta.partition_columns.clone(), rows, now)
    }

    /// A session over the rows of a SELECT.
    pub fn of_result(instance: &str, rows: &ResultSet, now: Timestamp) -> ApiResult<Self> {
        let source = Source::Instance(instance.to_owned());
        Ok(Self::new(source, result_columns(rows), Vec::new(), Rows::Memory(result_batch(rows)?), now))
    }

    /// The number of its rows.
    pub fn count(&self) -> u64 {
        match &self.rows {
            Rows::Files(_, count) => *count,
            Rows::Memory(batch) => batch.num_rows() as u64,
        }
    }

    /// Describes the session.
    pub fn describe(&self) -> Value {
        json!({
            "DownloadID": self.id,
            "Status": "normal",
            "Owner": super::super::rest::OWNER,
            "Initiated": super::super::rest::http_time(self.created),
            "RecordCount": self.count(),
            "QuotaName": "",
            "Schema": schema_json(&self.columns, &self.partition_columns),
        })
    }

    /// Parses the range, columns and format of a request.
    pub fn reading(&self, params: &Params, accept: &str) -> ApiResult<Reading> {
        let range = params.need("rowrange")?;
        let (start, count) = range
            .trim_matches(['(', ')'])
            .split_once(',')
            .and_then(|(a, b)| Some((a.trim().parse::<u64>().ok()?, b.trim().parse::<u64>().ok()?)))
            .ok_or_else(|| ApiError::invalid(format!("rowrange `{range}` is not (start,count)")))?;
        if start.checked_add(count).is_none_or(|end| end > self.count()) {
            let message = format!("rowrange {range} reaches beyond the {} rows of the session", self.count());
            return Err(ApiError::new(400, "InvalidRowRange", message));
        }
        let carrier = if params.has("arrow") { Carrier::Arrow } else { Carrier::Records };
        let mut columns: Vec<usize> = match params.get("columns").filter(|c| !c.is_empty()) {
            None => (0..self.columns.len()).collect(),
            Some(names) => names
                .split(',')
                .map(|name| {
                    let at = self.columns.iter().position(|c| c.name.eq_ignore_ascii_case(name.trim()));
                    at.ok_or_else(|| ApiError::invalid(format!("there is no column `{name}`")))
                })
                .collect::<ApiResult<_>>()?,
        };
        // Records have their columns in the order of the request, Arrow batches in that of the table: clients expect
        // this.
        if carrier == Carrier::Arrow {
            columns.sort_unstable();
        }
        Ok(Reading { start, count, columns, carrier, encoding: Encoding::of_download(accept) })
    }

    /// Passes the rows of a range to `sink`, in the form of our files and with the columns in the order of the request.
    fn batches(&self, reading: &Reading, sink: &mut dyn FnMut(RecordBatch) -> ApiResult<()>) -> ApiResult<()> {
        let wrong = |error: arrow::error::ArrowError| ApiError::internal(error.to_string());
        let mut sorted = reading.columns.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let order: Vec<usize> =
            reading.columns.iter().filter_map(|want| sorted.iter().position(|have| have == want)).collect();
        let mut reorder = |batch: RecordBatch| sink(batch.project(&order).map_err(wrong)?);
        match &self.rows {
            Rows::Files(files, _) => {
                let wanted = (&*self.columns, &*sorted);
                read_range(files, reading.start, reading.count, wanted, &mut reorder)
            }
            Rows::Memory(batch) => {
                let rows = batch.slice(reading.start as usize, reading.count as usize);
                reorder(rows.project(&sorted).map_err(wrong)?)
            }
        }
    }

    fn records(&self, reading: &Reading, types: Vec<DataType>, output: impl Write) -> ApiResult<()> {
        let mut writer = RecordWriter::new(reading.encoding.writer(output).map_err(from_io)?, types);
        self.batches(reading, &mut |batch| writer.write(&batch).map_err(from_io))?;
        writer.finish().and_then(|inner| inner.finish()).map_err(from_io)?;
        Ok(())
    }

    fn arrow(&self, reading: &Reading, types: &[DataType], output: impl Write) -> ApiResult<()> {
        let mut framer = Framer::new(reading.encoding.writer(output).map_err(from_io)?);
        self.batches(reading, &mut |batch| {
            write_batch(&mut framer, &sent(&batch, types, Form::Wire)?).map_err(from_io)
        })?;
        framer.finish().and_then(|inner| inner.finish()).map_err(from_io)?;
        Ok(())
    }

    fn stream(&self, reading: &Reading, unit: TimeUnit, types: &[DataType], output: impl Write) -> ApiResult<()> {
        let form = Form::Stream(unit);
        let columns: Vec<Column> = reading.columns.iter().map(|i| self.columns[*i].clone()).collect();
        let wrong = |error: arrow::error::ArrowError| ApiError::internal(error.to_string());
        let mut writer = stream::writer(output, &arrow_schema(&columns, form)).map_err(from_io)?;
        self.batches(reading, &mut |batch| writer.write(&sent(&batch, types, form)?).map_err(wrong))?;
        writer.finish().map_err(wrong)
    }

    /// Writes the body of an answer. A failure ends the body with an error, which the client sees as a cut connection.
    pub fn send(&self, reading: &Reading, output: BodyWriter) {
        let errors = output.errors();
        let types: Vec<DataType> = reading.columns.iter().map(|i| self.columns[*i].data_type.clone()).collect();
        let mut output = Flushing(Some(output));
        let sent = match reading.carrier {
            Carrier::Records => self.records(reading, types, &mut output),
            Carrier::Arrow => self.arrow(reading, &types, &mut output),
            Carrier::Stream(unit) => self.stream(reading, unit, &types, &mut output),
        };
        let sent = sent.and_then(|()| output.finish().map_err(from_io));
        if let Err(error) = sent
            && errors.blocking_send(Err(to_io(error))).is_err()
        {
            tracing::debug!(session = self.id, "the client closed the connection before the error was sent");
        }
    }
}

/// Converts a batch of our files to the form in which it is sent.
fn sent(batch: &RecordBatch, types: &[DataType], form: Form) -> ApiResult<RecordBatch> {
    let arrays: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .zip(types)
        .map(|(array, data_type)| convert(array, data_type, form))
        .collect::<Result<_, _>>()
        .map_err(|message| ApiError::new(400, "DataCannotBeExpressed", message))?;
    let fields: Vec<_> = batch
        .schema()
        .fields()
        .iter()
        .zip(&arrays)
        .map(|(field, array)| field.as_ref().clone().with_data_type(ArrowType::clone(array.data_type())))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| ApiError::internal(error.to_string()))
}

/// Lets the codecs borrow the writer that must be finished after them.
struct Flushing(Option<BodyWriter>);

impl Flushing {
    fn finish(mut self) -> io::Result<()> {
        self.0.take().map_or(Ok(()), BodyWriter::finish)
    }
}

impl Write for Flushing {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(0), |w| w.write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All sessions. They are kept in memory only: a client whose session is lost opens another.
#[derive(Default)]
pub struct Downloads(Mutex<Known>);

#[derive(Default)]
struct Known {
    by_id: BTreeMap<String, Arc<Download>>,
    /// Ids, oldest first.
    order: VecDeque<String>,
}

impl Downloads {
    /// Stores a session, and deletes those that are too old or too many.
    pub fn keep(&self, download: Download) -> Arc<Download> {
        let download = Arc::new(download);
        let mut known = self.0.lock();
        known.by_id.insert(download.id.clone(), Arc::clone(&download));
        known.order.push_back(download.id.clone());
        let stale = |known: &Known| {
            let oldest = known.order.front().and_then(|id| known.by_id.get(id));
            known.order.len() > SESSIONS_MAX || oldest.is_some_and(|d| download.created - d.created > SESSION_SECONDS)
        };
        while stale(&known) {
            if let Some(id) = known.order.pop_front() {
                known.by_id.remove(&id);
            }
        }
        download
    }

    /// The session with this id, if it reads this source and has not expired.
    pub fn get(&self, id: &str, source: &Source, now: i64) -> ApiResult<Arc<Download>> {
        let found = self.0.lock().by_id.get(id).cloned();
        found
            .filter(|download| download.source == *source && now - download.created <= SESSION_SECONDS)
            .ok_or_else(|| ApiError::new(404, "NoSuchDownload", format!("there is no download session {id} of this")))
    }
}
