//! Exposes this service's metrics from counts that are kept in memory. Decides nothing.

use mms_proto::scheduler::v1 as pb;
use mms_server::metrics::real;
use mms_server::{Label, Metric, Metrics};

use crate::error::Result;
use crate::record::{Step, TaskState};
use crate::scheduler::Scheduler;
use crate::store::{INTENTS, JOBS, NOTICES, TASKS};

/// Registers the service's metrics. Fails if the store cannot count its records.
pub async fn follow(metrics: &Metrics, scheduler: &Scheduler) -> Result<()> {
    let store = &scheduler.store;
    metrics.follow_classes(Metric::SchedulerJobs, store.count(&JOBS).await?, jobs());
    metrics.follow_classes(Metric::SchedulerTasks, store.count(&TASKS).await?, tasks());
    let (intents, notices) = (store.count(&INTENTS).await?, store.count(&NOTICES).await?);
    metrics.follow(Metric::SchedulerIntents, move |tell| tell(real(intents.total()), &[]));
    metrics.follow(Metric::SchedulerNotices, move |tell| tell(real(notices.total()), &[]));
    let leases = scheduler.leases.clone();
    metrics.follow(Metric::SchedulerLeases, move |tell| tell(real(leases.held()), &[]));
    let leases = scheduler.leases.clone();
    metrics.follow(Metric::SchedulerExpired, move |tell| tell(real(leases.expired()), &[]));
    Ok(())
}

type Class = (u32, Vec<(Label, &'static str)>);

/// The numbers that states may have in the contract.
fn numbers() -> impl Iterator<Item = i32> {
    1..100
}

fn jobs() -> Vec<Class> {
    let known = numbers().filter_map(|number| pb::JobState::try_from(number).ok());
    let name = |state: pb::JobState| state.as_str_name().trim_start_matches("JOB_STATE_");
    known.map(|state| (state as u32, vec![(Label::State, name(state))])).collect()
}

fn tasks() -> Vec<Class> {
    let known = numbers().filter_map(|number| {
        let step = TaskState::try_from(number).ok()?.step().map_or("NONE", step_name);
        let state = pb::TaskState::try_from(number).ok()?.as_str_name().trim_start_matches("TASK_STATE_");
        Some((number.unsigned_abs(), vec![(Label::State, state), (Label::Step, step)]))
    });
    known.collect()
}

fn step_name(step: Step) -> &'static str {
    match step {
        Step::Schema => "SCHEMA",
        Step::Data => "DATA",
        Step::Verification => "VERIFICATION",
        Step::Look => "LOOK",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_name_and_step() {
        let all = tasks();
        assert_eq!((jobs().len(), all.len()), (9, 14));
        let of = |state: TaskState| all.iter().find(|(class, _)| *class == state as u32).unwrap().1.clone();
        assert_eq!(of(TaskState::DataDoing), [(Label::State, "DATA_DOING"), (Label::Step, "DATA")]);
        assert_eq!(of(TaskState::Done), [(Label::State, "DONE"), (Label::Step, "NONE")]);
        assert_eq!(jobs()[0].1, [(Label::State, "PLANNING")]);
    }
}
