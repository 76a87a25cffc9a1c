//! Applies time windows to jobs: whether tasks may be leased now, until when the job waits, and whether running tasks
//! stop when the windows close. Windows themselves are defined in `mms_schedule`. Pure.

use mms_proto::types::v1::Severity;
use mms_proto::{ErrorReason, FindingReason};
use mms_schedule::{AtEnd, Windows};

use crate::record::{Finding, Job, Reason, Unit};

/// Assumed least speed of a task in bytes per second, for judging whether a unit fits into a window.
const BYTES_A_SECOND: i64 = 1 << 20;
const MINUTE_MS: i64 = 60_000;

/// The windows that hold for a job. None if they cannot be read, because this machine no longer knows a time zone; then
/// no task is leased.
fn of(job: &Job) -> Option<Windows> {
    Windows::parse(&job.limits.time_windows).ok()
}

/// Whether tasks of a job may be leased now.
pub fn is_open(job: &Job, now_ms: i64) -> bool {
    job.limits.time_windows.is_empty() || of(job).is_some_and(|windows| windows.is_open(now_ms))
}

/// Whether running tasks of a job are to stop at their next checkpoint because its windows have closed.
pub fn stops_at_checkpoint(job: &Job, now_ms: i64) -> bool {
    let ended = || of(job).and_then(|windows| windows.ended_by(now_ms));
    !job.limits.time_windows.is_empty() && ended() == Some(AtEnd::Checkpoint)
}

/// Returns the reason of a job that waits for its next window; None if a window is open.
pub fn waits(job: &Job, now_ms: i64) -> Option<Reason> {
    if is_open(job, now_ms) {
        return None;
    }
    let text = match of(job) {
        Some(windows) => match windows.next(now_ms) {
            Some((window, at)) => {
                format!("outside its time windows: tasks start again at {}, in {window}", window.zone().show(at))
            }
            None => "outside its time windows, and none of them opens within three weeks".to_owned(),
        },
        None => "its time windows name a time zone that this machine does not know: change the windows".to_owned(),
    };
    Some(Reason::new(ErrorReason::OutsideWindows, text))
}

/// Returns the finding that the largest unit does not fit into any window, if the windows stop running tasks.
pub fn finding(job: &Job, now_ms: i64, units: &[Unit]) -> Option<Finding> {
    let windows = of(job)?;
    let stops = windows.all().iter().any(|window| window.at_end() == AtEnd::Checkpoint);
    let longest = windows.longest(now_ms).filter(|_| stops)?;
    let bytes = units.iter().map(|unit| unit.source_bytes).max()?;
    let needed = bytes / BYTES_A_SECOND * 1000;
    (needed > longest).then(|| Finding {
        severity: Severity::Note.into(),
        reason: FindingReason::WindowTooShort.into(),
        message: format!(
            "its largest target unit has {bytes} bytes, which at 1 MiB a second take {} minutes, and tasks that stop at the end of \
             their window have {} minutes at most: such a unit starts from the beginning in each window",
            needed / MINUTE_MS,
            longest / MINUTE_MS
        ),
        remedy: "have tasks finish at the end of the windows (FINISH), or make one of them longer".to_owned(),
        ..Finding::default()
    })
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
