//! The errors of schedules and windows. Each text has the wrong value and what is expected.

/// Why a schedule or a window is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The name is not a known time zone.
    #[error("value {0:?} is not an IANA time zone, such as Asia/Shanghai")]
    Zone(String),
    /// A part of a time of day is out of range.
    #[error("value {0:?} is not a time of day, from 00:00 to 23:59")]
    Time(String),
    /// The cron expression does not have five fields.
    #[error("value {0:?} does not have five fields: minute, hour, day of month, month, day of week")]
    Fields(String),
    /// The cron expression has five fields, but one is invalid.
    #[error("value {value:?} is no cron expression: {why}")]
    Cron {
        /// The whole expression.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The schedule is valid, but no date matches it.
    #[error("value {0:?} never comes: no date has that day, month and day of week")]
    Never(String),
    /// The schedule has no rule.
    #[error("is required: set one of daily, hourly, cron")]
    Missing,
    /// The text is not a schedule.
    #[error(
        "{0:?} is no schedule: write \"daily 02:30 in Asia/Shanghai\", \"hourly :15 in UTC\" or \"cron 0 2 * * 1-5 in UTC\""
    )]
    ScheduleText(String),
    /// The text is not a time window.
    #[error(
        "{0:?} is no time window: write \"22:00-06:00 in Asia/Shanghai\" or \"MON,TUE 22:00-06:00 in UTC checkpoint\""
    )]
    WindowText(String),
}
