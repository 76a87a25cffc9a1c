//! Converts timers and their runs.

use mms_proto::scheduler::v1 as pb;
use mms_proto::time::timestamp;
use mms_proto::types::v1::View;
use mms_schedule::Schedule;
use pb::{MissedPolicy, OverlapPolicy};

use super::job::{job_from, or, reason_to, spec_to};
use crate::error::{Result, SchedulerError};
use crate::key::{JobKey, RunKey, TimerKey};
use crate::name;
use crate::record::{Timer, TimerRun, Told};

/// The settings of a timer in a request, with defaults filled in. Reports all violations of schedule and job spec
/// together.
pub fn told_from(timer: pb::Timer) -> Result<Told> {
    let schedule = Schedule::read(&timer.schedule.unwrap_or_default(), "timer.schedule");
    let spec = job_from(timer.job_spec.unwrap_or_default(), "timer.job_spec");
    let (schedule, spec) = match (schedule, spec) {
        (Ok(schedule), Ok(spec)) => (schedule, spec),
        (Err(mut wrong), Err(SchedulerError::Invalid(more))) => {
            wrong.extend(more);
            return Err(SchedulerError::Invalid(wrong));
        }
        (Err(wrong), _) => return Err(SchedulerError::Invalid(wrong)),
        (_, Err(error)) => return Err(error),
    };
    Ok(Told {
        display_name: timer.display_name,
        schedule: schedule.to_string(),
        spec,
        scan_first: timer.scan_first,
        overlap: or("timer.overlap", timer.overlap, OverlapPolicy::Skip)?,
        missed: or("timer.missed", timer.missed, MissedPolicy::RunOnce)?,
    })
}

/// A timer as callers see it; its job spec in view FULL only.
pub fn timer_to(key: &TimerKey, timer: &Timer, view: View) -> pb::Timer {
    let told = &timer.told;
    pb::Timer {
        name: name::timer_name(key),
        uid: timer.uid().to_owned(),
        display_name: told.display_name.clone(),
        etag: timer.revision.to_string(),
        schedule: timer.schedule().map(|schedule| schedule.message()),
        job_spec: (view == View::Full).then(|| spec_to(&told.spec)),
        scan_first: told.scan_first,
        overlap: told.overlap.number(),
        missed: told.missed.number(),
        state: timer.state.number(),
        reason: timer.reason.as_ref().map(reason_to),
        maker: timer.maker.clone(),
        next_time: timestamp(timer.next_time_ms),
        create_time: timestamp(timer.create_time_ms()),
        update_time: timestamp(timer.update_time_ms),
    }
}

/// A run of a timer as callers see it.
pub fn run_to(key: &RunKey, run: &TimerRun) -> pb::TimerRun {
    let job = |id: &str| name::job_name(&JobKey { data_source: key.timer.data_source.clone(), job: id.to_owned() });
    pb::TimerRun {
        name: name::run_name(key),
        uid: run.uid().to_owned(),
        due_time: timestamp(run.due_time_ms()),
        start_time: timestamp(run.start_time_ms()),
        state: run.state().into(),
        reason: run.reason().map(reason_to),
        scan: run.scan().to_owned(),
        job: if run.job().is_empty() { String::new() } else { job(run.job()) },
    }
}
