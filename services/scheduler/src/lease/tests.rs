//! Leases, reports and commit intents together, over a store in memory.

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::{CommitOutcome, MigrationContent};
use mms_store::{Read, Tx};
use proptest::prelude::*;

use super::end;
use crate::commit::intent::{self as intents, Answer};
use crate::commit::open;
use crate::fixture::{Fixture, Given, done, failed, holder, intent, job_key, task_key};
use crate::job::calls;
use crate::record::{EXPIRIES_MAX, Epoch, JobState, LeaseEnd, Spec, Step, TaskEvent, TaskState};
use crate::report::take::Said;
use crate::store::TASKS;

#[tokio::test]
async fn other_tasks_of_a_table_wait_for_the_one_that_makes_it() {
    let fixture = Fixture::new(3).await;
    let first = fixture.lease("a", 10).await;
    assert_eq!(first.len(), 1);
    assert!(fixture.lease("b", 10).await.is_empty());
    assert!(fixture.report(0, "a", first[0].task.epoch, done(Step::Schema)).await);
    assert_eq!(fixture.lease("b", 10).await.len(), 2);
}

#[tokio::test]
async fn jobs_go_by_deadline_then_priority_then_age() {
    let mut fixture = Fixture::new(1).await;
    let jobs =
        [("old", 0, 0), ("young", 0, 0), ("high", 7, 0), ("low", -7, 0), ("late", 0, 9_000), ("soon", -7, 8_000)];
    for (unit, (id, priority, deadline_ms)) in jobs.into_iter().enumerate() {
        fixture.pass(1);
        let spec = Spec { priority, deadline_ms, content: MigrationContent::DataOnly.into(), ..Spec::default() };
        fixture.another(id, Given { spec, ..Given::default() }, unit + 1..unit + 2, "").await;
    }
    let leased = fixture.lease("a", 10).await;
    let order: Vec<_> = leased.iter().map(|granted| granted.key.job.job.as_str()).collect();
    assert_eq!(order, ["soon", "late", "high", "j", "old", "young", "low"]);
}

#[tokio::test]
async fn a_worker_gets_only_what_it_can_do() {
    let fixture = Fixture::new(1).await;
    assert!(fixture.lease("ddl", 10).await.is_empty());
    assert!(fixture.lease("part", 10).await.is_empty(), "its task is no part of a group");
    assert_eq!(fixture.lease("a", 10).await.len(), 1);
}

#[tokio::test]
async fn a_table_that_cannot_be_made_fails_all_its_tasks_and_a_retry_brings_them_back() {
    let fixture = Fixture::new(3).await;
    let first = fixture.lease("a", 10).await;
    assert!(fixture.report(0, "a", first[0].task.epoch, failed(Step::Schema, true)).await);
    let job = fixture.job();
    assert_eq!((*job.state, job.counts.tasks_failed), (JobState::Failed, 3));
    let at = fixture.at();
    fixture.commit(move |tx| calls::retry(tx, &at, &job_key(), false)).await.expect("a failed job");
    fixture.carry(&job_key()).await;
    let job = fixture.job();
    assert_eq!((*job.state, job.counts.tasks_failed), (JobState::Waiting, 0));
    let again = fixture.lease("a", 10).await;
    assert_eq!(again.len(), 1, "the others wait again");
    assert!(again[0].task.planned().makes_table);
}

#[tokio::test]
async fn an_old_epoch_is_fenced() {
    let fixture = Fixture::new(1).await;
    let old = fixture.lease("a", 1).await[0].task.epoch;
    let at = fixture.at();
    assert!(fixture.commit(move |tx| end::end(tx, &at, &task_key(0), old, LeaseEnd::Expired)).await.expect("ends"));
    let new = fixture.lease("b", 1).await[0].task.epoch;
    assert!(new > old);
    assert!(!fixture.report(0, "a", old, done(Step::Schema)).await);
    assert!(!fixture.report(0, "b", old, done(Step::Schema)).await);
    let begun = move |tx: &mut Tx<'_>| intents::begin(tx, &at, &task_key(0), &holder("a"), old, "i1", intent(&[0]));
    assert_eq!(fixture.commit(begun).await.expect("answered"), Answer::Fenced);
    assert!(fixture.report(0, "b", new, done(Step::Schema)).await);
}

#[tokio::test]
async fn a_successor_must_resolve_what_its_predecessor_left_open() {
    let fixture = Fixture::new(1).await;
    let at = fixture.at();
    let first = fixture.lease("a", 1).await[0].task.epoch;
    fixture.report(0, "a", first, done(Step::Schema)).await;
    let begin = move |id: &'static str, who: &'static str, epoch: Epoch| {
        move |tx: &mut Tx<'_>| intents::begin(tx, &at, &task_key(0), &holder(who), epoch, id, intent(&[0]))
    };
    assert_eq!(fixture.commit(begin("i1", "a", first)).await.expect("answered"), Answer::Granted);
    assert_eq!(fixture.commit(begin("i1", "a", first)).await.expect("answered"), Answer::Granted, "asked twice");
    fixture.commit(move |tx| end::end(tx, &at, &task_key(0), first, LeaseEnd::Expired)).await.expect("ends");
    let granted = fixture.lease("b", 1).await.remove(0);
    let second = granted.task.epoch;
    let open = fixture.store.read(|read| open::of_task(read, &granted.key, &granted.task)).expect("readable");
    assert_eq!(open.len(), 1);
    let refused = fixture.commit(begin("i2", "b", second)).await.expect("answered");
    assert!(matches!(refused, Answer::Open(id, _) if id == "i1"));
    let resolve = move |tx: &mut Tx<'_>| {
        intents::resolve(tx, &at, &task_key(0), &holder("b"), second, "i1", CommitOutcome::Committed)
    };
    assert!(fixture.commit(resolve).await.expect("answered"));
    let unit = &fixture.task(0).units[0];
    assert!(unit.published && unit.published_rows == 7);
    assert_eq!(fixture.commit(begin("i2", "b", second)).await.expect("answered"), Answer::Granted);
}

#[tokio::test]
async fn an_intent_names_only_units_of_its_task() {
    let fixture = Fixture::new(2).await;
    let at = fixture.at();
    let epoch = fixture.lease("a", 1).await[0].task.epoch;
    let begin = move |tx: &mut Tx<'_>| intents::begin(tx, &at, &task_key(0), &holder("a"), epoch, "i1", intent(&[1]));
    assert!(fixture.commit(begin).await.is_err());
}

#[tokio::test]
async fn attempts_are_counted_with_pauses_and_then_it_is_over() {
    let mut fixture = Fixture::new(1).await;
    for attempt in 1..=3 {
        let leased = fixture.lease("a", 1).await;
        assert_eq!(leased.len(), 1, "attempt {attempt}");
        assert!(fixture.report(0, "a", leased[0].task.epoch, failed(Step::Schema, false)).await);
        assert!(fixture.lease("a", 1).await.is_empty(), "it waits");
        fixture.pass(10 * 60_000);
    }
    assert_eq!(fixture.task(0).state, TaskState::SchemaFailed);
    assert_eq!(fixture.job().state, JobState::Failed);
}

#[tokio::test]
async fn a_task_whose_leases_keep_running_out_is_given_up() {
    let fixture = Fixture::new(1).await;
    for expiry in 1..=EXPIRIES_MAX {
        let epoch = fixture.lease("a", 1).await[0].task.epoch;
        let at = fixture.at();
        let end = move |tx: &mut Tx<'_>| end::end(tx, &at, &task_key(0), epoch, LeaseEnd::Expired);
        assert!(fixture.commit(end).await.expect("answered"));
        assert_eq!(fixture.task(0).expiries, expiry);
    }
    let task = fixture.task(0);
    assert_eq!(task.state, TaskState::SchemaFailed);
    assert_eq!(task.reason.as_ref().expect("it says why").reason, ErrorReason::LeaseExpired);
    assert!(fixture.lease("a", 1).await.is_empty());
}

#[tokio::test]
async fn a_stopped_job_fences_and_goes_on_where_it_was() {
    let fixture = Fixture::new(1).await;
    let epoch = fixture.lease("a", 1).await[0].task.epoch;
    assert_eq!(fixture.task(0).state, TaskState::SchemaDoing, "the first step begins with the lease");
    fixture.report(0, "a", epoch, done(Step::Schema)).await;
    assert_eq!(fixture.task(0).state, TaskState::DataDoing, "and each other with the end of the one before");
    // A worker that also reports the begin of a step that has begun by itself is accepted.
    assert!(fixture.report(0, "a", epoch, Said::Begun(Step::Data)).await);
    let at = fixture.at();
    fixture.commit(move |tx| calls::stop(tx, &at, &job_key(), None)).await.expect("stops");
    assert_eq!(fixture.job().state, JobState::Stopping);
    fixture.carry(&job_key()).await;
    assert_eq!(fixture.job().state, JobState::Stopped);
    assert!(!fixture.report(0, "a", epoch, done(Step::Data)).await);
    assert!(fixture.lease("a", 1).await.is_empty());
    fixture.commit(move |tx| calls::start(tx, &at, &job_key())).await.expect("starts");
    fixture.carry(&job_key()).await;
    assert_eq!(fixture.task(0).state, TaskState::SchemaDone);
    let again = fixture.lease("a", 1).await.remove(0);
    assert_eq!(again.task.state, TaskState::DataDoing);
}

#[tokio::test]
async fn large_tasks_are_leased_a_few_at_a_time() {
    let fixture = Fixture::new(4).await;
    let at = fixture.at();
    let wide = move |tx: &mut Tx<'_>| {
        for number in 0..4 {
            let mut task = tx.get(&TASKS, &task_key(number))?.expect("planned");
            task.apply(&at, TaskEvent::TableMade)?;
            task.apply(&at, TaskEvent::Leased(holder("b")))?;
            task.apply(&at, TaskEvent::CheckpointKept(vec![0; 4 << 20]))?;
            task.apply(&at, TaskEvent::LeaseEnded(LeaseEnd::Released))?;
            tx.put(&TASKS, &task_key(number), &task)?;
        }
        Ok(())
    };
    fixture.commit(wide).await.expect("stored");
    for _ in 0..4 {
        assert_eq!(fixture.lease("a", 10).await.len(), 1, "an answer with two would be too large");
    }
}

/// One act of a worker or of the clock, in any order.
#[derive(Debug, Clone)]
enum Act {
    Lease(bool),
    Expire(u32),
    Finish(u32, bool),
    Begin(u32, bool),
    Resolve(u32, bool, bool),
}

fn any_act() -> impl Strategy<Value = Act> {
    let task = 0..3_u32;
    prop_oneof![
        any::<bool>().prop_map(Act::Lease),
        task.clone().prop_map(Act::Expire),
        (task.clone(), any::<bool>()).prop_map(|(t, w)| Act::Finish(t, w)),
        (task.clone(), any::<bool>()).prop_map(|(t, w)| Act::Begin(t, w)),
        (task, any::<bool>(), any::<bool>()).prop_map(|(t, w, c)| Act::Resolve(t, w, c)),
    ]
}

/// Plays the acts of two workers that remember every lease they ever had. After each act, only the holder may have
/// changed anything, and a unit has at most one open intent.
async fn play(acts: Vec<Act>) {
    let fixture = Fixture::new(3).await;
    let at = fixture.at();
    let mut leases: Vec<(u32, &'static str, Epoch)> = Vec::new();
    let mut open: [Option<String>; 3] = [None, None, None];
    let name = |first: bool| if first { "a" } else { "b" };
    for (number, act) in acts.into_iter().enumerate() {
        match act {
            Act::Lease(first) => {
                for granted in fixture.lease(name(first), 1).await {
                    leases.push((granted.key.number, name(first), granted.task.epoch));
                }
            }
            Act::Expire(task) => {
                let epoch = fixture.task(task).epoch;
                let end = move |tx: &mut Tx<'_>| end::end(tx, &at, &task_key(task), epoch, LeaseEnd::Expired);
                fixture.commit(end).await.expect("answered");
            }
            Act::Finish(task, first) => {
                for (_, who, epoch) in leases.iter().filter(|(t, w, _)| *t == task && *w == name(first)) {
                    let step = fixture.task(task).next_step();
                    let holds = fixture.task(task).worker() == Some(*who) && fixture.task(task).epoch == *epoch;
                    let before = fixture.task(task);
                    fixture.report(task, who, *epoch, done(step.unwrap_or(Step::Schema))).await;
                    assert!(holds || fixture.task(task) == before, "only the holder changes anything");
                }
            }
            Act::Begin(task, first) => {
                for (_, who, epoch) in leases.iter().filter(|(t, w, _)| *t == task && *w == name(first)) {
                    let (who, epoch, id) = (*who, *epoch, format!("i{number}-{}", epoch.counter));
                    let holds = fixture.task(task).worker() == Some(who) && fixture.task(task).epoch == epoch;
                    let own = id.clone();
                    let begin = move |tx: &mut Tx<'_>| {
                        let units = [usize::try_from(task).expect("small")];
                        let mut wanted = intent(&units);
                        wanted.units[0].unit_index = 0;
                        intents::begin(tx, &at, &task_key(task), &holder(who), epoch, &own, wanted)
                    };
                    let slot = &mut open[usize::try_from(task).expect("small")];
                    match fixture.commit(begin).await.expect("answered") {
                        Answer::Granted => {
                            assert!(holds && slot.is_none(), "one open intent a unit, and only the holder's");
                            *slot = Some(id);
                        }
                        Answer::Open(found, _) => assert_eq!(Some(found), *slot),
                        Answer::Fenced => assert!(!holds),
                    }
                }
            }
            Act::Resolve(task, first, committed) => {
                let Some(id) = open[usize::try_from(task).expect("small")].clone() else { continue };
                let Some((_, who, epoch)) = leases.iter().rfind(|(t, w, _)| *t == task && *w == name(first)) else {
                    continue;
                };
                let (who, epoch) = (*who, *epoch);
                let holds = fixture.task(task).worker() == Some(who) && fixture.task(task).epoch == epoch;
                let outcome = if committed { CommitOutcome::Committed } else { CommitOutcome::Expired };
                let resolve = move |tx: &mut Tx<'_>| {
                    intents::resolve(tx, &at, &task_key(task), &holder(who), epoch, &id, outcome)
                };
                let taken = fixture.commit(resolve).await.expect("answered");
                assert_eq!(taken, holds);
                if taken {
                    open[usize::try_from(task).expect("small")] = None;
                    assert!(!committed || fixture.task(task).units[0].published);
                }
            }
        }
        let job = fixture.job();
        let count = |test: fn(TaskState) -> bool| (0..3).filter(|n| test(*fixture.task(*n).state)).count();
        assert_eq!(usize::try_from(job.counts.tasks_done).expect("small"), count(|s| s == TaskState::Done));
        assert_eq!(
            usize::try_from(job.counts.tasks_running).expect("small"),
            (0..3).filter(|n| fixture.task(*n).leased()).count()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn one_open_intent_a_unit_whatever_happens(acts in proptest::collection::vec(any_act(), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(play(acts));
    }
}
