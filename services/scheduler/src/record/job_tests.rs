//! Events of jobs, in any order.

use mms_store::Store;
use proptest::prelude::*;

use super::*;
use crate::record::{SpecChange, TaskDelta};
use crate::store::schema;

fn at() -> Moment {
    let store = Store::in_memory(schema()).expect("a store of memory");
    Moment { now_ms: 1, spread: 0.5, incarnation: store.incarnation() }
}

fn task(leased: i32, failed: i32, done: i32) -> JobEvent {
    let delta = TaskDelta { is_leased: leased > 0, leased, failed, done, ..TaskDelta::default() };
    JobEvent::TaskChanged { delta, tables_done: 0, tables_failed: 0 }
}

fn table(blocked: bool) -> JobEvent {
    let counts = Counts { tables_planned: 1, ..Counts::default() };
    JobEvent::TablePlanned(match blocked {
        true => Counts { tables_blocked: 1, ..counts },
        false => Counts { tasks_total: 1, ..counts },
    })
}

fn any_event() -> impl Strategy<Value = JobEvent> {
    prop_oneof![
        1 => Just(JobEvent::Unlisted),
        1 => Just(JobEvent::Listed { tables: 1 }),
        1 => Just(JobEvent::ScopeListed(Box::default())),
        1 => Just(JobEvent::LimitsChanged(Box::default())),
        1 => Just(JobEvent::SpecChanged(SpecChange { priority: Some(1), ..SpecChange::default() })),
        1 => any::<bool>().prop_map(table),
        3 => Just(JobEvent::Planned),
        1 => Just(JobEvent::PlanFailed(Reason::default())),
        2 => Just(JobEvent::Approved { approver: "somebody".to_owned() }),
        3 => Just(task(1, 0, 0)),
        2 => Just(task(-1, 0, 1)),
        1 => Just(task(-1, 1, 0)),
        1 => Just(JobEvent::Stop { why: None }),
        1 => Just(JobEvent::Stopped),
        1 => Just(JobEvent::Start),
        1 => proptest::option::of(0..3_u32).prop_map(|task| JobEvent::Retry { task, repin: task.is_none() }),
        1 => Just(JobEvent::Unplanned { blocked: 1, failed: 0 }),
        1 => Just(JobEvent::TasksDropped(Counts { tasks_total: 1, ..Counts::default() })),
        2 => Just(JobEvent::CameBack),
        1 => Just(JobEvent::Refused),
        1 => Just(JobEvent::Delete),
        1 => Just(JobEvent::LogsDropped),
    ]
}

/// A job in state WAITING with one task.
fn waiting(at: &Moment) -> Job {
    let mut job = Job::new(Asked::default());
    let events = [JobEvent::Listed { tables: 1 }, JobEvent::ScopeListed(Box::default()), table(false)];
    for event in events.into_iter().chain([JobEvent::Planned]) {
        job.apply(at, event).expect("in turn");
    }
    assert_eq!(job.state, JobState::Waiting);
    job
}

proptest! {
    /// In any order of events: nothing runs without a complete plan and its approval, a rejected event changes nothing,
    /// and a job that is done or being deleted stays so.
    #[test]
    fn no_order_of_events_breaks_a_rule(review: bool, events in proptest::collection::vec(any_event(), 0..80)) {
        let at = at();
        let mut job = Job::new(Asked { review, ..Asked::default() });
        for event in events {
            let before = job.clone();
            let said = format!("{event:?}");
            if job.apply(&at, event).is_err() {
                prop_assert_eq!(&job, &before, "{}", said);
            }
            prop_assert!(!job.state.dispatches() || (job.is_planned() && job.is_approved()), "{:?} after {}", job, said);
            prop_assert!(before.state != JobState::Done || job.state == JobState::Done, "{}", said);
            prop_assert!(!before.goes_away() || (job.goes_away() && job.state == before.state), "{}", said);
            prop_assert!(!job.comes_back() || job.state.is_ended() || job.state == JobState::Paused, "{:?}", job);
            prop_assert!(job.state != before.state || !job.state.is_live() || job.change().is_none(), "{:?}", job);
        }
    }
}

#[test]
fn a_stop_is_idempotent_and_every_living_job_takes_it() {
    let at = at();
    for state in JobState::ALL {
        let mut job = waiting(&at);
        job.life.state = state.into();
        let taken = job.apply(&at, JobEvent::Stop { why: None });
        assert_eq!(taken.is_ok(), !matches!(state, JobState::Done | JobState::Failed), "{state}");
        assert!(taken.is_err() || matches!(*job.state, JobState::Stopping | JobState::Stopped), "{state}");
    }
}

#[test]
fn a_job_ends_with_its_last_task_and_says_how() {
    let at = at();
    for (ended, state, reason) in
        [(task(-1, 0, 1), JobState::Done, None), (task(-1, 1, 0), JobState::Failed, Some(ErrorReason::TasksFailed))]
    {
        let mut job = waiting(&at);
        job.apply(&at, task(1, 0, 0)).expect("leased");
        assert_eq!(job.state, JobState::Running);
        job.apply(&at, ended).expect("ended");
        assert_eq!((*job.state, job.reason.as_ref().map(|why| *why.reason)), (state, reason));
        assert_eq!((job.start_time_ms, job.end_time_ms), (1, 1));
    }
}

#[test]
fn a_job_whose_tasks_fail_pauses_goes_on_when_started_and_ends_by_itself() {
    let at = at();
    let mut job = waiting(&at);
    job.life.counts.tasks_total = 40;
    job.asked.spec.breaker = Some(BreakerBounds { burst: 3, burst_ms: 1_000, ..BreakerBounds::NEVER });
    let failed = || {
        let delta = TaskDelta { attempt_failed: true, leased: -1, ..TaskDelta::default() };
        JobEvent::TaskChanged { delta, tables_done: 0, tables_failed: 0 }
    };
    for state in [JobState::Running, JobState::Running, JobState::Paused] {
        job.apply(&at, task(1, 0, 0)).expect("leased");
        job.apply(&at, failed()).expect("failed");
        assert_eq!(*job.state, state);
    }
    assert_eq!(job.reason.as_ref().map(|why| *why.reason), Some(ErrorReason::CircuitBroken));
    assert!(!job.dispatches() && job.owns_units());
    job.apply(&at, failed()).expect("what runs may end");
    assert_eq!(job.state, JobState::Paused);
    job.apply(&at, JobEvent::Start).expect("somebody looked");
    job.apply(&at, JobEvent::CameBack).expect("nothing is to be done first");
    assert_eq!((job.state.dispatches(), job.reason.clone()), (true, None));
    job.apply(&at, failed()).expect("failed");
    assert!(job.state.dispatches(), "counted anew");
    job.life.state = JobState::Paused.into();
    job.life.counts.tasks_total = 1;
    job.apply(&at, task(-1, 0, 1)).expect("the last one ends");
    assert_eq!(job.state, JobState::Done);
}

#[test]
fn what_comes_back_unplanned_is_approved_anew() {
    let at = at();
    let mut job = Job::new(Asked { review: true, ..Asked::default() });
    let approved = || JobEvent::Approved { approver: "somebody".to_owned() };
    let plan = [JobEvent::Listed { tables: 2 }, JobEvent::ScopeListed(Box::default()), table(false), table(true)];
    let run = [JobEvent::Planned, approved(), task(1, 0, 0), task(-1, 0, 1)];
    for event in plan.into_iter().chain(run) {
        job.apply(&at, event).expect("in turn");
    }
    assert_eq!(job.state, JobState::Failed, "a table is blocked");
    let retry = JobEvent::Retry { task: None, repin: false };
    for event in [retry, JobEvent::Unplanned { blocked: 1, failed: 0 }, JobEvent::CameBack] {
        job.apply(&at, event).expect("in turn");
    }
    assert_eq!((*job.state, job.is_approved(), job.change()), (JobState::Planning, false, None));
}
