//! Integers and decimals, converted by value, and only if the value fits.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Float64Array, PrimitiveArray};
use arrow::datatypes::{
    DataType, Decimal128Type, DecimalType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};

use super::{Fault, Integer, unexpected};

/// Converts integers to a type of any width that holds them.
pub(super) fn integers(array: &ArrayRef, kind: Integer, to: &DataType) -> Result<ArrayRef, Fault> {
    let plain = kind.bits == kind.stored && kind.signed;
    match (array.data_type(), to) {
        (DataType::Int32, DataType::Int32) | (DataType::Int64, DataType::Int64) if plain => Ok(array.clone()),
        (_, DataType::Int8) => narrow::<Int8Type>(array, kind, "TINYINT"),
        (_, DataType::Int16) => narrow::<Int16Type>(array, kind, "SMALLINT"),
        (_, DataType::Int32) => narrow::<Int32Type>(array, kind, "INT"),
        (_, DataType::Int64) => narrow::<Int64Type>(array, kind, "BIGINT"),
        _ => Err(unexpected(array, to)),
    }
}

fn narrow<T>(array: &ArrayRef, kind: Integer, name: &str) -> Result<ArrayRef, Fault>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i128>,
{
    numbers::<T>(array, kind, |value| {
        T::Native::try_from(value).map_err(|_| Fault::new(format!("{value} does not fit into {name}")))
    })
}

pub(super) fn integers_to_double(array: &ArrayRef, kind: Integer) -> Result<ArrayRef, Fault> {
    numbers::<Float64Type>(array, kind, |value| {
        let number = i32::try_from(value).map(f64::from).or_else(|_| u32::try_from(value).map(f64::from));
        number.map_err(|_| Fault::new(format!("{value} is no DOUBLE that was widened from INT")))
    })
}

pub(super) fn integers_to_decimal(array: &ArrayRef, kind: Integer, to: &DataType) -> Result<ArrayRef, Fault> {
    let &DataType::Decimal128(precision, scale) = to else { return Err(unexpected(array, to)) };
    let array = numbers::<Decimal128Type>(array, kind, |value| rescaled(value, 0, precision, scale))?;
    of_type(array, precision, scale)
}

/// Converts each stored integer by its value, as the file declares it.
fn numbers<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    kind: Integer,
    carry: impl Fn(i128) -> Result<T::Native, Fault>,
) -> Result<ArrayRef, Fault> {
    let read = |stored: i64| carry(value(stored, kind)?);
    let made: PrimitiveArray<T> = match array.data_type() {
        DataType::Int32 => array.as_primitive::<Int32Type>().try_unary(|stored| read(i64::from(stored)))?,
        DataType::Int64 => array.as_primitive::<Int64Type>().try_unary(read)?,
        _ => return Err(unexpected(array, &T::DATA_TYPE)),
    };
    Ok(Arc::new(made))
}

/// The value of a stored integer; fails if it lies outside the declared width.
fn value(stored: i64, kind: Integer) -> Result<i128, Fault> {
    let value = match (kind.signed, kind.stored) {
        (true, _) => i128::from(stored),
        (false, 32) => i128::from(stored & 0xffff_ffff),
        (false, _) => i128::from(stored.cast_unsigned()),
    };
    let (least, most) = match (kind.signed, kind.bits) {
        (true, bits) => (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1),
        (false, bits) => (0, (1_i128 << bits) - 1),
    };
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    let name = if kind.signed { "INT" } else { "UINT" };
    Err(Fault::new(format!("{value} is no {name}({}), which the file says it is", kind.bits)))
}

pub(super) fn float_to_double(array: &ArrayRef) -> Result<ArrayRef, Fault> {
    let floats = array.as_primitive_opt::<Float32Type>().ok_or_else(|| unexpected(array, &DataType::Float64))?;
    let doubles: Float64Array = floats.unary(f64::from);
    Ok(Arc::new(doubles))
}

/// Converts unscaled numbers of one scale to decimals of another, if no digit is lost.
pub(super) fn decimals(array: &ArrayRef, from: i8, to: &DataType) -> Result<ArrayRef, Fault> {
    let &DataType::Decimal128(precision, scale) = to else { return Err(unexpected(array, to)) };
    let carry = |unscaled: i128| rescaled(unscaled, from, precision, scale);
    let of_bytes = |values: &mut dyn Iterator<Item = Option<&[u8]>>| {
        let made: Result<Decimal128Array, Fault> =
            values.map(|bytes| bytes.map(|bytes| carry(big_endian(bytes)?)).transpose()).collect();
        made.map(|made| Arc::new(made) as ArrayRef)
    };
    let made: ArrayRef = match array.data_type() {
        DataType::Int32 => {
            let made: Decimal128Array =
                array.as_primitive::<Int32Type>().try_unary(|value| carry(i128::from(value)))?;
            Arc::new(made)
        }
        DataType::Int64 => {
            let made: Decimal128Array =
                array.as_primitive::<Int64Type>().try_unary(|value| carry(i128::from(value)))?;
            Arc::new(made)
        }
        DataType::Binary => of_bytes(&mut array.as_binary::<i32>().iter())?,
        DataType::FixedSizeBinary(_) => of_bytes(&mut array.as_fixed_size_binary().iter())?,
        _ => return Err(unexpected(array, to)),
    };
    of_type(made, precision, scale)
}

fn of_type(array: ArrayRef, precision: u8, scale: i8) -> Result<ArrayRef, Fault> {
    let decimals = array.as_primitive::<Decimal128Type>().clone().with_precision_and_scale(precision, scale);
    decimals.map(|made| Arc::new(made) as ArrayRef).map_err(|e| Fault::new(e.to_string()))
}

fn rescaled(unscaled: i128, from: i8, precision: u8, to: i8) -> Result<i128, Fault> {
    let shown = || format!("{unscaled}E{}", -i32::from(from));
    let places = i32::from(to) - i32::from(from);
    let factor = 10_i128.checked_pow(places.unsigned_abs());
    let value = match factor {
        None => (unscaled == 0).then_some(0),
        Some(factor) if places >= 0 => unscaled.checked_mul(factor),
        Some(factor) => (unscaled % factor == 0).then_some(unscaled / factor),
    };
    let value = value.filter(|value| Decimal128Type::is_valid_decimal_precision(*value, precision));
    value.ok_or_else(|| Fault::new(format!("{} does not fit into DECIMAL({precision},{to}) exactly", shown())))
}

/// A two's complement number of as many bytes as the file has, if its value needs 16 at most.
fn big_endian(bytes: &[u8]) -> Result<i128, Fault> {
    let sign = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let extra = bytes.len().saturating_sub(16);
    let (pad, number) = bytes.split_at(extra);
    let fits = pad.iter().all(|byte| *byte == sign)
        && (extra == 0 || number.first().is_some_and(|byte| (byte & 0x80 != 0) == (sign != 0)));
    if bytes.is_empty() || !fits {
        return Err(Fault::new(format!("a decimal of {} bytes is beyond 38 digits", bytes.len())));
    }
    let mut whole = [sign; 16];
    whole[16 - number.len()..].copy_from_slice(number);
    Ok(i128::from_be_bytes(whole))
}
