//! Reads and writes schedules and windows as one line of text, which is their stored form and how people write them:
//! `daily 02:30 in Asia/Shanghai`, `hourly :15 in UTC`, `cron 0 2 * * 1-5 in UTC`, `MON,TUE 22:00-06:00 in UTC checkpoint`.

use std::fmt;
use std::str::FromStr;

use crate::error::ScheduleError;
use crate::schedule::{Rule, Schedule};
use crate::window::{AtEnd, Days, Window};
use crate::zone::Zone;

const DAYS: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

fn time(text: &str) -> Result<(u8, u8), ScheduleError> {
    let number = |text: &str, max: u8| {
        let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && *number <= max)
    };
    let parts = text.split_once(':').and_then(|(hour, minute)| Some((number(hour, 23)?, number(minute, 59)?)));
    parts.ok_or_else(|| ScheduleError::Time(text.to_owned()))
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule() {
            Rule::Daily { hour, minute } => write!(f, "daily {hour:02}:{minute:02}")?,
            Rule::Hourly { minute } => write!(f, "hourly :{minute:02}")?,
            Rule::Cron(text) => write!(f, "cron {text}")?,
        }
        write!(f, " in {}", self.zone().name())
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let (rule, zone) = text.rsplit_once(" in ").unwrap_or((text, ""));
        let none = || ScheduleError::ScheduleText(text.to_owned());
        let (kind, when) = rule.trim().split_once(' ').ok_or_else(none)?;
        let when = when.trim();
        let rule = match kind {
            "daily" => time(when).map(|(hour, minute)| Rule::Daily { hour, minute })?,
            "hourly" => {
                let (_, minute) = time(&format!("0:{}", when.trim_start_matches(':')))?;
                Rule::Hourly { minute }
            }
            "cron" => Rule::Cron(when.to_owned()),
            _ => return Err(none()),
        };
        Self::new(rule, Zone::named(zone.trim())?)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<&str> =
            self.days().numbers().filter_map(|day| DAYS.get(usize::try_from(day - 1).ok()?)).copied().collect();
        if !days.is_empty() {
            write!(f, "{} ", days.join(","))?;
        }
        let (start, end) = (self.start(), self.end());
        write!(f, "{:02}:{:02}-{:02}:{:02} in {}", start.0, start.1, end.0, end.1, self.zone().name())?;
        if self.at_end() == AtEnd::Checkpoint { f.write_str(" checkpoint") } else { Ok(()) }
    }
}

impl FromStr for Window {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let none = || ScheduleError::WindowText(text.to_owned());
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let at_end = if words.last() == Some(&"checkpoint") { AtEnd::Checkpoint } else { AtEnd::Finish };
        if at_end == AtEnd::Checkpoint {
            words.pop();
        }
        let zone = match words[..] {
            [.., "in", zone] => zone,
            _ => "",
        };
        if !zone.is_empty() {
            words.truncate(words.len() - 2);
        }
        let (days, hours) = match words[..] {
            [hours] => (Days::ALL, hours),
            [days, hours] => {
                let number = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
                let days: Option<Vec<usize>> = days.split(',').map(number).collect();
                let numbers = days.ok_or_else(none)?.into_iter().filter_map(|day| i8::try_from(day + 1).ok());
                (Days::of(numbers), hours)
            }
            _ => return Err(none()),
        };
        let (start, end) = hours.split_once('-').ok_or_else(none)?;
        Self::new(time(start)?, time(end)?, days, Zone::named(zone)?, at_end)
    }
}
