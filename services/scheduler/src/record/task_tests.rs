//! Events of tasks, in any order.

use mms_store::Store;
use proptest::prelude::*;

use super::*;
use crate::store::schema;

fn at() -> Moment {
    let store = Store::in_memory(schema()).expect("a store of memory");
    Moment { now_ms: 1_000, spread: 0.5, incarnation: store.incarnation() }
}

const STEPS: [Step; 4] = [Step::Schema, Step::Data, Step::Verification, Step::Look];

fn planned(steps: &[Step], blocked: bool) -> Task {
    let plan = TaskPlan { steps: steps.iter().map(|step| (*step).into()).collect(), ..TaskPlan::default() };
    Task::new(plan, vec![Unit::default(); 2], blocked)
}

fn lease() -> TaskEvent {
    TaskEvent::Leased(Holder { worker: "a".to_owned(), instance: "a-1".to_owned() })
}

fn done(step: Step) -> TaskEvent {
    TaskEvent::StepDone {
        step,
        rows: 7,
        bytes: 70,
        verification: None,
        generation: (step == Step::Schema).then_some(1),
    }
}

fn failed(step: Step, permanent: bool) -> TaskEvent {
    let reason = Reason::new(ErrorReason::TargetFailed, "it broke");
    TaskEvent::StepFailed { step, permanent, compared: false, max_attempts: 3, reason, verification: None }
}

fn any_event() -> impl Strategy<Value = TaskEvent> {
    let step = || proptest::sample::select(STEPS.to_vec());
    let end = [LeaseEnd::Expired, LeaseEnd::Released, LeaseEnd::Restarted, LeaseEnd::Stopped, LeaseEnd::Waits];
    prop_oneof![
        5 => Just(lease()),
        2 => proptest::sample::select(end.to_vec()).prop_map(TaskEvent::LeaseEnded),
        1 => Just(TaskEvent::CheckpointKept(vec![1])),
        3 => step().prop_map(TaskEvent::StepBegun),
        5 => step().prop_map(done),
        2 => (step(), any::<bool>()).prop_map(|(step, permanent)| failed(step, permanent)),
        2 => (0..3_usize).prop_map(|index| TaskEvent::UnitPublished { generation: 1, index, rows: 7, bytes: 70 }),
        1 => proptest::collection::vec(0..3_usize, 0..3).prop_map(TaskEvent::UnitsLost),
        1 => any::<bool>().prop_map(|blocked| TaskEvent::TargetLost { blocked }),
        2 => Just(TaskEvent::TableMade),
        1 => Just(TaskEvent::TableFailed(None)),
        2 => Just(TaskEvent::Retried),
        1 => Just(TaskEvent::JobStopped),
    ]
}

proptest! {
    /// In any order of events: a rejected event changes nothing, no task that has ended or waits for its table is
    /// leased, each lease has a greater epoch than all before it, and only reports of its holder advance a task.
    #[test]
    fn no_order_of_events_breaks_a_rule(
        steps in proptest::sample::subsequence(STEPS.to_vec(), 1..=4),
        blocked: bool,
        events in proptest::collection::vec(any_event(), 0..80),
    ) {
        let at = at();
        let mut task = planned(&steps, blocked);
        for event in events {
            let (before, said) = (task.clone(), format!("{event:?}"));
            let leases = matches!(event, TaskEvent::Leased(_));
            let works = matches!(event, TaskEvent::StepBegun(_) | TaskEvent::StepDone { .. });
            let taken = task.apply(&at, event).is_ok();
            prop_assert!(taken || task == before, "{}", said);
            let ended = task.state.is_failed() || task.state == TaskState::Done;
            prop_assert!(!task.leased() || (!ended && !task.blocked), "{:?} after {}", task, said);
            prop_assert_eq!(task.epoch > before.epoch, taken && leases, "{}", said);
            prop_assert!(task.epoch >= before.epoch && task.attempt >= before.attempt);
            prop_assert!(!(taken && works) || before.leased(), "{}", said);
            if task.state == TaskState::Done && before.state != TaskState::Done {
                prop_assert!(works && before.next_step() == steps.last().copied(), "{:?} after {}", before, said);
            }
            // A task that can be leased has a step to do.
            prop_assert!(!task.is_ready() || task.next_step().is_some(), "{:?} after {}", task, said);
        }
    }
}

#[test]
fn a_failure_lets_go_what_did_not_stand_it() {
    let at = at();
    let to = |step: Step| {
        let mut task = planned(&STEPS, false);
        task.apply(&at, lease()).expect("ready");
        for done_before in STEPS.into_iter().filter(|one| *one < step) {
            task.apply(&at, done(done_before)).expect("in turn");
        }
        task.apply(&at, TaskEvent::UnitPublished { generation: 1, index: 0, rows: 7, bytes: 70 }).expect("a unit");
        task
    };
    for (step, permanent, state, published) in [
        (Step::Data, false, TaskState::SchemaDone, true),
        (Step::Data, true, TaskState::DataFailed, true),
        (Step::Schema, false, TaskState::Init, false),
        (Step::Verification, false, TaskState::DataDone, true),
    ] {
        let mut task = to(step.max(Step::Data));
        task.apply(&at, failed(step, permanent)).expect("held");
        assert_eq!((*task.state, task.units[0].published, task.leased()), (state, published, false), "{step:?}");
        assert_eq!(task.retry_time_ms > at.now_ms, !permanent, "{step:?}");
    }
}

#[test]
fn units_that_were_at_the_target_count_in_its_generation_only() {
    let at = at();
    let unit =
        |at_target| Unit { at_target, published: at_target, source_rows: Some(5), source_bytes: 9, ..Unit::default() };
    let make = || {
        let plan = TaskPlan { steps: STEPS.map(Into::into).into(), makes_table: true, ..TaskPlan::default() };
        Task::new(plan, vec![unit(true), unit(false)], false).in_generation(4)
    };
    let schema = |generation| TaskEvent::StepDone {
        step: Step::Schema,
        rows: 0,
        bytes: 0,
        verification: None,
        generation: Some(generation),
    };
    let task = make();
    assert_eq!((task.rows_total(), task.bytes_total(), task.units[0].rows_at_target()), (Some(5), 9, 5));
    for (generation, stays) in [(4, true), (5, false)] {
        let mut task = make();
        task.apply(&at, lease()).expect("it is free");
        task.apply(&at, schema(generation)).expect("its first step");
        assert_eq!((task.generation, task.units[0].published), (generation, stays));
    }
    // Written after all, it has the rows of that.
    let mut task = make();
    task.apply(&at, TaskEvent::UnitsLost(vec![0])).expect("taken");
    task.apply(&at, TaskEvent::UnitPublished { generation: 4, index: 0, rows: 6, bytes: 9 }).expect("its unit");
    assert_eq!(task.units[0].rows_at_target(), 6);
    assert_eq!(Task::new(TaskPlan::default(), vec![unit(false)], false).in_generation(4).generation, 0);
}
