//! Dates and timestamps, converted to microseconds and to the Gregorian calendar where that is exact.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit};

use super::calendar::{Calendar, DAY_MICROS};
use super::{Fault, Unit, unexpected};

/// The Julian day number of 1970-01-01.
const EPOCH: i64 = 2_440_588;
const DAY_NANOS: i64 = 86_400_000_000_000;

pub(super) fn dates(array: &ArrayRef, calendar: &Calendar) -> Result<ArrayRef, Fault> {
    let days = array.as_primitive_opt::<Int32Type>().ok_or_else(|| unexpected(array, &DataType::Date32))?;
    let dates: Date32Array = days.try_unary(|day| calendar.day(day).map_err(Fault::new))?;
    Ok(Arc::new(dates))
}

pub(super) fn dates_to_clocks(array: &ArrayRef, calendar: &Calendar) -> Result<ArrayRef, Fault> {
    let days = array.as_primitive_opt::<Int32Type>().ok_or_else(|| unexpected(array, &DataType::Date32))?;
    let clocks: TimestampMicrosecondArray = days.try_unary(|day| {
        let day = calendar.day(day).map_err(Fault::new)?;
        i64::from(day)
            .checked_mul(DAY_MICROS)
            .ok_or_else(|| Fault::new(format!("day {day} since 1970 is no TIMESTAMP_NTZ")))
    })?;
    Ok(Arc::new(clocks))
}

pub(super) fn instants(array: &ArrayRef, unit: Unit, to: &DataType, calendar: &Calendar) -> Result<ArrayRef, Fault> {
    let stored = array.as_primitive_opt::<Int64Type>().ok_or_else(|| unexpected(array, to))?;
    let micros = |value: i64| match unit {
        Unit::Micros => Ok(value),
        Unit::Millis => value
            .checked_mul(1_000)
            .ok_or_else(|| Fault::new(format!("{value} ms since 1970 is beyond 64 bits of microseconds"))),
        Unit::Nanos => whole_micros(i128::from(value)),
    };
    let made: TimestampMicrosecondArray =
        stored.try_unary(|value| calendar.instant(micros(value)?).map_err(Fault::new))?;
    zoned(made, to)
}

pub(super) fn int96(array: &ArrayRef, to: &DataType, calendar: &Calendar) -> Result<ArrayRef, Fault> {
    let stored = array.as_fixed_size_binary_opt().ok_or_else(|| unexpected(array, to))?;
    let instant = |bytes: &[u8]| {
        let wrong = || Fault::new(format!("{bytes:02x?} is no timestamp of 96 bits"));
        let (nanos, day) = bytes.split_at_checked(8).ok_or_else(wrong)?;
        let nanos = i64::from_le_bytes(nanos.try_into().map_err(|_| wrong())?);
        let day = i32::from_le_bytes(day.try_into().map_err(|_| wrong())?);
        let days = i128::from(i64::from(day) - EPOCH);
        calendar.instant(whole_micros(days * i128::from(DAY_NANOS) + i128::from(nanos))?).map_err(Fault::new)
    };
    let made: Result<TimestampMicrosecondArray, Fault> =
        stored.iter().map(|bytes| bytes.map(instant).transpose()).collect();
    zoned(made?, to)
}

/// Nanoseconds as microseconds, if none is lost: the table's type has no finer digits.
fn whole_micros(nanos: i128) -> Result<i64, Fault> {
    let micros = (nanos % 1_000 == 0).then(|| i64::try_from(nanos / 1_000).ok()).flatten();
    micros.ok_or_else(|| {
        Fault::new(format!(
            "{nanos} ns since 1970 is finer than a microsecond, or beyond its range: the table's type cannot hold it exactly"
        ))
    })
}

fn zoned(array: TimestampMicrosecondArray, to: &DataType) -> Result<ArrayRef, Fault> {
    match to {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            Ok(Arc::new(array.with_timezone_opt(zone.as_ref().map(ToString::to_string))))
        }
        _ => Err(Fault::new(format!("a timestamp was asked for as {to}"))),
    }
}
