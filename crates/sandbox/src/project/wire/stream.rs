//! Arrow streams of the Storage API: a schema, batches, and the end mark; buffers may be compressed. The schema must be
//! that of the table, and every count and every length is checked before Arrow reads a byte of a batch. A stream
//! without its end mark is rejected.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use arrow::array::RecordBatch;
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef};
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::writer::StreamWriter;
use arrow::ipc::{Message, MessageHeader, RecordBatch as Header, root_as_message};

use super::super::error::{ApiError, ApiResult};
use super::from_io;
use super::ipc::{BODY_MAX, CONTINUATION, Layout, METADATA_MAX, malformed, read_exact};

/// The length of the prefix of a compressed buffer, which states its decompressed length.
const PREFIX_BYTES: usize = 8;

/// Reads the batches of a stream, one at a time.
pub struct StreamBatches<R> {
    input: R,
    schema: SchemaRef,
    layout: Layout,
    begun: bool,
}

impl<R: Read> StreamBatches<R> {
    /// A reader of a stream of this schema.
    pub fn new(input: R, schema: SchemaRef) -> Self {
        let layout = Layout::of(&schema);
        Self { input, schema, layout, begun: false }
    }

    /// The next batch; `None` after the end mark, which must be the end of the body.
    pub fn next_batch(&mut self) -> ApiResult<Option<RecordBatch>> {
        loop {
            let mark = read_exact(&mut self.input, 4)
                .map_err(|_| ApiError::new(400, "IncompleteBody", "the stream ends before its end mark"))?;
            if mark != CONTINUATION {
                return Err(malformed(format!("want an encapsulated message (ffffffff), found {}", hex::encode(mark))));
            }
            let size = read_exact(&mut self.input, 4)?;
            let size = size.try_into().map_or(0, u32::from_le_bytes) as usize;
            if size == 0 {
                return self.end().map(|()| None);
            }
            if size > METADATA_MAX {
                return Err(malformed(format!("a message with {size} bytes of metadata, the limit is {METADATA_MAX}")));
            }
            let metadata = read_exact(&mut self.input, size)?;
            let message =
                root_as_message(&metadata).map_err(|error| malformed(format!("not an Arrow message: {error}")))?;
            match (self.begun, message.header_as_schema(), message.header_as_record_batch()) {
                (false, Some(schema), _) => {
                    let found = try_fb_to_schema(schema).map_err(|error| malformed(format!("its schema: {error}")))?;
                    same_schema(&self.schema, &found)?;
                    self.begun = true;
                }
                (true, _, Some(header)) => return self.batch(&message, header).map(Some),
                _ => return Err(self.unexpected(message.header_type())),
            }
        }
    }

    fn unexpected(&self, found: MessageHeader) -> ApiError {
        let want = if self.begun { "RecordBatch" } else { "Schema" };
        malformed(format!("found a {} message, expected a {want}", found.variant_name().unwrap_or("unknown")))
    }

    fn end(&mut self) -> ApiResult<()> {
        if !self.begun {
            return Err(malformed("a stream without a schema"));
        }
        let mut more = [0];
        match self.input.read(&mut more).map_err(from_io)? {
            0 => Ok(()),
            _ => Err(malformed("something follows the end of the stream")),
        }
    }

    fn batch(&mut self, message: &Message<'_>, header: Header<'_>) -> ApiResult<RecordBatch> {
        let length = usize::try_from(message.bodyLength()).unwrap_or(usize::MAX);
        if length > BODY_MAX {
            return Err(malformed(format!("a batch of {length} bytes, the limit is {BODY_MAX}: send smaller batches")));
        }
        let body = read_exact(&mut self.input, length)?;
        let unpacked = header.compression().map(|_| unpacked(header, &body)).transpose()?;
        self.layout.check(&self.schema, header, length, unpacked.as_deref())?;
        let mut aligned = MutableBuffer::with_capacity(length);
        aligned.extend_from_slice(&body);
        let none = HashMap::new();
        read_record_batch(&Buffer::from(aligned), header, self.schema.clone(), &none, None, &message.version())
            .map_err(|error| malformed(format!("the batch does not fit the table's schema: {error}")))
    }
}

/// The decompressed length of each buffer. Their sum must be within the limit of a batch.
fn unpacked(header: Header<'_>, body: &[u8]) -> ApiResult<Vec<i64>> {
    let buffers = header.buffers().ok_or_else(|| malformed("a RecordBatch message without buffers"))?;
    let mut total = 0_i64;
    buffers
        .iter()
        .enumerate()
        .map(|(i, buffer)| {
            if buffer.length() == 0 {
                return Ok(0);
            }
            let begin = usize::try_from(buffer.offset()).ok();
            let prefix = begin.and_then(|begin| body.get(begin..)?.first_chunk::<PREFIX_BYTES>());
            let told = prefix.map(|bytes| i64::from_le_bytes(*bytes));
            let length = match told {
                // Compression did not make it smaller, so it is stored uncompressed.
                Some(-1) => buffer.length() - PREFIX_BYTES as i64,
                Some(length) if length >= 0 => length,
                _ => return Err(malformed(format!("buffer {i} does not say how long it is unpacked"))),
            };
            total = total.saturating_add(length);
            if total > BODY_MAX as i64 {
                return Err(malformed(format!("a batch of more than {BODY_MAX} bytes unpacked: send smaller batches")));
            }
            Ok(length)
        })
        .collect()
}

/// Checks that the stream has the schema of the table. Names of list items and map entries and time zones are ignored,
/// since clients differ in them.
fn same_schema(want: &Schema, found: &Schema) -> ApiResult<()> {
    let columns = |schema: &Schema| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    if want.fields().len() != found.fields().len() {
        return Err(malformed(format!(
            "the table has the columns {:?}, the stream {:?}",
            columns(want),
            columns(found)
        )));
    }
    for (want, found) in want.fields().iter().zip(found.fields()) {
        if !want.name().eq_ignore_ascii_case(found.name()) {
            return Err(malformed(format!(
                "column `{}` is at the place of the table's `{}`",
                found.name(),
                want.name()
            )));
        }
        if !same(want, found) {
            let (name, want, found) = (want.name(), want.data_type(), found.data_type());
            return Err(malformed(format!("column `{name}` is {found}, the session carries it as {want}")));
        }
    }
    Ok(())
}

fn same(want: &Field, found: &Field) -> bool {
    match (want.data_type(), found.data_type()) {
        (ArrowType::Timestamp(want, _), ArrowType::Timestamp(found, _)) => want == found,
        (ArrowType::List(want), ArrowType::List(found)) => same(want, found),
        (ArrowType::Map(want, _), ArrowType::Map(found, _)) => match (want.data_type(), found.data_type()) {
            (ArrowType::Struct(want), ArrowType::Struct(found)) => {
                want.len() == found.len() && want.iter().zip(found).all(|(want, found)| same(want, found))
            }
            _ => false,
        },
        (ArrowType::Struct(want), ArrowType::Struct(found)) => {
            let pair = |(want, found): (&std::sync::Arc<Field>, &std::sync::Arc<Field>)| {
                want.name().eq_ignore_ascii_case(found.name()) && same(want, found)
            };
            want.len() == found.len() && want.iter().zip(found).all(pair)
        }
        (want, found) => want == found,
    }
}

/// Writes a stream.
pub fn writer<W: Write>(output: W, schema: &Schema) -> io::Result<StreamWriter<W>> {
    StreamWriter::try_new(output, schema).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::TimeUnit;
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::IpcWriteOptions;

    use super::*;

    fn batch() -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter((0..500).map(|v| (v % 7 != 0).then_some(v))));
        let times = (0..500).map(|v| Some(-62_135_596_800_000_000 + v));
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter(times).with_timezone("UTC"));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..500).map(|v| "x".repeat(v % 30))));
        RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("at", times, true), ("t", texts, true)])
            .expect("one length")
    }

    fn schema(unit: TimeUnit) -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("id", ArrowType::Int64, true),
            Field::new("AT", ArrowType::Timestamp(unit, None), true),
            Field::new("t", ArrowType::Utf8, true),
        ]))
    }

    fn stream(compression: Option<CompressionType>) -> Vec<u8> {
        let options = IpcWriteOptions::default().try_with_compression(compression).expect("a codec");
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch().schema(), options).expect("begun");
        writer.write(&batch()).expect("written");
        writer.write(&batch().slice(3, 20)).expect("written");
        writer.finish().expect("ended");
        writer.into_inner().expect("all of it")
    }

    fn read(bytes: &[u8], unit: TimeUnit) -> ApiResult<usize> {
        let mut batches = StreamBatches::new(bytes, schema(unit));
        let mut rows = 0;
        while let Some(batch) = batches.next_batch()? {
            rows += batch.num_rows();
        }
        Ok(rows)
    }

    #[test]
    fn a_whole_stream_is_read_whatever_its_compression() {
        for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
            assert_eq!(read(&stream(compression), TimeUnit::Microsecond).expect("read"), 520);
        }
    }

    #[test]
    fn what_is_cut_off_or_followed_by_more_is_refused() {
        let whole = stream(Some(CompressionType::LZ4_FRAME));
        for cut in [0, 3, 8, 200, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
            assert!(read(&whole[..cut], TimeUnit::Microsecond).is_err(), "cut at {cut} of {}", whole.len());
        }
        let more = [&whole[..], b"x"].concat();
        assert!(read(&more, TimeUnit::Microsecond).expect_err("more").message.contains("follows the end"));
    }

    #[test]
    fn another_schema_than_the_tables_is_refused() {
        let error = read(&stream(None), TimeUnit::Nanosecond).expect_err("another unit");
        assert!(error.message.contains("`AT` is Timestamp"), "{}", error.message);
        let mut less = StreamBatches::new(&b""[..], Arc::new(Schema::empty()));
        assert_eq!(less.next_batch().expect_err("nothing").code, "IncompleteBody");
    }

    #[test]
    fn a_buffer_that_claims_to_be_huge_is_refused_before_it_is_unpacked() {
        let mut bytes = stream(Some(CompressionType::ZSTD));
        // The values of the second column: 500 times 8 bytes.
        let told = 4_000_i64.to_le_bytes();
        let at = bytes.windows(8).position(|window| window == told).expect("a prefix");
        bytes[at..at + 8].copy_from_slice(&i64::MAX.to_le_bytes());
        assert!(read(&bytes, TimeUnit::Microsecond).expect_err("huge").message.contains("unpacked"));
    }
}
