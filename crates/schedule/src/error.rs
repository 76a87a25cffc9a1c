//! What is wrong with a schedule or a window. Each text says which value it was and what is wanted.

/// What is wrong with a schedule or a window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// No such time zone.
    #[error("value {0:?} is not an IANA time zone, such as Asia/Shanghai")]
    Zone(String),
    /// A part of a time of day is out of range.
    #[error("value {0:?} is not a time of day, from 00:00 to 23:59")]
    Time(String),
    /// Not five fields.
    #[error("value {0:?} does not have five fields: minute, hour, day of month, month, day of week")]
    Fields(String),
    /// Five fields, but not as they must be.
    #[error("value {value:?} is no cron expression: {why}")]
    Cron {
        /// The expression.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// A cron expression that no date is like.
    #[error("value {0:?} never comes: no date has that day, month and day of week")]
    Never(String),
    /// None of the ways to say when.
    #[error("is required: set one of daily, hourly, cron")]
    Missing,
    /// A text that is no schedule.
    #[error(
        "{0:?} is no schedule: write \"daily 02:30 in Asia/Shanghai\", \"hourly :15 in UTC\" or \"cron 0 2 * * 1-5 in UTC\""
    )]
    ScheduleText(String),
    /// A text that is no window.
    #[error(
        "{0:?} is no time window: write \"22:00-06:00 in Asia/Shanghai\" or \"MON,TUE 22:00-06:00 in UTC checkpoint\""
    )]
    WindowText(String),
}
