//! Arrow bodies of the tunnel: encapsulated RecordBatch messages only, without a schema. The table's schema defines
//! them, so every count and every length is checked against it before Arrow reads a byte.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use arrow::array::RecordBatch;
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::{DataType as ArrowType, Schema, SchemaRef};
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, write_message};
use arrow::ipc::{MessageHeader, RecordBatch as Header, root_as_message};

use super::super::error::{ApiError, ApiResult};
use super::from_io;

pub(super) const CONTINUATION: [u8; 4] = [0xff; 4];
/// The largest metadata of a message: 1,200 columns need far less.
pub(super) const METADATA_MAX: usize = 16 << 20;
/// The largest body of a message. No more than one batch is held in memory.
pub(super) const BODY_MAX: usize = 512 << 20;

pub(super) fn malformed(message: impl Into<String>) -> ApiError {
    ApiError::malformed(message)
}

/// Reads exactly `len` bytes. Memory grows only as they arrive.
pub(super) fn read_exact<R: Read>(input: &mut R, len: usize) -> ApiResult<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len.min(1 << 20));
    input.take(len as u64).read_to_end(&mut bytes).map_err(from_io)?;
    if bytes.len() < len {
        return Err(ApiError::new(
            400,
            "IncompleteBody",
            format!("a message of {len} bytes ends after {}", bytes.len()),
        ));
    }
    Ok(bytes)
}

/// How the length of a buffer follows from the rows of its node.
#[derive(Clone, Copy)]
enum Length {
    /// One bit for each row; empty is allowed for the validity of a column without NULLs.
    Validity,
    /// One bit for each row.
    Bits,
    /// This many bytes for each row.
    Bytes(i64),
    /// The start of each row and the end of the last one, 4 bytes each; empty is allowed without rows.
    Offsets,
    /// Any length: the offsets define it.
    Any,
}

impl Length {
    /// The bytes that the rows need; `None` if the buffer may have any length.
    fn needed(self, rows: i64, found: i64) -> Option<i64> {
        let bits = rows.saturating_add(7) / 8;
        match self {
            Self::Validity | Self::Offsets if found == 0 && (rows == 0 || matches!(self, Self::Validity)) => Some(0),
            Self::Validity | Self::Bits => Some(bits),
            Self::Bytes(width) => Some(rows.saturating_mul(width)),
            Self::Offsets => Some(rows.saturating_add(1).saturating_mul(4)),
            Self::Any => None,
        }
    }
}

/// The layout of a schema: the number of nodes, and the node and length of each buffer.
#[derive(Default)]
pub(super) struct Layout {
    nodes: usize,
    buffers: Vec<(usize, Length)>,
}

impl Layout {
    pub(super) fn of(schema: &Schema) -> Self {
        let mut layout = Self::default();
        schema.fields().iter().for_each(|f| layout.add(f.data_type()));
        layout
    }

    /// Every type used here has a validity bitmap, which may be empty, followed by the buffers of the type itself.
    fn add(&mut self, data_type: &ArrowType) {
        let node = self.nodes;
        self.nodes += 1;
        self.buffers.push((node, Length::Validity));
        match data_type {
            ArrowType::Utf8 | ArrowType::Binary => {
                self.buffers.extend([(node, Length::Offsets), (node, Length::Any)]);
            }
            ArrowType::List(item) => {
                self.buffers.push((node, Length::Offsets));
                self.add(item.data_type());
            }
            ArrowType::Map(entries, _) => {
                self.buffers.push((node, Length::Offsets));
                self.add(entries.data_type());
            }
            ArrowType::Struct(fields) => fields.iter().for_each(|f| self.add(f.data_type())),
            ArrowType::Boolean => self.buffers.push((node, Length::Bits)),
            other => {
                let width = other.primitive_width().and_then(|width| i64::try_from(width).ok());
                self.buffers.push((node, width.map_or(Length::Any, Length::Bytes)));
            }
        }
    }

    /// Checks that a batch with a body of `body` bytes matches this layout. `unpacked` are the decompressed lengths of
    /// its buffers; without it, a compressed batch is rejected.
    pub(super) fn check(
        &self,
        schema: &Schema,
        header: Header<'_>,
        body: usize,
        unpacked: Option<&[i64]>,
    ) -> ApiResult<()> {
        if header.compression().is_some() && unpacked.is_none() {
            return Err(malformed("buffers inside a message must not be compressed"));
        }
        let (Some(nodes), Some(buffers)) = (header.nodes(), header.buffers()) else {
            return Err(malformed("a RecordBatch message without nodes or buffers"));
        };
        if nodes.len() != self.nodes || buffers.len() != self.buffers.len() {
            return Err(malformed(format!(
                "a batch of {} nodes and {} buffers; the table's {} columns need {} and {}",
                nodes.len(),
                buffers.len(),
                schema.fields().len(),
                self.nodes,
                self.buffers.len()
            )));
        }
        for (i, (buffer, (node, length))) in buffers.iter().zip(&self.buffers).enumerate() {
            let end = buffer.offset().checked_add(buffer.length());
            if buffer.offset() < 0 || buffer.length() < 0 || end.is_none_or(|end| end > body as i64) {
                return Err(malformed(format!("buffer {i} lies outside the message")));
            }
            let node = nodes.get(*node);
            if node.length() < 0 || node.null_count() < 0 || node.null_count() > node.length() {
                return Err(malformed(format!("a node states {} rows, {} NULLs", node.length(), node.null_count())));
            }
            let found = unpacked.and_then(|lengths| lengths.get(i)).copied().unwrap_or_else(|| buffer.length());
            if let Some(need) = length.needed(node.length(), found) {
                // PyArrow ends the buffers of a slice at the next multiple of 64 bytes, or at their own end. A longer
                // buffer means that a column of another type was sent.
                let most = need.saturating_add(63) / 64 * 64;
                if found < need || found > most {
                    return Err(malformed(format!(
                        "buffer {i} has {found} bytes where {} rows need {need}: another type than the table's",
                        node.length()
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Reads the messages of a body, one at a time.
pub struct BatchReader<R> {
    input: R,
    schema: SchemaRef,
    layout: Layout,
}

impl<R: Read> BatchReader<R> {
    /// A reader of batches of this schema.
    pub fn new(input: R, schema: SchemaRef) -> Self {
        let layout = Layout::of(&schema);
        Self { input, schema, layout }
    }

    /// The next batch; `None` at the end of a complete body.
    pub fn next_batch(&mut self) -> ApiResult<Option<RecordBatch>> {
        let mut mark = Vec::new();
        (&mut self.input).take(4).read_to_end(&mut mark).map_err(from_io)?;
        if mark.is_empty() {
            return Ok(None);
        }
        if mark != CONTINUATION {
            return Err(malformed(format!("want an encapsulated message (ffffffff), found {}", hex::encode(mark))));
        }
        let size = read_exact(&mut self.input, 4)?;
        let size = size.try_into().map_or(0, u32::from_le_bytes) as usize;
        if size == 0 || size > METADATA_MAX {
            return Err(malformed(format!(
                "a message with {size} bytes of metadata: only RecordBatches are sent, no EOS"
            )));
        }
        let metadata = read_exact(&mut self.input, size)?;
        let message =
            root_as_message(&metadata).map_err(|error| malformed(format!("not an Arrow message: {error}")))?;
        let (MessageHeader::RecordBatch, Some(header)) = (message.header_type(), message.header_as_record_batch())
        else {
            let found = message.header_type().variant_name().unwrap_or("unknown");
            return Err(malformed(format!(
                "a {found} message: only RecordBatches are sent, the schema is the table's"
            )));
        };
        let body = usize::try_from(message.bodyLength()).unwrap_or(usize::MAX);
        if body > BODY_MAX {
            return Err(malformed(format!("a batch of {body} bytes, the limit is {BODY_MAX}: send smaller batches")));
        }
        self.layout.check(&self.schema, header, body, None)?;
        let mut aligned = MutableBuffer::with_capacity(body.min(1 << 20));
        aligned.extend_from_slice(&read_exact(&mut self.input, body)?);
        let buffer = Buffer::from(aligned);
        let none = HashMap::new();
        read_record_batch(&buffer, header, self.schema.clone(), &none, None, &message.version())
            .map(Some)
            .map_err(|error| malformed(format!("the batch does not fit the table's schema: {error}")))
    }
}

/// Writes one batch as an encapsulated message.
pub fn write_batch<W: Write>(output: &mut W, batch: &RecordBatch) -> io::Result<()> {
    let options = IpcWriteOptions::default();
    let mut tracker = DictionaryTracker::new(true);
    let (_, encoded) = IpcDataGenerator::default()
        .encode(batch, &mut tracker, &options, &mut Default::default())
        .map_err(io::Error::other)?;
    write_message(output, encoded, &options).map_err(io::Error::other)?;
    Ok(())
}
