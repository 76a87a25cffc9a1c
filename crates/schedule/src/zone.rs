//! Time zones: what the wall clock shows at a moment, and when it shows a time. Owns all access to the time zone database; knows
//! no schedules.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::error::ScheduleError;

/// An IANA time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// The moments at which a clock shows a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Once, at this moment.
    Once(i64),
    /// Twice, because the clock is put back.
    Twice(i64, i64),
    /// Never, because the clock is put forward over it at this moment.
    Skipped(i64),
}

impl Shown {
    /// The single moment that a fixed time runs at.
    pub(crate) fn fixed(self) -> i64 {
        match self {
            Self::Once(ms) | Self::Twice(ms, _) | Self::Skipped(ms) => ms,
        }
    }
}

impl Default for Zone {
    /// UTC.
    fn default() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }
}

impl Zone {
    /// The time zone with an IANA name; the empty name is UTC.
    ///
    /// # Errors
    /// When this machine knows no time zone of that name.
    pub fn named(name: &str) -> Result<Self, ScheduleError> {
        if name.is_empty() {
            return Ok(Self::default());
        }
        let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown());
        let zone = zone.ok_or_else(|| ScheduleError::Zone(name.to_owned()))?;
        let name = zone.iana_name().unwrap_or(name).to_owned();
        Ok(Self { name, zone })
    }

    /// The canonical IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A moment in the zone's local time to the minute, followed by the zone's name.
    pub fn show(&self, ms: i64) -> String {
        format!("{} {}", self.civil(ms).strftime("%Y-%m-%d %H:%M"), self.name)
    }

    /// What the clock shows at a moment.
    pub(crate) fn civil(&self, ms: i64) -> DateTime {
        self.zone.to_datetime(stamp(ms))
    }

    /// When the clock shows a time. None beyond the years that the calendar supports.
    pub(crate) fn shown(&self, civil: DateTime) -> Option<Shown> {
        let found = self.zone.to_ambiguous_timestamp(civil);
        let (offset, earlier) = (found.offset(), found.earlier().ok()?);
        Some(match offset {
            AmbiguousOffset::Unambiguous { .. } => Shown::Once(earlier.as_millisecond()),
            AmbiguousOffset::Fold { .. } => {
                Shown::Twice(earlier.as_millisecond(), found.later().ok()?.as_millisecond())
            }
            // With the offset after the gap, the time maps to a moment before the gap, so the next change is the gap itself.
            AmbiguousOffset::Gap { .. } => Shown::Skipped(self.change_after(earlier.as_millisecond())?),
        })
    }

    /// The next moment at which the clock is put forward or back.
    pub(crate) fn change_after(&self, ms: i64) -> Option<i64> {
        self.zone.following(stamp(ms)).next().map(|change| change.timestamp().as_millisecond())
    }

    /// The last moment before `ms` at which the clock was put forward or back.
    pub(crate) fn change_before(&self, ms: i64) -> Option<i64> {
        self.zone.preceding(stamp(ms)).next().map(|change| change.timestamp().as_millisecond())
    }
}

fn stamp(ms: i64) -> Timestamp {
    let end = if ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(ms).unwrap_or(end)
}
