//! Compares what was read of a file with the log's statistics. Pure. Lenient only where writers are known to differ: texts
//! are cut, timestamps have milliseconds, decimals pass through floating point, NaN has no place in the order.

use std::cmp::Ordering;

use jiff::civil::{Date, DateTime};
use serde_json::Value;

use super::observe::{Observed, Observer, Seen, Watched};
use super::{ColumnStatistics, FileStatistics};

/// A column of which the file says something else than the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The table's names that lead to it.
    pub column: Vec<String>,
    /// What differs: the number of NULLs, or a bound.
    pub what: &'static str,
    pub told: String,
    pub found: String,
}

/// How far a stored timestamp may lie beyond its bound, in microseconds.
const TIME_TOLERANCE: i64 = 1_000;

/// Until 1972 zones had offsets with seconds, which Spark leaves out of a bound's text.
const WHOLE_OFFSETS: i64 = 73_000_000_000_000;
const ODD_OFFSETS: i64 = 60_000_000;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// How far a double may lie beyond its bound, relative to it: the JSON library may be off by one unit in the last
/// place of a number, here and where the log is read.
const LAST_PLACES: f64 = 4.0 * f64::EPSILON;

/// The first difference, if any.
pub(crate) fn judge(observer: &Observer<'_>, statistics: &FileStatistics) -> Option<Difference> {
    observer.watched().iter().find_map(|watched| column(watched, statistics))
}

fn column(watched: &Watched<'_>, statistics: &FileStatistics) -> Option<Difference> {
    let Watched { told, seen, .. } = watched;
    let differs =
        |what, told: String, found: String| Some(Difference { column: watched.name.clone(), what, told, found });
    if let Some(nulls) = told.nulls.filter(|nulls| !nulls_agree(*nulls, seen, statistics)) {
        return differs("NULLs", nulls.to_string(), seen.nulls.to_string());
    }
    if seen.unordered || seen.rows == 0 {
        return None;
    }
    let shown = |value: &Option<Observed>| value.as_ref().map_or("no value".to_owned(), show);
    let ends =
        [("least value", &told.least, &seen.least, End::Least), ("greatest value", &told.most, &seen.most, End::Most)];
    ends.into_iter().find_map(|(what, bound, found, end)| {
        let text = bound.as_ref()?;
        let agrees = match found {
            Some(value) => holds(text, value, end, statistics.tight).unwrap_or(true),
            None => !statistics.tight || !has_value(told, seen),
        };
        if agrees { None } else { differs(what, text.clone(), shown(found)) }
    })
}

/// Whether the log says that there is a value, although only NULLs were read.
fn has_value(told: &ColumnStatistics, seen: &Seen) -> bool {
    told.nulls.is_none_or(|nulls| nulls < seen.rows)
}

fn nulls_agree(told: u64, seen: &Seen, statistics: &FileStatistics) -> bool {
    if statistics.tight {
        return told == seen.nulls;
    }
    // Rows were deleted since: only "no NULL" and "all NULL" still say something.
    match told {
        0 => seen.nulls == 0,
        all if Some(all) == statistics.rows => seen.nulls == seen.rows,
        _ => true,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Least,
    Most,
}

/// Whether a bound holds for the least or greatest value that was read. None if the two cannot be compared.
pub(super) fn holds(bound: &str, found: &Observed, end: End, tight: bool) -> Option<bool> {
    let bound: Value = serde_json::from_str(bound).ok()?;
    if let (Observed::Text(text), Value::String(bound)) = (found, &bound) {
        return Some(text_holds(bound, text, end, tight));
    }
    // The order of value and bound; equal if they differ only in what writers may leave out.
    let order = match (found, &bound) {
        (Observed::Integer(value), Value::Number(number)) => match number.as_i64() {
            Some(bound) => value.cmp(&bound),
            None => near(*value as f64, number.as_f64()?)?,
        },
        (Observed::Double(value), Value::Number(number)) => {
            let bound = number.as_f64()?;
            // If the column was FLOAT when the bound was written, the bound has the float's digits.
            if f64::from(bound as f32) == *value { Ordering::Equal } else { within(*value, bound, LAST_PLACES)? }
        }
        (Observed::Float(value), Value::Number(number)) => {
            let bound = number.as_f64()?;
            // The bound may be written with the digits of the float, or of the double that equals it.
            if f64::from(*value) == bound { Ordering::Equal } else { value.partial_cmp(&(bound as f32))? }
        }
        (Observed::Decimal(value, scale), Value::Number(number)) => {
            near(*value as f64 / 10_f64.powi((*scale).into()), number.as_f64()?)?
        }
        (Observed::Decimal(value, scale), Value::String(text)) => {
            near(*value as f64 / 10_f64.powi((*scale).into()), text.parse().ok()?)?
        }
        (Observed::Date(days), Value::String(text)) => {
            let date: Date = text.get(..10).filter(|_| text.len() == 10)?.parse().ok()?;
            i64::from(*days)
                .cmp(&(date.to_datetime(jiff::civil::Time::midnight()).duration_since(EPOCH).as_hours() / 24))
        }
        (Observed::Time(micros, instant), Value::String(text)) => {
            let bound = time(text, *instant)?;
            let tolerance = if text.ends_with('Z') || bound >= WHOLE_OFFSETS { TIME_TOLERANCE } else { ODD_OFFSETS };
            if micros.abs_diff(bound) <= tolerance.unsigned_abs() { Ordering::Equal } else { micros.cmp(&bound) }
        }
        _ => return None,
    };
    Some(match (tight, end) {
        (true, _) => order == Ordering::Equal,
        (false, End::Least) => order != Ordering::Less,
        (false, End::Most) => order != Ordering::Greater,
    })
}

/// Compares two numbers; equal if they differ only in digits that a double does not have.
fn near(value: f64, bound: f64) -> Option<Ordering> {
    within(value, bound, 1e-9)
}

/// Compares two numbers; equal if they differ by at most this part of the greater one.
fn within(value: f64, bound: f64, part: f64) -> Option<Ordering> {
    let close = (value - bound).abs() <= part * value.abs().max(bound.abs());
    if close { Some(Ordering::Equal) } else { value.partial_cmp(&bound) }
}

/// Microseconds since 1970. None for an instant that is written without a zone, since its meaning is not certain.
pub(super) fn time(text: &str, instant: bool) -> Option<i64> {
    let zone_at = text.get(19..)?.find(['Z', '+', '-']).map_or(text.len(), |at| at + 19);
    let (clock, zone) = text.split_at_checked(zone_at)?;
    let offset = match zone {
        "" if instant => return None,
        "" | "Z" => 0,
        other => {
            let (hours, minutes) = other.get(1..)?.split_once(':')?;
            let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
            if other.starts_with('-') { -minutes } else { minutes }
        }
    };
    let clock: DateTime = clock.parse().ok()?;
    let micros = i64::try_from(clock.duration_since(EPOCH).as_micros()).ok()?;
    Some(micros - offset * 60_000_000)
}

/// Writers may cut the bounds of texts: the least to its beginning, the greatest to its beginning and one more character,
/// which is greater than what was cut off.
fn text_holds(bound: &str, found: &str, end: End, tight: bool) -> bool {
    match (end, tight) {
        (End::Least, true) => found.starts_with(bound),
        (End::Least, false) => found >= bound || found.starts_with(bound),
        (End::Most, true) => found == bound || (is_cut(bound) && begins(found, bound)),
        (End::Most, false) => found <= bound || (is_cut(bound) && begins(found, bound)),
    }
}

/// Whether a greatest text may have been cut: it is as long as writers leave it, or ends with a character that they append.
fn is_cut(bound: &str) -> bool {
    const LEFT: usize = 32;
    // Arrow's writers keep 64 bytes.
    bound.chars().count() >= LEFT
        || bound.len() >= 61
        || bound.ends_with(['\u{7f}', '\u{7fff}', '\u{fffd}', '\u{ffff}', '\u{10ffff}'])
}

/// Whether a text begins as a cut bound does, whatever the writer appended (or made of half a character).
fn begins(found: &str, bound: &str) -> bool {
    let beginning = without_last(bound);
    found.starts_with(bound)
        || found.starts_with(beginning)
        || beginning.strip_suffix('?').is_some_and(|beginning| found.starts_with(beginning))
}

fn without_last(text: &str) -> &str {
    let mut characters = text.chars();
    characters.next_back();
    characters.as_str()
}

fn show(value: &Observed) -> String {
    match value {
        Observed::Integer(value) => value.to_string(),
        Observed::Float(value) => value.to_string(),
        Observed::Double(value) => value.to_string(),
        Observed::Decimal(value, scale) => format!("{value}E-{scale}"),
        Observed::Date(days) => {
            let date = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(i64::from(*days)));
            date.map_or_else(|_| format!("day {days} since 1970"), |date| date.to_string())
        }
        Observed::Time(micros, _) => {
            let at = EPOCH.checked_add(jiff::SignedDuration::from_micros(*micros));
            at.map_or_else(|_| format!("{micros} us since 1970"), |at| at.to_string())
        }
        Observed::Text(text) => format!("{:?}", text.chars().take(64).collect::<String>()),
    }
}
