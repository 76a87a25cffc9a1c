//! Download sessions: read ranges of rows as Arrow batches. Each chunk and the whole range are checked, and a range is complete
//! only once [`ArrowReader::next_batch`] returned `None`.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamEncoder;
use arrow::ipc::{MessageHeader, root_as_message};
use bytes::BytesMut;
use mms_http::{Method, Response};

use super::frame::Unframer;
use super::schema::arrow_schema;
use super::wire::SessionWire;
use super::{Tunnel, check_partition};
use crate::error::MaxComputeError;
use crate::table::{Column, PartitionSpec, TableRef};
use crate::transport::text;

/// Bytes of the continuation mark and the length of the metadata that follows.
const HEAD_BYTES: usize = 8;
/// Maximum length of one message's metadata that is read.
const METADATA_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A snapshot of a table, or of one of its partitions, for reading.
#[derive(Debug, Clone)]
pub struct DownloadSession {
    tunnel: Tunnel,
    table: TableRef,
    partition: Option<PartitionSpec>,
    id: String,
    /// Number of rows in the snapshot.
    pub record_count: u64,
    /// The data columns of the table.
    pub columns: Vec<Column>,
}

impl Tunnel {
    /// Creates a session over the rows that the table or partition has now.
    ///
    /// # Errors
    /// The service's refusal; a partition that a request cannot express.
    pub async fn create_download(
        &self,
        table: &TableRef,
        partition: Option<&PartitionSpec>,
    ) -> Result<DownloadSession, MaxComputeError> {
        check_partition(table, partition)?;
        let call = self.call(Method::POST, table, partition).param("downloads", "");
        let body = text(&call, self.transport.call(&call).await?).await?;
        let answer = |why| MaxComputeError::Answer { what: call.what(), why, request_id: None };
        let wire = SessionWire::parse(&body).map_err(answer)?;
        let (Some(id), Some(columns), Some(record_count)) = (wire.id, wire.columns, wire.record_count) else {
            return Err(answer("it has no session id, no schema or no row count".to_owned()));
        };
        let (tunnel, table, partition) = (self.clone(), table.clone(), partition.cloned());
        Ok(DownloadSession { tunnel, table, partition, id, record_count, columns })
    }
}

impl DownloadSession {
    /// Begins to read a range of rows, counted from 0.
    ///
    /// # Errors
    /// The service's refusal, for example of a range beyond the last row.
    pub async fn open(&self, rows: Range<u64>) -> Result<ArrowReader, MaxComputeError> {
        let count = rows.end.saturating_sub(rows.start);
        let call = self
            .tunnel
            .call(Method::GET, &self.table, self.partition.as_ref())
            .param("data", "")
            .param("arrow", "")
            .param("downloadid", &self.id)
            .param("rowrange", format!("({},{count})", rows.start))
            // Without this the HTTP client would offer gzip, which no tunnel speaks.
            .header("Accept-Encoding", "identity");
        let response = self.tunnel.transport.call(&call).await?;
        Ok(ArrowReader {
            what: call.what(),
            table: self.table.to_string(),
            response: Some(response),
            unframer: Unframer::default(),
            decoder: BatchDecoder::new(Arc::new(arrow_schema(&self.columns))),
            payload: VecDeque::new(),
        })
    }

    /// Reads all rows into memory; meant for small tables and tests.
    ///
    /// # Errors
    /// As [`DownloadSession::open`] and [`ArrowReader::next_batch`].
    pub async fn read_all(&self) -> Result<Vec<RecordBatch>, MaxComputeError> {
        let mut batches = Vec::new();
        if self.record_count > 0 {
            let mut reader = self.open(0..self.record_count).await?;
            while let Some(batch) = reader.next_batch().await? {
                batches.push(batch);
            }
        }
        Ok(batches)
    }
}

/// Reads batches as they arrive; holds one chunk and one batch in memory.
#[derive(Debug)]
pub struct ArrowReader {
    what: String,
    table: String,
    /// `None` after the end of the stream.
    response: Option<Response>,
    unframer: Unframer,
    decoder: BatchDecoder,
    payload: VecDeque<Buffer>,
}

impl ArrowReader {
    /// The next batch, or `None` at the end. Only then is it certain that nothing is missing.
    ///
    /// # Errors
    /// A broken connection; damaged data.
    pub async fn next_batch(&mut self) -> Result<Option<RecordBatch>, MaxComputeError> {
        loop {
            while let Some(buffer) = self.payload.front_mut() {
                let decoded = self.decoder.decode(buffer);
                if let Some(batch) = decoded.map_err(|error| self.damaged(&error))? {
                    return Ok(Some(batch));
                }
                self.payload.pop_front();
            }
            let Some(response) = &mut self.response else {
                self.decoder.finish().map_err(|error| self.damaged(&error))?;
                return Ok(None);
            };
            let chunk = response.chunk().await;
            let chunk = chunk.map_err(|source| MaxComputeError::Http { what: self.what.clone(), source })?;
            let payload = match chunk {
                Some(bytes) => self.unframer.push(&bytes),
                None => {
                    self.response = None;
                    std::mem::take(&mut self.unframer).finish().map(|rest| vec![rest])
                }
            };
            let payload = payload.map_err(|error| self.damaged(&error))?;
            self.payload.extend(payload.into_iter().filter(|bytes| !bytes.is_empty()).map(Buffer::from));
        }
    }

    fn damaged(&self, error: &dyn std::error::Error) -> MaxComputeError {
        MaxComputeError::Damaged { table: self.table.clone(), why: error.to_string() }
    }
}

/// Decodes RecordBatch messages with or without a Schema message before them, since servers differ.
#[derive(Debug)]
struct BatchDecoder {
    decoder: StreamDecoder,
    schema: SchemaRef,
    /// Bytes received before it is known which message the stream begins with.
    head: Option<BytesMut>,
    /// Bytes of `head` that are still to be decoded.
    rest: Buffer,
}

impl BatchDecoder {
    fn new(schema: SchemaRef) -> Self {
        let (decoder, rest) = (StreamDecoder::new(), Buffer::from(Vec::<u8>::new()));
        Self { decoder, schema, head: Some(BytesMut::new()), rest }
    }

    /// The batch that these bytes complete, or `None` if more are needed. Bytes that were used are removed from `buffer`.
    fn decode(&mut self, buffer: &mut Buffer) -> Result<Option<RecordBatch>, ArrowError> {
        if let Some(head) = &mut self.head {
            head.extend_from_slice(buffer.as_slice());
            buffer.advance(buffer.len());
            let Some(begins_with_schema) = begins_with_schema(head)? else { return Ok(None) };
            if !begins_with_schema {
                self.feed_schema()?;
            }
            self.rest = self.head.take().map(|head| Buffer::from(head.freeze())).unwrap_or_default();
        }
        if !self.rest.is_empty()
            && let Some(batch) = self.decoder.decode(&mut self.rest)?
        {
            return Ok(Some(batch));
        }
        self.decoder.decode(buffer)
    }

    fn feed_schema(&mut self) -> Result<(), ArrowError> {
        // An encoder that has encoded nothing produces the schema message and the end mark.
        let messages = StreamEncoder::try_new(&Schema::clone(&self.schema))?.finish()?;
        let bytes: Vec<u8> = messages.iter().flat_map(|buffer| buffer.as_slice().iter().copied()).collect();
        let mut message = Buffer::from(bytes).slice_with_length(0, message_bytes(&messages));
        self.decoder.decode(&mut message).map(|_| ())
    }

    fn finish(&mut self) -> Result<(), ArrowError> {
        match &self.head {
            Some(head) if head.is_empty() => Ok(()),
            Some(_) => Err(ArrowError::IpcError("it ends within its first message".to_owned())),
            None => self.decoder.finish(),
        }
    }
}

/// Number of bytes without the end mark, which is a continuation and a length of zero.
fn message_bytes(messages: &[Buffer]) -> usize {
    messages.iter().map(Buffer::len).sum::<usize>().saturating_sub(HEAD_BYTES)
}

/// Whether the stream begins with a Schema message; `None` until enough bytes have arrived to tell.
fn begins_with_schema(head: &[u8]) -> Result<Option<bool>, ArrowError> {
    let Some((word, rest)) = head.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let [0xff, 0xff, 0xff, 0xff, length @ ..] = word else {
        return Err(ArrowError::IpcError("it does not begin with an encapsulated message".to_owned()));
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > METADATA_BYTES_MAX {
        return Err(ArrowError::IpcError(format!("its first message has {length} bytes of metadata")));
    }
    let Some(metadata) = rest.get(..length) else { return Ok(None) };
    // Copied because the reader needs it aligned.
    let metadata = Buffer::from(metadata);
    let message = root_as_message(&metadata).map_err(|error| ArrowError::IpcError(error.to_string()))?;
    Ok(Some(message.header_type() == MessageHeader::Schema))
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;
