//! Which stored types may be read as which types, written in Parquet's own notation.

use delta_kernel::schema::{DataType, PrimitiveType};
use parquet::schema::parser::parse_message_type;

use super::*;

fn way(stored: &str, wanted: &DataType) -> Result<Carry, String> {
    let message = parse_message_type(&format!("message m {{ optional {stored}; }}")).expect(stored);
    let DataType::Primitive(primitive) = wanted else { panic!("a primitive type") };
    carry(primitive, &message.get_fields()[0])
}

fn int(stored: u8, bits: u8, signed: bool) -> Integer {
    Integer { stored, bits, signed }
}

#[test]
fn what_spark_reads_is_read() {
    let decimal = DataType::decimal(20, 2).expect("a type");
    let cases = [
        ("boolean c", DataType::BOOLEAN, Carry::Boolean),
        ("int32 c", DataType::INTEGER, Carry::Integer(int(32, 32, true))),
        ("int32 c (INTEGER(8,true))", DataType::BYTE, Carry::Integer(int(32, 8, true))),
        ("int32 c (UINT_16)", DataType::INTEGER, Carry::Integer(int(32, 16, false))),
        ("int32 c", DataType::LONG, Carry::Integer(int(32, 32, true))),
        ("int64 c (INTEGER(64,false))", decimal.clone(), Carry::IntegerToDecimal(int(64, 64, false))),
        ("int32 c", DataType::DOUBLE, Carry::IntegerToDouble(int(32, 32, true))),
        ("float c", DataType::DOUBLE, Carry::FloatToDouble),
        ("int64 c (DECIMAL(18,2))", decimal.clone(), Carry::Decimal { scale: 2 }),
        ("fixed_len_byte_array(9) c (DECIMAL(20,2))", decimal.clone(), Carry::Decimal { scale: 2 }),
        ("binary c (DECIMAL(20,2))", decimal, Carry::Decimal { scale: 2 }),
        ("int32 c (DATE)", DataType::DATE, Carry::Date),
        ("int32 c (DATE)", DataType::TIMESTAMP_NTZ, Carry::DateToClock),
        ("int96 c", DataType::TIMESTAMP, Carry::Int96),
        ("int64 c (TIMESTAMP_MILLIS)", DataType::TIMESTAMP, Carry::Instant(Unit::Millis)),
        ("int64 c (TIMESTAMP(NANOS,true))", DataType::TIMESTAMP, Carry::Instant(Unit::Nanos)),
        ("int64 c (TIMESTAMP(MICROS,false))", DataType::TIMESTAMP, Carry::Instant(Unit::Micros)),
        ("int64 c (TIMESTAMP(MICROS,false))", DataType::TIMESTAMP_NTZ, Carry::Clock(Unit::Micros)),
        ("binary c", DataType::STRING, Carry::Text),
        ("binary c (ENUM)", DataType::STRING, Carry::Text),
        ("binary c (JSON)", DataType::STRING, Carry::Text),
        ("binary c (UTF8)", DataType::BINARY, Carry::Bytes),
        ("fixed_len_byte_array(16) c (UUID)", DataType::BINARY, Carry::Bytes),
    ];
    for (stored, wanted, expected) in cases {
        assert_eq!(way(stored, &wanted), Ok(expected), "{stored} as {wanted}");
    }
}

#[test]
fn what_may_be_another_value_is_refused_in_words() {
    let cases = [
        ("binary c (UTF8)", DataType::LONG, "BYTE_ARRAY"),
        ("int64 c", DataType::TIMESTAMP, "does not say what the numbers count"),
        ("int64 c", DataType::TIMESTAMP_NTZ, "does not say what the numbers count"),
        ("int64 c (TIMESTAMP(MICROS,true))", DataType::TIMESTAMP_NTZ, "an instant is not a clock"),
        ("int96 c", DataType::TIMESTAMP_NTZ, "instants"),
        ("int96 c", DataType::LONG, "INT96"),
        ("int64 c (TIMESTAMP_MICROS)", DataType::LONG, "BIGINT"),
        ("int64 c", DataType::DOUBLE, "DOUBLE"),
        ("double c", DataType::FLOAT, "FLOAT"),
        ("int32 c (TIME_MILLIS)", DataType::INTEGER, "INT"),
        ("fixed_len_byte_array(16) c (UUID)", DataType::STRING, "STRING"),
        ("int32 c (DECIMAL(5,2))", DataType::INTEGER, "DECIMAL"),
        ("fixed_len_byte_array(12) c (INTERVAL)", DataType::STRING, "INTERVAL"),
    ];
    for (stored, wanted, words) in cases {
        let why = way(stored, &wanted).expect_err(stored);
        assert!(why.contains(words), "{stored} as {wanted}: {why}");
    }
    assert!(matches!(DataType::STRING, DataType::Primitive(PrimitiveType::String)));
}
