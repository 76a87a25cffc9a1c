//! A time window: hours of the wall clock. It is open whenever that clock shows a time in it. So hours that the clock skips are
//! never open, and hours that it shows twice are open twice.

use jiff::civil::{DateTime, Time, Weekday};
use jiff::{Span, ToSpan};

use crate::error::ScheduleError;
use crate::zone::{Shown, Zone};

/// What happens to running tasks when a window ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum AtEnd {
    /// They finish.
    #[default]
    Finish,
    /// They stop at their next checkpoint.
    Checkpoint,
}

/// A set of days of the week, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days(u8);

impl Days {
    /// All seven days.
    pub const ALL: Self = Self(0x7f);

    /// The days with these numbers, from 1 for Monday to 7 for Sunday. Other numbers are ignored; without any, all days.
    pub fn of(numbers: impl IntoIterator<Item = i8>) -> Self {
        let days = numbers.into_iter().filter(|day| (1..=7).contains(day)).fold(0, |days, day| days | 1 << (day - 1));
        if days == 0 { Self::ALL } else { Self(days) }
    }

    /// The numbers of the days; none when it is all seven.
    pub fn numbers(self) -> impl Iterator<Item = i8> {
        (1..=7).filter(move |day| self != Self::ALL && self.0 & (1 << (day - 1)) != 0)
    }

    fn has(self, day: Weekday) -> bool {
        self.0 & (1 << day.to_monday_zero_offset()) != 0
    }
}

/// Hours in which tasks may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    start: Time,
    end: Time,
    days: Days,
    zone: Zone,
    at_end: AtEnd,
}

/// Days that are searched for the next or last change: three weeks, because a zone once skipped a day, and a clock may skip the
/// hours of another.
const DAYS_MAX: i64 = 23;

fn time(hour: u8, minute: u8) -> Result<Time, ScheduleError> {
    let part = |part: u8| i8::try_from(part).unwrap_or(i8::MAX);
    Time::new(part(hour), part(minute), 0, 0).map_err(|_| ScheduleError::Time(format!("{hour:02}:{minute:02}")))
}

impl Window {
    /// A window from one time of day (hour, minute) to another. It ends on the next day when the end is not after the start;
    /// equal times make a whole day.
    ///
    /// # Errors
    /// When a time is out of range.
    pub fn new(start: (u8, u8), end: (u8, u8), days: Days, zone: Zone, at_end: AtEnd) -> Result<Self, ScheduleError> {
        Ok(Self { start: time(start.0, start.1)?, end: time(end.0, end.1)?, days, zone, at_end })
    }

    /// The start as hour and minute.
    pub fn start(&self) -> (i8, i8) {
        (self.start.hour(), self.start.minute())
    }

    /// The end as hour and minute; exclusive.
    pub fn end(&self) -> (i8, i8) {
        (self.end.hour(), self.end.minute())
    }

    /// The days on which the window starts.
    pub fn days(&self) -> Days {
        self.days
    }

    /// The time zone whose clock counts.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// What happens to running tasks when the window ends.
    pub fn at_end(&self) -> AtEnd {
        self.at_end
    }

    /// Whether it is open at a moment.
    pub fn is_open(&self, ms: i64) -> bool {
        let civil = self.zone.civil(ms);
        let (time, today) = (civil.time(), civil.weekday());
        if self.start < self.end {
            return self.days.has(today) && self.start <= time && time < self.end;
        }
        (self.days.has(today) && self.start <= time) || (self.days.has(today.previous()) && time < self.end)
    }

    /// When it opens next; `ms` itself if it is open. None: not within the days that are searched.
    pub fn opens(&self, ms: i64) -> Option<i64> {
        if self.is_open(ms) { Some(ms) } else { self.change_after(ms, true) }
    }

    /// When it closes next; `ms` itself if it is closed. None: never.
    pub fn closes(&self, ms: i64) -> Option<i64> {
        if self.is_open(ms) { self.change_after(ms, false) } else { Some(ms) }
    }

    /// When it last closed, at or before this moment. None: not within the last three weeks, or never.
    pub fn closed(&self, ms: i64) -> Option<i64> {
        let is_end = |at: &i64| *at <= ms && !self.is_open(*at) && self.is_open(*at - 1);
        let last = |days| self.changes(ms, days).into_iter().rev().find(is_end);
        last(-1..2).or_else(|| last(-DAYS_MAX..-1))
    }

    fn change_after(&self, ms: i64, open: bool) -> Option<i64> {
        let next = |days| self.changes(ms, days).into_iter().find(|at| *at > ms && self.is_open(*at) == open);
        next(-1..2).or_else(|| next(2..DAYS_MAX))
    }

    /// The moments at which it may open or close, in order; `days` counts from the day that the clock shows at `ms`.
    fn changes(&self, ms: i64, days: std::ops::Range<i64>) -> Vec<i64> {
        let today = self.zone.civil(ms).date();
        let on = |day: i64, time: Time| -> Option<DateTime> {
            let days: Span = day.days();
            Some(today.checked_add(days).ok()?.to_datetime(time))
        };
        let mut found = Vec::new();
        for day in days.clone() {
            for shown in [self.start, self.end].into_iter().filter_map(|time| self.zone.shown(on(day, time)?)) {
                match shown {
                    Shown::Once(at) | Shown::Skipped(at) => found.push(at),
                    Shown::Twice(first, second) => found.extend([first, second]),
                }
            }
        }
        // A clock change may also jump into the window or out of it.
        let edge = |day: i64| on(day, Time::midnight()).and_then(|civil| self.zone.shown(civil)).map(Shown::fixed);
        if let (Some(mut at), Some(end)) = (edge(days.start), edge(days.end)) {
            while let Some(change) = self.zone.change_after(at - 1).filter(|change| *change < end) {
                found.push(change);
                at = change + 1;
            }
        }
        found.sort_unstable();
        found
    }
}
