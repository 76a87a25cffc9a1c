//! Builds Arrow columns cell by cell from a record stream.

use std::io::Read;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Float32Builder, Float64Builder, Int8Builder, Int16Builder, Int32Array,
    Int32Builder, Int64Array, Int64Builder, ListArray, MapArray, PrimitiveBuilder, StringBuilder, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType as ArrowType, Date32Type, Decimal128Type, Field, TimestampMillisecondType};
use mms_maxcompute::types::DataType;

use super::super::error::{ApiError, ApiResult};
use super::carrier::{Form, arrow_type};
use super::check::CELL_BYTES_MAX;
use super::record_read::Source;

/// The most elements of one ARRAY or MAP: a cell of 8 MiB cannot hold more.
const ELEMENTS_MAX: u64 = CELL_BYTES_MAX as u64;

enum Kind {
    I8(Int8Builder),
    I16(Int16Builder),
    I32(Int32Builder),
    I64(Int64Builder),
    F32(Float32Builder),
    F64(Float64Builder),
    Bool(BooleanBuilder),
    Decimal(PrimitiveBuilder<Decimal128Type>, u8, i8),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(PrimitiveBuilder<Date32Type>),
    Datetime(PrimitiveBuilder<TimestampMillisecondType>),
    Timestamp { seconds: Vec<i64>, nanos: Vec<i32>, valid: Vec<bool> },
    List { ends: Vec<i32>, valid: Vec<bool>, item: Box<Cells> },
    Map { ends: Vec<i32>, valid: Vec<bool>, key: Box<Cells>, value: Box<Cells> },
    Struct { valid: Vec<bool>, fields: Vec<Cells> },
}

/// The cells of one column, or of one nested in it.
pub struct Cells {
    data_type: DataType,
    kind: Kind,
    len: usize,
}

fn boxed(data_type: &DataType) -> Box<Cells> {
    Box::new(Cells::new(data_type))
}

fn narrow<T: TryFrom<i64>>(value: i64) -> ApiResult<T> {
    T::try_from(value).map_err(|_| ApiError::malformed(format!("{value} is outside the column's type")))
}

fn offset(len: usize) -> ApiResult<i32> {
    i32::try_from(len).map_err(|_| ApiError::malformed("more than 2^31 elements in a batch"))
}

/// Parses a decimal (`-1.50`, `1E-18`) as an integer at `scale`. A value that does not fit is rejected, not rounded.
pub fn parse_decimal(text: &str, scale: u32) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['E', 'e']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let digits = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let joined = format!("{whole}{fraction}");
    if joined.is_empty() || !joined.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let kept = joined.trim_start_matches('0');
    if kept.is_empty() {
        return Some(0);
    }
    let shift = i32::try_from(scale).ok()? + exponent - i32::try_from(fraction.len()).ok()?;
    let text = if shift >= 0 {
        format!("{kept}{}", "0".repeat(usize::try_from(shift.min(64)).ok()?))
    } else {
        let cut = kept.len().checked_sub(usize::try_from(-shift).ok()?)?;
        let (head, tail) = kept.split_at(cut);
        tail.bytes().all(|b| b == b'0').then(|| head.to_owned()).filter(|h| !h.is_empty())?
    };
    let value: i128 = text.parse().ok()?;
    Some(if mantissa.starts_with('-') { -value } else { value })
}

impl Cells {
    pub fn new(data_type: &DataType) -> Self {
        let kind = match data_type {
            DataType::TinyInt => Kind::I8(Int8Builder::new()),
            DataType::SmallInt => Kind::I16(Int16Builder::new()),
            DataType::Int => Kind::I32(Int32Builder::new()),
            DataType::BigInt => Kind::I64(Int64Builder::new()),
            DataType::Float => Kind::F32(Float32Builder::new()),
            DataType::Double => Kind::F64(Float64Builder::new()),
            DataType::Boolean => Kind::Bool(BooleanBuilder::new()),
            DataType::Decimal { precision, scale } => {
                Kind::Decimal(PrimitiveBuilder::new(), *precision, i8::try_from(*scale).unwrap_or(18))
            }
            DataType::String | DataType::Varchar(_) | DataType::Char(_) | DataType::Json => {
                Kind::Text(StringBuilder::new())
            }
            DataType::Binary => Kind::Bytes(BinaryBuilder::new()),
            DataType::Date => Kind::Date(PrimitiveBuilder::new()),
            DataType::Datetime => Kind::Datetime(PrimitiveBuilder::new()),
            DataType::Timestamp | DataType::TimestampNtz => {
                Kind::Timestamp { seconds: Vec::new(), nanos: Vec::new(), valid: Vec::new() }
            }
            DataType::Array(item) => Kind::List { ends: vec![0], valid: Vec::new(), item: boxed(item) },
            DataType::Map(key, value) => {
                Kind::Map { ends: vec![0], valid: Vec::new(), key: boxed(key), value: boxed(value) }
            }
            DataType::Struct(fields) => {
                Kind::Struct { valid: Vec::new(), fields: fields.iter().map(|f| Self::new(&f.data_type)).collect() }
            }
        };
        Self { data_type: data_type.clone(), kind, len: 0 }
    }

    /// The wire type that a tag of this column must have.
    pub fn wire_type(&self) -> u8 {
        match self.kind {
            Kind::F32(_) => 5,
            Kind::F64(_) => 1,
            Kind::I8(_)
            | Kind::I16(_)
            | Kind::I32(_)
            | Kind::I64(_)
            | Kind::Bool(_)
            | Kind::Date(_)
            | Kind::Datetime(_) => 0,
            _ => 2,
        }
    }

    /// Reads one value and appends it.
    pub fn push<R: Read>(&mut self, source: &mut Source<R>) -> ApiResult<()> {
        match &mut self.kind {
            Kind::I8(b) => b.append_value(narrow(source.int()?)?),
            Kind::I16(b) => b.append_value(narrow(source.int()?)?),
            Kind::I32(b) => b.append_value(narrow(source.int()?)?),
            Kind::I64(b) => b.append_value(source.int()?),
            Kind::F32(b) => b.append_value(f32::from_le_bytes(source.fixed()?)),
            Kind::F64(b) => b.append_value(f64::from_le_bytes(source.fixed()?)),
            Kind::Bool(b) => b.append_value(source.boolean()?),
            Kind::Date(b) => b.append_value(narrow(source.int()?)?),
            Kind::Datetime(b) => b.append_value(source.int()?),
            Kind::Bytes(b) => b.append_value(source.bytes(CELL_BYTES_MAX)?),
            Kind::Text(b) => {
                let bytes = source.bytes(CELL_BYTES_MAX)?;
                b.append_value(std::str::from_utf8(bytes).map_err(|_| ApiError::malformed("a text is not UTF-8"))?);
            }
            Kind::Decimal(b, _, scale) => {
                let text = String::from_utf8_lossy(source.bytes(256)?).into_owned();
                let value = parse_decimal(&text, u32::from(scale.unsigned_abs()))
                    .ok_or_else(|| ApiError::malformed(format!("`{text}` is not a decimal of the column's scale")))?;
                b.append_value(value);
            }
            Kind::Timestamp { seconds, nanos, valid } => {
                let (second, nano) = source.timestamp()?;
                seconds.push(second);
                nanos.push(nano);
                valid.push(true);
            }
            Kind::List { ends, valid, item } => {
                push_elements(source, item)?;
                ends.push(offset(item.len)?);
                valid.push(true);
            }
            Kind::Map { ends, valid, key, value } => {
                push_elements(source, key)?;
                push_elements(source, value)?;
                if key.len != value.len {
                    return Err(ApiError::malformed("a map has another number of keys than of values"));
                }
                ends.push(offset(key.len)?);
                valid.push(true);
            }
            Kind::Struct { valid, fields } => {
                fields.iter_mut().try_for_each(|field| push_nullable(source, field))?;
                valid.push(true);
            }
        }
        self.len += 1;
        Ok(())
    }

    /// Appends a NULL.
    pub fn push_null(&mut self) {
        match &mut self.kind {
            Kind::I8(b) => b.append_null(),
            Kind::I16(b) => b.append_null(),
            Kind::I32(b) => b.append_null(),
            Kind::I64(b) => b.append_null(),
            Kind::F32(b) => b.append_null(),
            Kind::F64(b) => b.append_null(),
            Kind::Bool(b) => b.append_null(),
            Kind::Decimal(b, ..) => b.append_null(),
            Kind::Text(b) => b.append_null(),
            Kind::Bytes(b) => b.append_null(),
            Kind::Date(b) => b.append_null(),
            Kind::Datetime(b) => b.append_null(),
            Kind::Timestamp { seconds, nanos, valid } => {
                seconds.push(0);
                nanos.push(0);
                valid.push(false);
            }
            Kind::List { ends, valid, .. } | Kind::Map { ends, valid, .. } => {
                ends.push(ends.last().copied().unwrap_or_default());
                valid.push(false);
            }
            Kind::Struct { valid, fields } => {
                fields.iter_mut().for_each(Self::push_null);
                valid.push(false);
            }
        }
        self.len += 1;
    }

    /// Returns the cells as an array in the form of our files, and starts anew.
    pub fn finish(&mut self) -> ApiResult<ArrayRef> {
        self.len = 0;
        let wrong = |error: arrow::error::ArrowError| ApiError::malformed(error.to_string());
        let nulls = |valid: &mut Vec<bool>| Some(NullBuffer::from(std::mem::take(valid)));
        let offsets = |ends: &mut Vec<i32>| OffsetBuffer::new(std::mem::replace(ends, vec![0]).into());
        let arrow = arrow_type(&self.data_type, Form::File);
        Ok(match (&mut self.kind, arrow) {
            (Kind::I8(b), _) => Arc::new(b.finish()),
            (Kind::I16(b), _) => Arc::new(b.finish()),
            (Kind::I32(b), _) => Arc::new(b.finish()),
            (Kind::I64(b), _) => Arc::new(b.finish()),
            (Kind::F32(b), _) => Arc::new(b.finish()),
            (Kind::F64(b), _) => Arc::new(b.finish()),
            (Kind::Bool(b), _) => Arc::new(b.finish()),
            (Kind::Text(b), _) => Arc::new(b.finish()),
            (Kind::Bytes(b), _) => Arc::new(b.finish()),
            (Kind::Date(b), _) => Arc::new(b.finish()),
            (Kind::Datetime(b), _) => Arc::new(b.finish()),
            (Kind::Decimal(b, precision, scale), _) => {
                Arc::new(b.finish().with_precision_and_scale(*precision, *scale).map_err(wrong)?)
            }
            (Kind::Timestamp { seconds, nanos, valid }, ArrowType::Struct(fields)) => {
                let children: Vec<ArrayRef> = vec![
                    Arc::new(Int64Array::from(std::mem::take(seconds))),
                    Arc::new(Int32Array::from(std::mem::take(nanos))),
                ];
                Arc::new(StructArray::try_new(fields, children, nulls(valid)).map_err(wrong)?)
            }
            (Kind::List { ends, valid, item }, ArrowType::List(field)) => {
                Arc::new(ListArray::try_new(field, offsets(ends), item.finish()?, nulls(valid)).map_err(wrong)?)
            }
            (Kind::Map { ends, valid, key, value }, ArrowType::Map(field, ordered)) => {
                let ArrowType::Struct(fields) = Field::data_type(&field).clone() else {
                    return Err(ApiError::internal("a map's entries are a struct"));
                };
                let entries = vec![key.finish()?, value.finish()?];
                let entries = StructArray::try_new(fields, entries, None).map_err(wrong)?;
                Arc::new(MapArray::try_new(field, offsets(ends), entries, nulls(valid), ordered).map_err(wrong)?)
            }
            (Kind::Struct { valid, fields }, ArrowType::Struct(arrow_fields)) => {
                let children: Vec<ArrayRef> = fields.iter_mut().map(Self::finish).collect::<ApiResult<_>>()?;
                Arc::new(StructArray::try_new(arrow_fields, children, nulls(valid)).map_err(wrong)?)
            }
            _ => return Err(ApiError::internal("cells of another type than their column")),
        })
    }
}

fn push_nullable<R: Read>(source: &mut Source<R>, cells: &mut Cells) -> ApiResult<()> {
    if source.flag()? {
        cells.push_null();
        Ok(())
    } else {
        cells.push(source)
    }
}

fn push_elements<R: Read>(source: &mut Source<R>, cells: &mut Cells) -> ApiResult<()> {
    let count = source.varint()?;
    if count > ELEMENTS_MAX {
        return Err(ApiError::malformed(format!("a cell with {count} elements, the limit is {ELEMENTS_MAX}")));
    }
    (0..count).try_for_each(|_| push_nullable(source, cells))
}

#[cfg(test)]
mod tests {
    use super::parse_decimal;

    #[test]
    fn decimals_are_read_in_every_spelling_and_never_rounded() {
        for (text, scale, want) in [
            ("12.34", 2, Some(1234)),
            ("-1E-18", 18, Some(-1)),
            ("0E-18", 18, Some(0)),
            ("0E-30", 2, Some(0)),
            ("1e2", 0, Some(100)),
            ("1.500", 1, Some(15)),
            ("1.55", 1, None),
            ("0.5", 0, None),
            ("-.5", 1, Some(-5)),
            ("", 0, None),
            ("1x", 0, None),
            ("99999999999999999999.999999999999999999", 18, Some(99_999_999_999_999_999_999_999_999_999_999_999_999)),
        ] {
            assert_eq!(parse_decimal(text, scale), want, "{text} at {scale}");
        }
    }
}
