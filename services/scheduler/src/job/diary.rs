//! Logs a job's life: one line when it is made, planned, starts, pauses, stops and ends, with its name, counts, seconds
//! and reason. Decides nothing. A line is written before the disk has the change; a store that cannot store it logs
//! that in a line of its own.

use mms_proto::error::reason_text;

use crate::key::JobKey;
use crate::name;
use crate::record::{Job, JobState};

/// Logs the change of a job from the state `before`, or that it was made if that is None.
pub fn note(key: &JobKey, before: Option<JobState>, job: &Job) {
    let Some(before) = before else {
        let (review, creator) = (job.asked().review, &job.asked().creator);
        return tracing::info!(job = name::job_name(key), creator, review, "the job is made");
    };
    if *job.state == before {
        return;
    }
    let (job_name, text, counts) = (name::job_name(key), text(before, *job.state), &job.counts);
    let (tables, tables_done, rows, bytes) =
        (counts.tables_total, counts.tables_done, counts.rows_done, counts.bytes_done);
    // From its creation to its end; 0 while it runs.
    let seconds = (job.end_time_ms - job.asked().create_time_ms).max(0) / 1_000;
    let reason = job.reason.as_ref().map(|reason| reason_text(*reason.reason)).unwrap_or_default();
    let why = job.reason.as_ref().map(|reason| reason.message.as_str()).unwrap_or_default();
    match *job.state {
        JobState::Failed => {
            let (blocked, tasks_failed) = (counts.tables_blocked, counts.tasks_failed);
            tracing::warn!(
                job = job_name,
                tables,
                tables_done,
                blocked,
                tasks_failed,
                rows,
                bytes,
                seconds,
                reason,
                why,
                "{text}"
            );
        }
        _ if reason.is_empty() => {
            tracing::info!(job = job_name, tables, tables_done, rows, bytes, seconds, "{text}");
        }
        _ => tracing::info!(job = job_name, tables, tables_done, rows, bytes, seconds, reason, why, "{text}"),
    }
}

/// The change of state in words.
fn text(before: JobState, after: JobState) -> &'static str {
    match (before, after) {
        (_, JobState::Planning) => "the job is planned again",
        (_, JobState::PendingReview) => "the job is planned and waits for review",
        (JobState::PendingReview, JobState::Waiting) => "the job is approved; its tasks wait for workers",
        (JobState::Planning, JobState::Waiting) => "the job is planned; its tasks wait for workers",
        (_, JobState::Waiting) => "the job continues; its tasks wait for workers",
        (_, JobState::Running) => "the job runs",
        (_, JobState::Paused) => "the job is paused",
        (_, JobState::Stopping) => "the job is being stopped",
        (_, JobState::Stopped) => "the job is stopped",
        (_, JobState::Done) => "the job is done",
        (_, JobState::Failed) => "the job failed",
    }
}
