//! Computes the canonical text of a partition value. Delta lets writers choose between several texts for one value, but
//! MaxCompute compares partition values byte by byte.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::error::PartitionProblem;
use crate::source::SparkType;

/// The value that stands for NULL in a text partition column.
pub const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// The canonical text of a partition value that is not NULL, from its text in the Delta log.
///
/// Integers are plain; booleans `true` or `false`; dates `yyyy-MM-dd`; timestamps `yyyy-MM-dd HH:mm:ss[.ffffff]` in UTC without
/// trailing zeros (a text without a zone is read as UTC); decimals have plain digits at their scale; FLOAT and DOUBLE are written
/// as Spark prints them; CHAR loses its padding; texts are unchanged. Applied to its own result, the function changes nothing.
///
/// # Errors
/// The text is not a value of this type, or the type has no text form.
pub fn canonical_text(source: &SparkType, raw: &str) -> Result<String, PartitionProblem> {
    let text = match source {
        SparkType::String | SparkType::CollatedString(_) | SparkType::Varchar(_) => Some(raw.to_owned()),
        SparkType::Char(_) => Some(raw.trim_end_matches(' ').to_owned()),
        SparkType::Byte => raw.parse::<i8>().ok().map(|v| v.to_string()),
        SparkType::Short => raw.parse::<i16>().ok().map(|v| v.to_string()),
        SparkType::Integer => raw.parse::<i32>().ok().map(|v| v.to_string()),
        SparkType::Long => raw.parse::<i64>().ok().map(|v| v.to_string()),
        SparkType::Boolean => {
            ["true", "false"].into_iter().find(|word| raw.eq_ignore_ascii_case(word)).map(str::to_owned)
        }
        SparkType::Float => number_text(raw)
            .then(|| raw.parse::<f32>().ok())
            .flatten()
            .map(|v| floating(f64::from(v), format!("{v:e}"))),
        SparkType::Double => {
            number_text(raw).then(|| raw.parse::<f64>().ok()).flatten().map(|v| floating(v, format!("{v:e}")))
        }
        SparkType::Decimal { precision, scale } => decimal(raw, *precision, *scale),
        SparkType::Date => date(raw),
        SparkType::Timestamp => timestamp(raw, true),
        SparkType::TimestampNtz => timestamp(raw, false),
        SparkType::Binary
        | SparkType::Interval(_)
        | SparkType::Variant
        | SparkType::Void
        | SparkType::Other(_)
        | SparkType::Array { .. }
        | SparkType::Map { .. }
        | SparkType::Struct(_) => return Err(PartitionProblem::NoText { kind: source.to_string() }),
    };
    text.ok_or_else(|| PartitionProblem::NotOfType { expected: source.to_string() })
}

/// Rust also parses `inf` and `nan` in any case, which no Delta writer means.
fn number_text(raw: &str) -> bool {
    matches!(raw, "NaN" | "Infinity" | "-Infinity")
        || raw.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'))
}

/// A floating-point number as Java, and so Spark, prints it: always with a point, and with an exponent below 0.001 and from
/// 10,000,000 on. `shortest` is the shortest text that reads back as this value, with an exponent.
fn floating(value: f64, shortest: String) -> String {
    if !value.is_finite() {
        let text = if value.is_nan() { "NaN" } else { "Infinity" };
        return if value < 0.0 { format!("-{text}") } else { text.to_owned() };
    }
    let (sign, unsigned) = shortest.strip_prefix('-').map_or(("", shortest.as_str()), |rest| ("-", rest));
    let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((unsigned, "0"));
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (whole, fraction, suffix) = match exponent {
        0..=6 => {
            let places = usize::try_from(exponent).unwrap_or(0) + 1;
            let padded = format!("{digits:0<places$}");
            (padded[..places].to_owned(), padded[places..].to_owned(), String::new())
        }
        -3..=-1 => {
            let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
            ("0".to_owned(), format!("{zeros}{digits}"), String::new())
        }
        _ => (digits[..1].to_owned(), digits[1..].to_owned(), format!("E{exponent}")),
    };
    let fraction = if fraction.is_empty() { "0" } else { &fraction };
    format!("{sign}{whole}.{fraction}{suffix}")
}

/// A decimal as plain digits. Java's BigDecimal may have written an exponent (`0E-18`), which is read too. Never rounds: a value
/// that does not fit is `None`.
fn decimal(raw: &str, precision: u8, scale: u8) -> Option<String> {
    let (negative, unsigned) = match raw.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, raw.strip_prefix('+').unwrap_or(raw)),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 200 || exponent.abs() > 200 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Enough zeros on both sides for the point to fall between digits.
    let point = usize::try_from(i32::try_from(whole.len()).ok()? + i32::from(exponent) + 200).ok()?;
    let padded = format!("{}{digits}{}", "0".repeat(200), "0".repeat(400));
    let (whole, fraction) = padded.split_at(point);
    let (kept, dropped) = fraction.split_at(usize::from(scale));
    let whole = whole.trim_start_matches('0');
    if dropped.bytes().any(|b| b != b'0') || whole.len() > usize::from(precision.saturating_sub(scale)) {
        return None;
    }
    let zero = whole.is_empty() && kept.bytes().all(|b| b == b'0');
    let sign = if negative && !zero { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{kept}") })
}

/// Whether a text has digits where the pattern has `0`, and the pattern's characters elsewhere.
fn shaped(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(t, p)| if p == b'0' { t.is_ascii_digit() } else { t == p })
}

fn date(raw: &str) -> Option<String> {
    let date: Date = shaped(raw, "0000-00-00").then(|| raw.parse().ok())??;
    Some(date.to_string())
}

fn timestamp(raw: &str, zoned: bool) -> Option<String> {
    let (clock, tail) = raw.split_at_checked(19)?;
    let clock_shaped = shaped(clock, "0000-00-00 00:00:00") || shaped(clock, "0000-00-00T00:00:00");
    // A parser takes a 60th second for the 59th.
    if !clock_shaped || clock.ends_with(":60") {
        return None;
    }
    let zone_at = tail.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(tail.len());
    let (fraction, zone) = tail.split_at(zone_at);
    let zone_shaped = zone == "Z" || shaped(zone, "+00:00") || shaped(zone, "-00:00");
    let local: DateTime = format!("{clock}{fraction}").parse().ok()?;
    let utc = match zone {
        "" => local,
        "Z" if zoned => local,
        _ if zoned && zone_shaped => raw.parse::<jiff::Timestamp>().ok()?.to_zoned(TimeZone::UTC).datetime(),
        _ => return None,
    };
    let nanos = utc.subsec_nanosecond();
    if utc.year() < 0 || nanos % 1_000 != 0 {
        return None;
    }
    let micros = format!(".{:06}", nanos / 1_000);
    let micros = micros.trim_end_matches('0').trim_end_matches('.');
    Some(format!("{}{micros}", utc.strftime("%Y-%m-%d %H:%M:%S")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal_type(precision: u8, scale: u8) -> SparkType {
        SparkType::Decimal { precision, scale }
    }

    #[test]
    fn every_type_has_one_text() {
        let cases = [
            (SparkType::Integer, "09", "9"),
            (SparkType::Long, "-9223372036854775808", "-9223372036854775808"),
            (SparkType::Boolean, "TRUE", "true"),
            (SparkType::Date, "2021-09-08", "2021-09-08"),
            (SparkType::Timestamp, "2021-09-08 11:11:11", "2021-09-08 11:11:11"),
            (SparkType::Timestamp, "2021-09-08 11:11:11.120000", "2021-09-08 11:11:11.12"),
            (SparkType::Timestamp, "2021-09-08T11:11:11.000000Z", "2021-09-08 11:11:11"),
            (SparkType::Timestamp, "2021-09-08T01:11:11+02:00", "2021-09-07 23:11:11"),
            (SparkType::TimestampNtz, "0001-01-01 00:00:00.000001", "0001-01-01 00:00:00.000001"),
            (decimal_type(1, 0), "1", "1"),
            (decimal_type(20, 18), "0E-18", "0.000000000000000000"),
            (decimal_type(10, 2), "-1.5", "-1.50"),
            (decimal_type(10, 2), "-0", "0.00"),
            (decimal_type(5, 0), "1.2E+3", "1200"),
            (
                decimal_type(38, 38),
                "0.00000000000000000000000000000000000001",
                "0.00000000000000000000000000000000000001",
            ),
            (SparkType::Float, "0.0", "0.0"),
            (SparkType::Float, "1", "1.0"),
            (SparkType::Float, "0.1", "0.1"),
            (SparkType::Double, "1e7", "1.0E7"),
            (SparkType::Double, "9999999", "9999999.0"),
            (SparkType::Double, "0.001", "0.001"),
            (SparkType::Double, "-0.00012", "-1.2E-4"),
            (SparkType::Double, "-0.0", "-0.0"),
            (SparkType::Double, "-Infinity", "-Infinity"),
            (SparkType::Char(5), "ab   ", "ab"),
            (SparkType::String, " null ", " null "),
        ];
        for (source, raw, expected) in cases {
            assert_eq!(canonical_text(&source, raw).as_deref(), Ok(expected), "{source} {raw}");
        }
    }

    #[test]
    fn what_is_not_of_the_type_is_refused() {
        let cases = [
            (SparkType::Byte, "128"),
            (SparkType::Boolean, "1"),
            (SparkType::Date, "20210908"),
            (SparkType::Date, "2021-02-30"),
            (SparkType::Timestamp, "2021-09-08"),
            (SparkType::Timestamp, "2021-09-08 11:11:60"),
            (SparkType::Timestamp, "2021-09-08 11:11:11.0000001"),
            (SparkType::Timestamp, "2021-09-08 11:11:11 PST"),
            (SparkType::TimestampNtz, "2021-09-08 11:11:11Z"),
            (decimal_type(3, 1), "1.25"),
            (decimal_type(3, 1), "100.0"),
            (decimal_type(3, 1), "1_0"),
            (decimal_type(3, 1), "."),
            (decimal_type(3, 1), "1e9999"),
            (SparkType::Double, "inf"),
        ];
        for (source, raw) in cases {
            let found = canonical_text(&source, raw);
            assert!(matches!(found, Err(PartitionProblem::NotOfType { .. })), "{source} {raw} {found:?}");
        }
        assert!(matches!(canonical_text(&SparkType::Binary, "x"), Err(PartitionProblem::NoText { .. })));
    }
}
