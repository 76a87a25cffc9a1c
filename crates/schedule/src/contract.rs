//! Reads and writes the contract's messages of schedules and time windows. Violations name the path of the wrong field, and all
//! are reported at once.

use mms_proto::FieldViolation;
use mms_proto::types::v1::{self as types, WindowEnd, schedule};

use crate::error::ScheduleError;
use crate::schedule::{Rule, Schedule};
use crate::window::{AtEnd, Days, Window};
use crate::windows::Windows;
use crate::zone::Zone;

/// A number of the contract as u8. A number out of the range of u8 becomes 255, which every field rejects.
fn part(number: i32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

fn time(time: Option<types::TimeOfDay>) -> (u8, u8) {
    let time = time.unwrap_or_default();
    (part(time.hour), part(time.minute))
}

fn time_to((hour, minute): (i8, i8)) -> Option<types::TimeOfDay> {
    Some(types::TimeOfDay { hour: hour.into(), minute: minute.into() })
}

impl Schedule {
    /// Reads the schedule of a request; `field` is its path.
    ///
    /// # Errors
    /// All violations: an unknown time zone, a missing or invalid rule, or a schedule that no date matches.
    pub fn read(message: &types::Schedule, field: &str) -> Result<Self, Vec<FieldViolation>> {
        use schedule::Schedule as Kind;
        let at =
            |below: &str, error: &ScheduleError| FieldViolation::new(format!("{field}.{below}"), error.to_string());
        let zone = Zone::named(&message.time_zone).map_err(|error| at("time_zone", &error));
        let (rule, below) = match &message.schedule {
            Some(Kind::Daily(daily)) => {
                let (hour, minute) = time(daily.time);
                (Rule::Daily { hour, minute }, "daily.time")
            }
            Some(Kind::Hourly(hourly)) => (Rule::Hourly { minute: part(hourly.minute) }, "hourly.minute"),
            Some(Kind::Cron(cron)) => (Rule::Cron(cron.expression.clone()), "cron.expression"),
            None => {
                let missing = at("schedule", &ScheduleError::Missing);
                return Err([Some(missing), zone.err()].into_iter().flatten().collect());
            }
        };
        // Judge the rule in any zone, so that violations of both are reported.
        let judged = Self::new(rule, zone.clone().unwrap_or_default()).map_err(|error| at(below, &error));
        match (judged, zone) {
            (Ok(schedule), Ok(_)) => Ok(schedule),
            (judged, zone) => Err([judged.err(), zone.err()].into_iter().flatten().collect()),
        }
    }

    /// The contract's message of the schedule.
    pub fn message(&self) -> types::Schedule {
        use schedule::Schedule as Kind;
        let kind = match self.rule() {
            Rule::Daily { hour, minute } => {
                let time = types::TimeOfDay { hour: (*hour).into(), minute: (*minute).into() };
                Kind::Daily(types::Daily { time: Some(time) })
            }
            Rule::Hourly { minute } => Kind::Hourly(types::Hourly { minute: (*minute).into() }),
            Rule::Cron(text) => Kind::Cron(types::Cron { expression: text.clone() }),
        };
        types::Schedule { schedule: Some(kind), time_zone: self.zone().name().to_owned() }
    }
}

impl Window {
    fn read(message: &types::TimeWindow, field: &str) -> Result<Self, FieldViolation> {
        let at =
            |below: &str, error: &ScheduleError| FieldViolation::new(format!("{field}.{below}"), error.to_string());
        let zone = Zone::named(&message.time_zone).map_err(|error| at("time_zone", &error))?;
        let days = Days::of(message.days.iter().filter_map(|day| i8::try_from(*day).ok()));
        let at_end = match message.at_end() {
            WindowEnd::Checkpoint => AtEnd::Checkpoint,
            WindowEnd::Finish | WindowEnd::Unspecified => AtEnd::Finish,
        };
        let below = if time(message.start).0 > 23 || time(message.start).1 > 59 { "start" } else { "end" };
        Self::new(time(message.start), time(message.end), days, zone, at_end).map_err(|error| at(below, &error))
    }

    /// The contract's message of the window.
    pub fn message(&self) -> types::TimeWindow {
        let at_end = match self.at_end() {
            AtEnd::Finish => WindowEnd::Finish,
            AtEnd::Checkpoint => WindowEnd::Checkpoint,
        };
        types::TimeWindow {
            start: time_to(self.start()),
            end: time_to(self.end()),
            days: self.days().numbers().map(i32::from).collect(),
            time_zone: self.zone().name().to_owned(),
            at_end: at_end.into(),
        }
    }
}

impl Windows {
    /// Reads the list of windows of a request; `field` is its path.
    ///
    /// # Errors
    /// All violations of all windows.
    pub fn read(messages: &[types::TimeWindow], field: &str) -> Result<Self, Vec<FieldViolation>> {
        let (mut windows, mut wrong) = (Vec::new(), Vec::new());
        for (at, message) in messages.iter().enumerate() {
            match Window::read(message, &format!("{field}[{at}]")) {
                Ok(window) => windows.push(window),
                Err(violation) => wrong.push(violation),
            }
        }
        if wrong.is_empty() { Ok(Self::new(windows)) } else { Err(wrong) }
    }

    /// Reads the stored form of the windows, one text each.
    ///
    /// # Errors
    /// When a text is not a window, or when this machine does not know its time zone.
    pub fn parse(texts: &[String]) -> Result<Self, ScheduleError> {
        texts.iter().map(|text| text.parse()).collect::<Result<_, _>>().map(Self::new)
    }

    /// The stored form of the windows, one text each.
    pub fn texts(&self) -> Vec<String> {
        self.all().iter().map(Window::to_string).collect()
    }
}

#[cfg(test)]
#[path = "contract_tests.rs"]
mod tests;
