//! Decodes the rows of a page to Arrow batches. Pure, and bounded: compressed bytes may not grow beyond [`UNPACKED_MAX`], and
//! every count that the server gave is compared with what it sent.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, NullArray, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit, TimestampMicrosecondType};
use arrow::ipc::reader::StreamDecoder;
use bytes::Bytes;
use lz4_flex::frame::FrameDecoder;

use super::message::ColumnType;
use super::wire::List;

/// Most bytes of an unpacked batch or file.
const UNPACKED_MAX: u64 = 512 << 20;

const EXACT: CastOptions<'static> =
    CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

/// Unpacks one or several LZ4 frames. A frame that lacks its end may pass here: the rows are counted afterwards.
pub fn unpack(packed: &[u8]) -> Result<Vec<u8>, String> {
    let (mut rest, mut all) = (packed, Vec::new());
    while !rest.is_empty() {
        let before = (rest.len(), all.len() as u64);
        let mut frame = FrameDecoder::new(&mut rest).take(UNPACKED_MAX + 1 - before.1);
        frame.read_to_end(&mut all).map_err(|error| format!("its LZ4 frame is broken: {error}"))?;
        if all.len() as u64 > UNPACKED_MAX {
            return Err(format!("it has more than {UNPACKED_MAX} bytes when unpacked"));
        }
        if rest.len() == before.0 {
            return Err("its LZ4 frame has no bytes".to_owned());
        }
    }
    Ok(all)
}

/// Decodes an Arrow stream whose schema is `schema`, or stands at its own beginning. An error unless it has exactly `rows`
/// rows.
pub fn arrow(schema: Option<&Bytes>, stream: Vec<u8>, rows: u64) -> Result<Vec<RecordBatch>, String> {
    // The decoder may panic on a damaged message; that is an error of the message, not of this program.
    let read = catch_unwind(AssertUnwindSafe(|| batches(schema, stream, rows)));
    read.unwrap_or_else(|_| Err("the Arrow decoder failed on it: it is damaged".to_owned()))
}

fn batches(schema: Option<&Bytes>, stream: Vec<u8>, rows: u64) -> Result<Vec<RecordBatch>, String> {
    let broken = |error| format!("its Arrow stream is broken: {error}");
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    let mut found = 0_u64;
    for mut buffer in schema.map(|schema| Buffer::from(schema.to_vec())).into_iter().chain([Buffer::from(stream)]) {
        // After the stream's end the decoder takes no more bytes.
        while !buffer.is_empty() {
            let before = buffer.len();
            if let Some(batch) = decoder.decode(&mut buffer).map_err(broken)? {
                found += batch.num_rows() as u64;
                batches.push(batch);
            } else if buffer.len() == before {
                return Err("its Arrow stream continues after its end".to_owned());
            }
        }
    }
    // A stream without an end mark is complete if no part of a message is left over.
    if found != rows {
        return Err(format!("it has {found} rows, the server said {rows}"));
    }
    batches.retain(|batch| batch.num_rows() > 0);
    Ok(batches)
}

/// Decodes a page of an older server, from plain values and texts to the columns' own types.
pub fn columns(types: &[ColumnType], columns: &[(List, Bytes)]) -> Result<RecordBatch, String> {
    if types.len() != columns.len() {
        return Err(format!("it has {} columns, the server said {}", columns.len(), types.len()));
    }
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (column, (list, nulls)) in types.iter().zip(columns) {
        let array = array(column, list, nulls).map_err(|why| format!("column {:?}: {why}", column.name))?;
        fields.push(Field::new(&column.name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let rows = arrays.first().map_or(0, Array::len);
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(|error| error.to_string())
}

fn array(column: &ColumnType, list: &List, nulls: &Bytes) -> Result<ArrayRef, String> {
    let rows = match list {
        List::Fixed { width, bytes } => bytes.len() / width.max(&1),
        List::Texts { count, .. } => *count,
        List::Items(items) => items.len(),
    };
    // The server leaves out trailing bytes of the bitmap that have no NULL.
    let valid =
        BooleanBuffer::collect_bool(rows, |row| nulls.get(row / 8).is_none_or(|byte| byte >> (row % 8) & 1 == 0));
    let nulls = Some(NullBuffer::new(valid)).filter(|nulls| nulls.null_count() > 0);
    let texts = |to: Option<DataType>| -> Result<ArrayRef, String> {
        if !matches!(list, List::Texts { .. }) && rows > 0 {
            return Err("its values are no texts".to_owned());
        }
        let texts = list.texts().enumerate().map(|(row, text)| {
            let null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            let text = String::from_utf8(text.to_vec()).map_err(|_| format!("row {row} is not UTF-8"))?;
            Ok((!null).then_some(text))
        });
        let texts: ArrayRef = Arc::new(texts.collect::<Result<StringArray, String>>()?);
        let Some(to) = to else { return Ok(texts) };
        let array = cast_with_options(&texts, &to, &EXACT).map_err(|error| error.to_string())?;
        Ok(array)
    };
    macro_rules! fixed {
        ($array:ty, $from:ty, $to:ty) => {{
            let List::Fixed { width, bytes } = list else { return Err("its values are texts".to_owned()) };
            if *width != size_of::<$from>() {
                return Err(format!("its values have {width} bytes each"));
            }
            let values = bytes.chunks_exact(*width).map(|value| {
                let value: [u8; size_of::<$from>()] = value.try_into().unwrap_or_default();
                <$from>::from_be_bytes(value) as $to
            });
            Ok(Arc::new(<$array>::new(values.collect(), nulls)) as ArrayRef)
        }};
    }
    match (column.kind, column.decimal) {
        (Some(0), _) => {
            let List::Fixed { width: 1, bytes } = list else { return Err("its values are no booleans".to_owned()) };
            let values = BooleanBuffer::collect_bool(rows, |row| bytes.get(row).is_some_and(|byte| *byte != 0));
            Ok(Arc::new(BooleanArray::new(values, nulls)))
        }
        (Some(1), _) => fixed!(Int8Array, i8, i8),
        (Some(2), _) => fixed!(Int16Array, i16, i16),
        (Some(3), _) => fixed!(Int32Array, i32, i32),
        (Some(4), _) => fixed!(Int64Array, i64, i64),
        // The server widens FLOAT to DOUBLE, so narrowing it again is exact.
        (Some(5), _) => fixed!(Float32Array, f64, f32),
        (Some(6), _) => fixed!(Float64Array, f64, f64),
        (Some(7 | 18 | 19), _) => texts(None),
        // Texts of timestamps have no zone; the session's is UTC.
        (Some(8), _) => {
            let local = texts(Some(DataType::Timestamp(TimeUnit::Microsecond, None)))?;
            let local = local.as_primitive::<TimestampMicrosecondType>().clone();
            Ok(Arc::new(local.with_timezone("UTC")))
        }
        (Some(9), _) => {
            let values = list.texts().enumerate();
            let values =
                values.map(|(row, value)| (!nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))).then_some(value));
            Ok(Arc::new(values.collect::<BinaryArray>()))
        }
        (Some(15), Some((precision, scale))) => {
            let digits =
                u8::try_from(precision).ok().zip(i8::try_from(scale).ok()).filter(|(precision, _)| *precision <= 38);
            let (precision, scale) = digits.ok_or_else(|| format!("it is a decimal({precision},{scale})"))?;
            // A cast would round a value with more digits than the type has.
            let fraction = |text: &Bytes| text.rsplit(|byte| *byte == b'.').next().map_or(0, <[u8]>::len);
            let longer = |text: Bytes| text.contains(&b'.') && fraction(&text) > usize::try_from(scale).unwrap_or(0);
            if list.texts().any(longer) {
                return Err(format!("a value has more digits than decimal({precision},{scale})"));
            }
            texts(Some(DataType::Decimal128(precision, scale)))
        }
        (Some(16), _) => Ok(Arc::new(NullArray::new(rows))),
        (Some(17), _) => texts(Some(DataType::Date32)),
        (Some(kind), _) => Err(format!("the server sends type {kind} as text, which cannot be carried exactly")),
        (None, _) => Err("the server sends a nested type as text, which cannot be carried exactly".to_owned()),
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
