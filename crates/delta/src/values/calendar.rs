//! Owns the calendar that a file's dates and instants are counted in. Spark before 3.0 (and later versions in LEGACY rebase
//! mode) wrote days before 1582-10-15 in the Julian calendar and says so in the footer; such values are converted to the
//! proleptic Gregorian calendar, which everything else uses, by Spark's own rule. Pure. It must never let such a value pass
//! unconverted.

use parquet::file::metadata::KeyValue;

/// Microseconds of a day.
pub(crate) const DAY_MICROS: i64 = 86_400_000_000;
/// 1582-10-15, the first Gregorian day: from here on both calendars agree on days.
const GREGORIAN_DAYS: i32 = -141_427;
/// 1900-01-01T00:00:00Z: from here on both calendars agree on instants in every zone.
const SAME_INSTANT_MICROS: i64 = -2_208_988_800_000_000;
/// The astronomers' Julian day number of 1970-01-01.
const JULIAN_DAY_OF_EPOCH: i64 = 2_440_588;

/// The calendar of a file's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Calendar {
    /// The proleptic Gregorian calendar: values need no conversion.
    Gregorian,
    /// The hybrid calendar (Julian before 1582-10-15); instants by the clocks of this zone.
    Julian(Zone),
    /// Written by a Spark that does not say which. Only values on which both calendars agree can be read.
    Unknown,
}

/// The zone by whose clocks a writer split an instant into day and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Zone {
    /// Always this many seconds ahead of UTC.
    Fixed(i32),
    /// A zone whose offset has changed, or that is not known here.
    Other(String),
}

/// The calendars of one file: that of dates and instants, and that of 96-bit timestamps, which Spark marks separately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Calendars {
    pub(crate) dates: Calendar,
    pub(crate) int96: Calendar,
}

impl Calendars {
    /// Reads the calendars from the footer's keys.
    pub(crate) fn of(keys: Option<&Vec<KeyValue>>) -> Self {
        let keys = keys.map(Vec::as_slice).unwrap_or_default();
        let find = |name: &str| keys.iter().find(|pair| pair.key == name);
        let zone = || match find("org.apache.spark.timeZone").and_then(|pair| pair.value.as_deref()) {
            Some(name) => fixed(name).map_or_else(|| Zone::Other(name.to_owned()), Zone::Fixed),
            None => Zone::Other("an unnamed zone".to_owned()),
        };
        let calendar = |legacy: bool| if legacy { Calendar::Julian(zone()) } else { Calendar::Gregorian };
        let version = find("org.apache.spark.version").and_then(|pair| pair.value.as_deref());
        // Spark 2 before 2.4.? left no version, but always the schema of its rows.
        let old = version.is_none() && find("org.apache.spark.sql.parquet.row.metadata").is_some();
        if old {
            return Self { dates: Calendar::Unknown, int96: Calendar::Unknown };
        }
        let before = |limit: (u32, u32)| version.is_some_and(|text| number(text) < limit);
        Self {
            dates: calendar(before((3, 0)) || find("org.apache.spark.legacyDateTime").is_some()),
            int96: calendar(before((3, 1)) || find("org.apache.spark.legacyINT96").is_some()),
        }
    }
}

/// Major and minor number of a version. A version that cannot be parsed counts as older than all others.
fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split(['.', '-']).map_while(|part| part.parse().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Seconds that a zone is ahead of UTC, if its offset never changed.
fn fixed(name: &str) -> Option<i32> {
    let name = name.trim();
    let offset = match name {
        "UTC" | "GMT" | "Z" | "UT" | "Etc/UTC" | "Etc/GMT" | "Etc/UCT" | "UCT" | "Universal" | "Zulu" | "Greenwich"
        | "Etc/Universal" | "Etc/Zulu" | "Etc/Greenwich" => return Some(0),
        other => other.strip_prefix("UTC").or_else(|| other.strip_prefix("GMT")).unwrap_or(other),
    };
    let (sign, rest) = match offset.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let mut parts = rest.split(':').map(|part| part.parse::<i32>().ok());
    let (hours, minutes, seconds) =
        (parts.next()??, parts.next().unwrap_or(Some(0))?, parts.next().unwrap_or(Some(0))?);
    let fits = (0..=18).contains(&hours) && (0..60).contains(&minutes) && (0..60).contains(&seconds);
    (fits && parts.next().is_none()).then_some(sign * (hours * 3_600 + minutes * 60 + seconds))
}

impl Calendar {
    /// Converts a stored day to a day since 1970-01-01 in the Gregorian calendar.
    pub(crate) fn day(&self, stored: i32) -> Result<i32, String> {
        match self {
            _ if stored >= GREGORIAN_DAYS => Ok(stored),
            Self::Gregorian => Ok(stored),
            Self::Julian(_) => julian_to_gregorian(stored),
            Self::Unknown => Err(format!(
                "day {stored} since 1970 lies before 1582-10-15, and the old Spark that wrote the file does not say by which calendar it counts"
            )),
        }
    }

    /// Converts a stored instant to microseconds since 1970 in UTC.
    pub(crate) fn instant(&self, stored: i64) -> Result<i64, String> {
        match self {
            _ if stored >= SAME_INSTANT_MICROS => Ok(stored),
            Self::Gregorian => Ok(stored),
            Self::Unknown => Err(format!(
                "{stored} us since 1970 lies before 1900, and the old Spark that wrote the file does not say by which calendar it counts"
            )),
            Self::Julian(Zone::Other(zone)) => Err(format!(
                "{stored} us since 1970 lies before 1900 in a file of Spark's legacy calendar by the clocks of {zone}, whose history is not known here"
            )),
            Self::Julian(Zone::Fixed(seconds)) => {
                let beyond = || format!("{stored} us since 1970 is beyond what can be counted");
                let offset = i64::from(*seconds) * 1_000_000;
                let local = stored.checked_add(offset).ok_or_else(beyond)?;
                let day = i32::try_from(local.div_euclid(DAY_MICROS)).map_err(|_| beyond())?;
                let day = i64::from(self.day(day)?);
                let local = day.checked_mul(DAY_MICROS).and_then(|day| day.checked_add(local.rem_euclid(DAY_MICROS)));
                local.and_then(|local| local.checked_sub(offset)).ok_or_else(beyond)
            }
        }
    }
}

/// The day of the same year, month and day in the Gregorian calendar. A 29 February that it does not have becomes 1 March, as
/// in Spark.
fn julian_to_gregorian(days: i32) -> Result<i32, String> {
    let (year, month, day) = julian_date(i64::from(days) + JULIAN_DAY_OF_EPOCH);
    i32::try_from(gregorian_days(year, month, 1) + day - 1)
        .map_err(|_| format!("day {days} is beyond what can be counted"))
}

/// Year, month and day in the Julian calendar of a Julian day number; the year before 1 is 0.
fn julian_date(julian_day: i64) -> (i64, i64, i64) {
    // Richards' algorithm in integers, with floored division, so that it holds on both sides of year 0.
    let f = julian_day + 1_401;
    let e = 4 * f + 3;
    let g = e.rem_euclid(1_461).div_euclid(4);
    let h = 5 * g + 2;
    let day = h.rem_euclid(153).div_euclid(5) + 1;
    let month = (h.div_euclid(153) + 2).rem_euclid(12) + 1;
    let year = e.div_euclid(1_461) - 4_716 + (14 - month).div_euclid(12);
    (year, month, day)
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar.
pub(crate) fn gregorian_days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
#[path = "calendar_tests.rs"]
mod tests;
