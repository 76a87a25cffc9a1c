//! What a cell of the target can hold, and what the way there (tunnel or Storage API) can carry. Pure: checks arrays in the
//! types of that way and never changes them.
//!
//! -2^63 passes as a BIGINT: newer documents of the service allow it, and a reader gets what the service makes of it.

use std::ops::RangeInclusive;

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait};
use arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, DataType as ArrowType, Date32Type, Decimal128Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType,
};
use mms_maxcompute::types::DataType;

/// Most bytes of one text or binary value.
pub const CELL_BYTES_MAX: usize = 8 << 20;
/// 0000-01-01 and 9999-12-31, in days since 1970.
const DAYS: (i64, i64) = (-719_528, 2_932_896);
const DAY_MS: i64 = 86_400_000;
const DAY_US: i64 = 86_400_000_000;

/// How far the tunnel's timestamps reach: nanoseconds in 64 bits.
pub const TUNNEL_YEARS: &str = "1677-09-21 to 2262-04-11";
/// The same range, in microseconds since 1970.
pub const TUNNEL_MICROS: RangeInclusive<i64> = (i64::MIN / 1_000)..=(i64::MAX / 1_000);

/// Says what is wrong with the first value that a column of this type cannot hold. NULLs always pass here.
pub fn check(array: &dyn Array, data_type: &DataType) -> Result<(), String> {
    match data_type {
        DataType::Decimal { precision, .. } => array
            .as_primitive::<Decimal128Type>()
            .validate_decimal_precision(*precision)
            .map_err(|error| error.to_string()),
        DataType::String | DataType::Json => lengths(array.as_string::<i32>().value_offsets(), CELL_BYTES_MAX),
        DataType::Binary => lengths(array.as_binary::<i32>().value_offsets(), CELL_BYTES_MAX),
        DataType::Varchar(most) => characters(array, *most as usize),
        DataType::Char(most) => characters(array, *most as usize),
        DataType::Date => within::<Date32Type>(array, DAYS, "days"),
        DataType::Datetime => {
            within::<TimestampMillisecondType>(array, (DAYS.0 * DAY_MS, (DAYS.1 + 1) * DAY_MS - 1), "ms")
        }
        DataType::Array(item) => {
            let list = array.as_list::<i32>();
            let (first, length) = span(list.value_offsets());
            check(&list.values().slice(first, length), item)
        }
        DataType::Map(key, value) => {
            let map = array.as_map();
            let (first, length) = span(map.value_offsets());
            check(&map.keys().slice(first, length), key)?;
            check(&map.values().slice(first, length), value)
        }
        DataType::Struct(fields) => {
            let children = array.as_struct().columns();
            fields.iter().zip(children).try_for_each(|(field, child)| {
                check(child, &field.data_type).map_err(|why| format!("field `{}`: {why}", field.name))
            })
        }
        // As microseconds they can lie outside the years of the type. Nanoseconds in 64 bits cannot: they reach less far.
        DataType::Timestamp | DataType::TimestampNtz if has_timestamps(array.data_type(), TimeUnit::Microsecond) => {
            within::<TimestampMicrosecondType>(array, (DAYS.0 * DAY_US, (DAYS.1 + 1) * DAY_US - 1), "us")
        }
        // Their Arrow types hold exactly the same values.
        DataType::TinyInt
        | DataType::SmallInt
        | DataType::Int
        | DataType::BigInt
        | DataType::Float
        | DataType::Double
        | DataType::Boolean
        | DataType::Timestamp
        | DataType::TimestampNtz => Ok(()),
    }
}

/// Whether a type has timestamps of this unit, at any depth.
pub fn has_timestamps(data_type: &ArrowType, unit: TimeUnit) -> bool {
    match data_type {
        ArrowType::Timestamp(found, _) => *found == unit,
        ArrowType::Struct(fields) => fields.iter().any(|field| has_timestamps(field.data_type(), unit)),
        ArrowType::List(item) | ArrowType::Map(item, _) => has_timestamps(item.data_type(), unit),
        _ => false,
    }
}

/// Says which timestamp of the source, at any depth, lies outside the range of the tunnel's 64-bit nanoseconds. Timestamps
/// that have another unit at the target are checked by [`check`].
pub fn reachable(source: &ArrayRef) -> Result<(), String> {
    match source.data_type() {
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            let found = source.as_primitive::<TimestampMicrosecondType>().iter().flatten();
            let far = found.into_iter().find(|micros| !TUNNEL_MICROS.contains(micros));
            far.map_or(Ok(()), |micros| {
                let at = jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0)
                    .checked_add(jiff::SignedDuration::from_micros(micros));
                let at = at.map_or_else(|_| format!("{micros} us since 1970"), |at| at.to_string());
                Err(format!("{at} lies outside {TUNNEL_YEARS}, the years that the tunnel's nanoseconds reach"))
            })
        }
        ArrowType::Struct(_) => source.as_struct().columns().iter().try_for_each(reachable),
        ArrowType::List(_) => {
            let list = source.as_list::<i32>();
            let (first, length) = span(list.value_offsets());
            reachable(&list.values().slice(first, length))
        }
        ArrowType::Map(..) => {
            let map = source.as_map();
            let (first, length) = span(map.value_offsets());
            reachable(&map.keys().slice(first, length))?;
            reachable(&map.values().slice(first, length))
        }
        _ => Ok(()),
    }
}

fn lengths<O: OffsetSizeTrait>(offsets: &[O], most: usize) -> Result<(), String> {
    let longest = offsets.windows(2).map(|pair| (pair[1] - pair[0]).as_usize()).max().unwrap_or(0);
    if longest > most { Err(format!("a value of {longest} bytes, where a cell holds at most {most}")) } else { Ok(()) }
}

fn characters(array: &dyn Array, most: usize) -> Result<(), String> {
    let texts = array.as_string::<i32>();
    match texts.iter().flatten().find(|text| text.len() > most && text.chars().count() > most) {
        Some(text) => {
            Err(format!("a text of {} characters, where the type holds at most {most}", text.chars().count()))
        }
        None => Ok(()),
    }
}

fn within<T: ArrowPrimitiveType<Native: Into<i64>>>(
    array: &dyn Array,
    (least, most): (i64, i64),
    unit: &str,
) -> Result<(), String> {
    let found = array.as_primitive::<T>().iter().flatten().map(Into::into).find(|v| !(least..=most).contains(v));
    found.map_or(Ok(()), |value| Err(format!("{value} {unit} since 1970 lies outside the years 0000 to 9999")))
}

/// Where the items of these rows begin, and how many there are.
fn span(offsets: &[i32]) -> (usize, usize) {
    let at = |offset: Option<&i32>| offset.map_or(0, |offset| offset.as_usize());
    let first = at(offsets.first());
    (first, at(offsets.last()) - first)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Date32Array, ListBuilder, StringArray, StringBuilder, StructArray};
    use arrow::array::{BinaryArray, TimestampMicrosecondArray, TimestampMillisecondArray};
    use arrow::datatypes::{DataType as ArrowType, Field};

    use super::*;

    fn of(text: &str) -> DataType {
        text.parse().expect("a type")
    }

    #[test]
    fn cells_end_at_eight_mebibytes_however_deep() {
        let text = |bytes: usize| StringArray::from(vec![Some("x".repeat(bytes)), None]);
        assert_eq!(check(&text(CELL_BYTES_MAX), &of("string")), Ok(()));
        let error = check(&text(CELL_BYTES_MAX + 1), &of("string")).expect_err("too long");
        assert!(error.contains("8388609 bytes"), "{error}");
        assert!(check(&BinaryArray::from(vec![&vec![0; CELL_BYTES_MAX + 1][..]]), &of("binary")).is_err());
        let field = Arc::new(Field::new("a", ArrowType::Utf8, true));
        let nested = StructArray::from(vec![(field, Arc::new(text(CELL_BYTES_MAX + 1)) as ArrayRef)]);
        let error = check(&nested, &of("struct<a:string>")).expect_err("too long");
        assert!(error.contains("field `a`"), "{error}");
        let mut list = ListBuilder::new(StringBuilder::new());
        list.append_value([Some("short")]);
        list.append_value([Some("x".repeat(CELL_BYTES_MAX + 1))]);
        let list = list.finish();
        assert!(check(&list, &of("array<string>")).is_err());
        assert_eq!(check(&list.slice(0, 1), &of("array<string>")), Ok(()), "only the rows at hand are looked at");
    }

    #[test]
    fn times_end_with_the_year_9999() {
        let days = |day| Date32Array::from(vec![None, Some(day)]);
        assert_eq!(check(&days(2_932_896), &of("date")), Ok(()));
        assert_eq!(check(&days(-719_528), &of("date")), Ok(()));
        assert!(check(&days(2_932_897), &of("date")).is_err());
        assert!(check(&days(-719_529), &of("date")).is_err());
        let ms = |ms| TimestampMillisecondArray::from(vec![Some(ms)]);
        assert_eq!(check(&ms(253_402_300_799_999), &of("datetime")), Ok(()));
        assert!(check(&ms(253_402_300_800_000), &of("datetime")).is_err());
        let us = |us| TimestampMicrosecondArray::from(vec![None, Some(us)]);
        for (data_type, fine) in [("timestamp", 253_402_300_799_999_999), ("timestamp_ntz", -62_167_219_200_000_000)] {
            assert_eq!(check(&us(fine), &of(data_type)), Ok(()));
            assert!(check(&us(fine + fine.signum()), &of(data_type)).is_err());
        }
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        assert_eq!(check(&StringArray::from(vec!["größe"]), &of("varchar(5)")), Ok(()));
        assert!(check(&StringArray::from(vec!["größen"]), &of("varchar(5)")).is_err());
    }
}
