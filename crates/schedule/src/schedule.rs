//! Computes the times of a schedule. `croner` matches the fields of cron on the wall clock alone; how the clock of a zone maps to
//! moments is decided here.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::{Span, ToSpan};

use crate::error::ScheduleError;
use crate::zone::Zone;

/// The rule that gives the times of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Once a day.
    Daily {
        /// The hour, from 0 to 23.
        hour: u8,
        /// The minute, from 0 to 59.
        minute: u8,
    },
    /// Once an hour.
    Hourly {
        /// The minute, from 0 to 59.
        minute: u8,
    },
    /// The five fields of cron: minute, hour, day of month, month, day of week.
    Cron(String),
}

/// A rule in a time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    rule: Rule,
    zone: Zone,
    cron: Cron,
    fixed: bool,
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.rule == other.rule && self.zone == other.zone
    }
}

/// A clock is never put forward or back by more than a day, as one zone did that moved across the date line; with a margin of 2
/// hours.
const CHANGE_MAX_HOURS: i64 = 26;
const HOUR_MS: i64 = 3_600_000;
/// How many clock changes are searched for the next time of an interval: those of about 50 years. No interval that ever matches
/// takes longer.
const CHANGES_MAX: usize = 100;
/// Where the search begins whether a rule ever matches. The calendar repeats after 400 years.
const FROM: DateTime = DateTime::constant(2000, 1, 1, 0, 0, 0, 0);
const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Schedule {
    /// Validates a rule.
    ///
    /// # Errors
    /// When a number is out of range, the cron expression is invalid, or no date matches the rule.
    pub fn new(rule: Rule, zone: Zone) -> Result<Self, ScheduleError> {
        let text = match &rule {
            Rule::Daily { hour, minute } => {
                if *hour > 23 || *minute > 59 {
                    return Err(ScheduleError::Time(format!("{hour:02}:{minute:02}")));
                }
                format!("{minute} {hour} * * *")
            }
            Rule::Hourly { minute } if *minute > 59 => return Err(ScheduleError::Time(format!(":{minute:02}"))),
            Rule::Hourly { minute } => format!("{minute} * * * *"),
            Rule::Cron(text) => text.clone(),
        };
        let cron = parse(&text)?;
        let schedule = Self { rule, zone, cron, fixed: is_fixed(&text) };
        match schedule.cron.find_next_occurrence(&FROM, true) {
            Ok(_) => Ok(schedule),
            Err(_) => Err(ScheduleError::Never(text)),
        }
    }

    /// The rule that gives the times.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The time zone whose clock the rule is matched with.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The first time after a moment, both in milliseconds since 1970. None after the last year that the calendar supports.
    pub fn next_after(&self, ms: i64) -> Option<i64> {
        if self.fixed { self.next_fixed(ms) } else { self.next_interval(ms) }
    }

    /// The next time of a rule with fixed times of day: each occurs once, in the order of the clock.
    fn next_fixed(&self, ms: i64) -> Option<i64> {
        let changed = self.zone.change_before(ms.saturating_add(1));
        // After a recent change, a time that was delayed by a gap, or the first of two, may be earlier than what the clock shows
        // now.
        let changed = changed.is_some_and(|at| ms.saturating_sub(at) < CHANGE_MAX_HOURS * HOUR_MS);
        let back = if changed { CHANGE_MAX_HOURS.hours() } else { Span::new() };
        let mut civil = self.zone.civil(ms).checked_sub(back).ok()?;
        loop {
            civil = self.cron.find_next_occurrence(&civil, false).ok()?;
            let at = self.zone.shown(civil)?.fixed();
            if at > ms {
                return Some(at);
            }
        }
    }

    /// The next time of an interval: whenever the clock shows it, searched from one clock change to the next.
    fn next_interval(&self, ms: i64) -> Option<i64> {
        let (mut from, mut inclusive) = (ms, false);
        for _ in 0..CHANGES_MAX {
            let civil = self.zone.civil(from);
            let found = self.cron.find_next_occurrence(&civil, inclusive).ok()?;
            let wait = found.duration_since(civil).as_millis();
            let at = from.checked_add(i64::try_from(wait).ok()?)?;
            match self.zone.change_after(from) {
                Some(change) if change <= at => (from, inclusive) = (change, true),
                _ => return Some(at),
            }
        }
        None
    }
}

/// Whether the rule has fixed times of day, and not intervals of minutes or hours (`*`).
fn is_fixed(text: &str) -> bool {
    !text.split_whitespace().take(2).any(|field| field.contains('*'))
}

/// Parses the five standard fields of cron, and rejects extensions that only some programs accept.
fn parse(text: &str) -> Result<Cron, ScheduleError> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let Ok([minute, hour, day, month, weekday]) = <[&str; 5]>::try_from(fields) else {
        return Err(ScheduleError::Fields(text.to_owned()));
    };
    let wrong = |why: String| ScheduleError::Cron { value: text.to_owned(), why };
    let kinds: [(&str, &[&str]); 5] = [(minute, &[]), (hour, &[]), (day, &[]), (month, &MONTHS), (weekday, &DAYS)];
    for (field, names) in kinds {
        let words = field.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let known =
            |word: &str| word.bytes().all(|byte| byte.is_ascii_digit()) || names.contains(&&*word.to_uppercase());
        if let Some(word) = words.into_iter().find(|word| !known(word)) {
            return Err(wrong(format!("{word} in field {field} is no number and no name there")));
        }
        if let Some(sign) = field.chars().find(|c| !c.is_alphanumeric() && !"*,-/".contains(*c)) {
            return Err(wrong(format!("{sign} in field {field} is none of * , - /")));
        }
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(text).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
