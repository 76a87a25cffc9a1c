//! Decides which stored types may be read as which types of the table: those that Spark reads, and those whose values are
//! certainly the same. Everything else that a file holds under a column is refused here, with the reason. Pure.

use delta_kernel::schema::PrimitiveType;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit as ParquetUnit, Type as PhysicalType};
use parquet::schema::types::Type;

use super::bare;
use crate::error::shown_primitive;
use crate::values::{Carry, Integer, Unit};

/// What the annotation of a leaf says of its values, in either of the format's two notations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Nothing,
    AlwaysNull,
    Integer {
        bits: u8,
        signed: bool,
    },
    Decimal {
        scale: i8,
    },
    Date,
    Timestamp {
        unit: Unit,
        utc: bool,
    },
    /// Text, or bytes that are text: ENUM and JSON too.
    Text,
    Uuid,
    Other,
}

/// How the values of this leaf are converted to the table's type.
///
/// # Errors
/// Says what is stored, and that it cannot be read as the wanted type.
pub(crate) fn carry(wanted: &PrimitiveType, there: &Type) -> Result<Carry, String> {
    use PrimitiveType as P;
    let no = || format!("it is stored as {}, which cannot be read as {}", bare::shown(there), shown_primitive(wanted));
    if !there.is_primitive() {
        return Err(no());
    }
    let says = says(there);
    let physical = there.get_physical_type();
    if says == Says::AlwaysNull {
        return Ok(Carry::AlwaysNull);
    }
    if physical == PhysicalType::INT96 {
        return match wanted {
            P::Timestamp => Ok(Carry::Int96),
            P::TimestampNtz => Err(format!("{}: timestamps of 96 bits are instants, not clocks without a zone", no())),
            _ => Err(no()),
        };
    }
    match (wanted, physical, says) {
        (P::Boolean, PhysicalType::BOOLEAN, _) => Ok(Carry::Boolean),
        (P::Float, PhysicalType::FLOAT, _) => Ok(Carry::Float),
        (P::Double, PhysicalType::DOUBLE, _) => Ok(Carry::Double),
        (P::Double, PhysicalType::FLOAT, _) => Ok(Carry::FloatToDouble),
        // Type widening: every INT is a DOUBLE, but not every BIGINT.
        (P::Double, PhysicalType::INT32, Says::Nothing | Says::Integer { .. }) => {
            integer(physical, says).map(Carry::IntegerToDouble).ok_or_else(no)
        }
        (P::Byte | P::Short | P::Integer | P::Long, PhysicalType::INT32 | PhysicalType::INT64, _) => {
            integer(physical, says).map(Carry::Integer).ok_or_else(no)
        }
        (P::Decimal(_), PhysicalType::INT32 | PhysicalType::INT64, Says::Nothing | Says::Integer { .. }) => {
            integer(physical, says).map(Carry::IntegerToDecimal).ok_or_else(no)
        }
        (P::Decimal(_), _, Says::Decimal { scale }) => match physical {
            PhysicalType::INT32
            | PhysicalType::INT64
            | PhysicalType::BYTE_ARRAY
            | PhysicalType::FIXED_LEN_BYTE_ARRAY => Ok(Carry::Decimal { scale }),
            _ => Err(no()),
        },
        (P::Date, PhysicalType::INT32, Says::Date | Says::Nothing) => Ok(Carry::Date),
        // Type widening: a date becomes its first instant.
        (P::TimestampNtz, PhysicalType::INT32, Says::Date) => Ok(Carry::DateToClock),
        // Spark reads timestamps without a zone as instants in UTC, but never the other way round.
        (P::Timestamp, PhysicalType::INT64, Says::Timestamp { unit, .. }) => Ok(Carry::Instant(unit)),
        (P::TimestampNtz, PhysicalType::INT64, Says::Timestamp { unit, utc: false }) => Ok(Carry::Clock(unit)),
        (P::TimestampNtz, PhysicalType::INT64, Says::Timestamp { .. }) => {
            Err(format!("{}: an instant is not a clock without a zone", no()))
        }
        (P::Timestamp | P::TimestampNtz, PhysicalType::INT64, Says::Nothing) => {
            Err(format!("{}: the file does not say what the numbers count", no()))
        }
        (P::String, PhysicalType::BYTE_ARRAY, Says::Nothing | Says::Text) => Ok(Carry::Text),
        (P::Binary, PhysicalType::BYTE_ARRAY, Says::Nothing | Says::Text | Says::Other) => Ok(Carry::Bytes),
        (P::Binary, PhysicalType::FIXED_LEN_BYTE_ARRAY, Says::Nothing | Says::Uuid | Says::Other) => Ok(Carry::Bytes),
        _ => Err(no()),
    }
}

fn integer(physical: PhysicalType, says: Says) -> Option<Integer> {
    let stored = if physical == PhysicalType::INT64 { 64 } else { 32 };
    match says {
        Says::Nothing => Some(Integer { stored, bits: stored, signed: true }),
        Says::Integer { bits, signed } if bits <= stored => Some(Integer { stored, bits, signed }),
        _ => None,
    }
}

fn says(there: &Type) -> Says {
    let info = there.get_basic_info();
    match info.logical_type_ref() {
        None => converted(there),
        Some(LogicalType::Unknown) => Says::AlwaysNull,
        Some(LogicalType::Integer(kind)) => {
            u8::try_from(kind.bit_width).map_or(Says::Other, |bits| Says::Integer { bits, signed: kind.is_signed })
        }
        Some(LogicalType::Decimal(kind)) => {
            i8::try_from(kind.scale).map_or(Says::Other, |scale| Says::Decimal { scale })
        }
        Some(LogicalType::Date) => Says::Date,
        Some(LogicalType::Timestamp(kind)) => {
            let unit = match kind.unit {
                ParquetUnit::MILLIS => Unit::Millis,
                ParquetUnit::MICROS => Unit::Micros,
                ParquetUnit::NANOS => Unit::Nanos,
            };
            Says::Timestamp { unit, utc: kind.is_adjusted_to_u_t_c }
        }
        Some(LogicalType::String | LogicalType::Enum | LogicalType::Json | LogicalType::Bson) => Says::Text,
        Some(LogicalType::Uuid) => Says::Uuid,
        Some(_) => Says::Other,
    }
}

fn converted(there: &Type) -> Says {
    let signed = |bits| Says::Integer { bits, signed: true };
    let unsigned = |bits| Says::Integer { bits, signed: false };
    match there.get_basic_info().converted_type() {
        ConvertedType::NONE => Says::Nothing,
        ConvertedType::INT_8 => signed(8),
        ConvertedType::INT_16 => signed(16),
        ConvertedType::INT_32 => signed(32),
        ConvertedType::INT_64 => signed(64),
        ConvertedType::UINT_8 => unsigned(8),
        ConvertedType::UINT_16 => unsigned(16),
        ConvertedType::UINT_32 => unsigned(32),
        ConvertedType::UINT_64 => unsigned(64),
        ConvertedType::DECIMAL => match there {
            Type::PrimitiveType { scale, .. } => {
                i8::try_from(*scale).map_or(Says::Other, |scale| Says::Decimal { scale })
            }
            Type::GroupType { .. } => Says::Other,
        },
        ConvertedType::DATE => Says::Date,
        // In the older notation these always mean instants in UTC.
        ConvertedType::TIMESTAMP_MILLIS => Says::Timestamp { unit: Unit::Millis, utc: true },
        ConvertedType::TIMESTAMP_MICROS => Says::Timestamp { unit: Unit::Micros, utc: true },
        ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON | ConvertedType::BSON => Says::Text,
        _ => Says::Other,
    }
}

#[cfg(test)]
#[path = "leaf_tests.rs"]
mod tests;
