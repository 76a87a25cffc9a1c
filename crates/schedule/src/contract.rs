//! Schedules and windows as the contract has them. What is wrong is said with the path of its field.

use mms_proto::FieldViolation;
use mms_proto::types::v1::{self as types, WindowEnd, schedule};

use crate::error::ScheduleError;
use crate::schedule::{Rule, Schedule};
use crate::window::{AtEnd, Days, Window};
use crate::windows::Windows;
use crate::zone::Zone;

/// A number of the contract; one that is out of range stays so.
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
    /// What a request has in a field of this path.
    ///
    /// # Errors
    /// All that is wrong with it: its zone is none, or it never comes.
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
        // What is wrong with the rule is wrong in every zone.
        let judged = Self::new(rule, zone.clone().unwrap_or_default()).map_err(|error| at(below, &error));
        match (judged, zone) {
            (Ok(schedule), Ok(_)) => Ok(schedule),
            (judged, zone) => Err([judged.err(), zone.err()].into_iter().flatten().collect()),
        }
    }

    /// As the contract has it.
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

    /// As the contract has it.
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
    /// What a request has in a list of this path.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
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

    /// As they were kept, one text each.
    ///
    /// # Errors
    /// When a text is none of a window, or the machine no longer has its time zone.
    pub fn parse(texts: &[String]) -> Result<Self, ScheduleError> {
        texts.iter().map(|text| text.parse()).collect::<Result<_, _>>().map(Self::new)
    }

    /// To be kept.
    pub fn texts(&self) -> Vec<String> {
        self.all().iter().map(Window::to_string).collect()
    }
}

#[cfg(test)]
#[path = "contract_tests.rs"]
mod tests;
