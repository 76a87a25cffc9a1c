//! Writes the record stream from batches in the form of our files.

use std::io::{self, Write};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMillisecondType,
};
use mms_maxcompute::types::DataType;

const END_RECORD: u32 = 33_553_408;
const META_COUNT: u32 = 33_554_430;
const META_CHECKSUM: u32 = 33_554_431;

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(out: &mut Vec<u8>, value: i64) {
    varint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// A decimal without an exponent, with all digits of its scale.
fn decimal_text(value: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// The record that is being written.
#[derive(Default)]
struct Record {
    out: Vec<u8>,
    crc: u32,
}

impl Record {
    fn feed(&mut self, bytes: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
    }

    fn int(&mut self, value: i64) {
        zigzag(&mut self.out, value);
        self.feed(&value.to_le_bytes());
    }

    fn fixed(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.feed(bytes);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        varint(&mut self.out, bytes.len() as u64);
        self.fixed(bytes);
    }

    fn elements(&mut self, array: &ArrayRef, item: &DataType) {
        varint(&mut self.out, array.len() as u64);
        (0..array.len()).for_each(|i| self.nullable(array, i, item));
    }

    fn nullable(&mut self, array: &ArrayRef, i: usize, data_type: &DataType) {
        self.out.push(u8::from(array.is_null(i)));
        if array.is_valid(i) {
            self.value(array, i, data_type);
        }
    }

    fn value(&mut self, array: &ArrayRef, i: usize, data_type: &DataType) {
        match data_type {
            DataType::TinyInt => self.int(array.as_primitive::<Int8Type>().value(i).into()),
            DataType::SmallInt => self.int(array.as_primitive::<Int16Type>().value(i).into()),
            DataType::Int => self.int(array.as_primitive::<Int32Type>().value(i).into()),
            DataType::BigInt => self.int(array.as_primitive::<Int64Type>().value(i)),
            DataType::Date => self.int(array.as_primitive::<Date32Type>().value(i).into()),
            DataType::Datetime => self.int(array.as_primitive::<TimestampMillisecondType>().value(i)),
            DataType::Float => self.fixed(&array.as_primitive::<Float32Type>().value(i).to_le_bytes()),
            DataType::Double => self.fixed(&array.as_primitive::<Float64Type>().value(i).to_le_bytes()),
            DataType::Boolean => self.fixed(&[u8::from(array.as_boolean().value(i))]),
            DataType::Decimal { scale, .. } => {
                let text = decimal_text(array.as_primitive::<Decimal128Type>().value(i), usize::from(*scale));
                self.bytes(text.as_bytes());
            }
            DataType::String | DataType::Varchar(_) | DataType::Char(_) | DataType::Json => {
                self.bytes(array.as_string::<i32>().value(i).as_bytes());
            }
            DataType::Binary => self.bytes(array.as_binary::<i32>().value(i)),
            DataType::Timestamp | DataType::TimestampNtz => {
                let pair = array.as_struct();
                self.int(pair.column(0).as_primitive::<Int64Type>().value(i));
                let nano = pair.column(1).as_primitive::<Int32Type>().value(i);
                zigzag(&mut self.out, nano.into());
                self.feed(&nano.to_le_bytes());
            }
            DataType::Array(item) => self.elements(&array.as_list::<i32>().value(i), item),
            DataType::Map(key, value) => {
                let entries = array.as_map().value(i);
                self.elements(entries.column(0), key);
                self.elements(entries.column(1), value);
            }
            DataType::Struct(fields) => {
                for (field, child) in fields.iter().zip(array.as_struct().columns()) {
                    self.nullable(child, i, &field.data_type);
                }
            }
        }
    }
}

fn wire_type(data_type: &DataType) -> u32 {
    match data_type {
        DataType::Float => 5,
        DataType::Double => 1,
        DataType::TinyInt | DataType::SmallInt | DataType::Int | DataType::BigInt => 0,
        DataType::Boolean | DataType::Date | DataType::Datetime => 0,
        _ => 2,
    }
}

/// Writes batches as records. Without [`Self::finish`] the reader sees a truncated stream.
pub struct RecordWriter<W> {
    inner: W,
    types: Vec<DataType>,
    record: Record,
    count: i64,
    total: u32,
}

impl<W: Write> RecordWriter<W> {
    /// A writer of records with columns of these types.
    pub fn new(inner: W, types: Vec<DataType>) -> Self {
        Self { inner, types, record: Record::default(), count: 0, total: 0 }
    }

    /// Writes every row of a batch.
    pub fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        for row in 0..batch.num_rows() {
            let record = &mut self.record;
            record.crc = 0;
            for (i, (array, data_type)) in batch.columns().iter().zip(&self.types).enumerate() {
                if array.is_valid(row) {
                    let field = u32::try_from(i + 1).unwrap_or(u32::MAX);
                    varint(&mut record.out, u64::from((field << 3) | wire_type(data_type)));
                    record.feed(&field.to_le_bytes());
                    record.value(array, row, data_type);
                }
            }
            varint(&mut record.out, u64::from(END_RECORD << 3));
            varint(&mut record.out, record.crc.into());
            self.total = crc32c::crc32c_append(self.total, &record.crc.to_le_bytes());
            self.count += 1;
            self.inner.write_all(&record.out)?;
            record.out.clear();
        }
        Ok(())
    }

    /// Writes the footer.
    pub fn finish(mut self) -> io::Result<W> {
        let mut out = Vec::new();
        varint(&mut out, u64::from(META_COUNT << 3));
        zigzag(&mut out, self.count);
        varint(&mut out, u64::from(META_CHECKSUM << 3));
        varint(&mut out, self.total.into());
        self.inner.write_all(&out)?;
        Ok(self.inner)
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
