//! What holds tasks back, over a store in memory: bounds of tables and schemas, fair turns, and the circuit breaker.

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::MigrationContent;

use super::{dispatch, lacks};
use crate::fixture::{Fixture, Given, failed, job_key, other_key};
use crate::job::calls;
use crate::key::JobKey;
use crate::record::{BreakerBounds, Concurrency, JobState, Limits, Reason, Spec, SpecChange, Step};

/// A job whose tasks do not wait for a task that makes their table.
fn free(spec: Spec, limits: Limits) -> Given {
    let spec = Spec { content: MigrationContent::DataOnly.into(), ..spec };
    Given { spec, limits, ..Given::default() }
}

fn per_table(tasks: i32) -> Option<Concurrency> {
    Some(Concurrency { per_table: tasks, ..Concurrency::default() })
}

fn waits_for(fixture: &Fixture, key: &JobKey) -> Option<Reason> {
    let job = fixture.job_of(key);
    fixture.store.read(|read| lacks::everywhere(read, fixture.at().now_ms, key, &job)).expect("readable")
}

fn jobs(leased: &[dispatch::Granted]) -> Vec<&str> {
    leased.iter().map(|granted| granted.key.job.job.as_str()).collect()
}

#[tokio::test]
async fn bounds_of_a_table_hold_over_all_jobs_and_those_kept_waiting_say_so() {
    let fixture =
        Fixture::of(9, free(Spec::default(), Limits { source_concurrency: per_table(3), ..Limits::default() })).await;
    let own = Limits { source_concurrency: per_table(3), concurrency: per_table(1), ..Limits::default() };
    fixture.another("own", free(Spec::default(), own), 20..25, "").await;
    let both = fixture.lease("a", 10).await;
    assert_eq!(jobs(&both), ["j", "own", "j"], "three of the table, one of them the other job's");
    let third = Limits { source_concurrency: per_table(3), ..Limits::default() };
    fixture.another("third", free(Spec::default(), third), 30..31, "").await;
    assert!(fixture.lease("a", 10).await.is_empty());
    let said = waits_for(&fixture, &other_key("third")).expect("it waits");
    assert_eq!(said.reason, ErrorReason::ConcurrencyReached);
    assert!(said.message.contains("tables of its tasks"), "{}", said.message);
    assert_eq!(waits_for(&fixture, &job_key()), None, "something of it goes on");
    // An update of the job changes the job's bound only; the source's stays.
    let change = SpecChange { concurrency: Some(None), ..SpecChange::default() };
    let at = fixture.at();
    fixture.commit(move |tx| calls::update(tx, &at, &other_key("own"), "", change)).await.expect("it lives");
    assert_eq!(fixture.job_of(&other_key("own")).limits.concurrency, None);
    assert!(fixture.lease("a", 10).await.is_empty());
}

#[tokio::test]
async fn the_source_s_bound_is_what_a_job_waits_for_too() {
    let limits = || Limits { source_max_concurrent_tasks: 2, ..Limits::default() };
    let fixture = Fixture::of(9, free(Spec::default(), limits())).await;
    fixture.another("late", free(Spec::default(), limits()), 20..21, "").await;
    assert_eq!(fixture.lease("a", 1).await.len() + fixture.lease("a", 1).await.len(), 2);
    fixture.another("none", free(Spec::default(), limits()), 30..31, "").await;
    let said = waits_for(&fixture, &other_key("none")).expect("it waits");
    assert!(said.message.contains("max_concurrent_tasks of its settings"), "{}", said.message);
}

#[tokio::test]
async fn equal_jobs_take_turns_with_one_slot_and_a_greater_priority_goes_before() {
    let mut fixture = Fixture::of(9, free(Spec::default(), Limits::default())).await;
    fixture.another("k", free(Spec::default(), Limits::default()), 20..29, "").await;
    let mut order = Vec::new();
    for turn in 0..6 {
        fixture.pass(1);
        if turn == 4 {
            fixture.another("high", free(Spec { priority: 1, ..Spec::default() }, Limits::default()), 30..31, "").await;
        }
        let granted = fixture.lease("a", 1).await.remove(0);
        order.push(granted.key.job.job.clone());
        let (at, key, epoch) = (fixture.at(), granted.key, granted.task.epoch);
        let given_back =
            move |tx: &mut mms_store::Tx<'_>| super::end::end(tx, &at, &key, epoch, crate::record::LeaseEnd::Released);
        fixture.commit(given_back).await.expect("given back");
    }
    assert_eq!(order, ["j", "k", "j", "k", "high", "high"]);
}

#[tokio::test]
async fn a_job_whose_attempts_fail_is_paused_and_a_start_goes_on_with_it() {
    let breaker = BreakerBounds { burst: 2, burst_ms: 60_000, ..BreakerBounds::NEVER };
    let mut fixture = Fixture::of(3, free(Spec { breaker: Some(breaker), ..Spec::default() }, Limits::default())).await;
    for (number, state) in [(0, JobState::Running), (1, JobState::Paused)] {
        let granted = fixture.lease("a", 1).await.remove(0);
        assert_eq!(granted.key.number, number);
        assert!(fixture.report(number, "a", granted.task.epoch, failed(Step::Data, false)).await);
        assert_eq!(*fixture.job().state, state);
    }
    let why = fixture.job().reason.clone().expect("told");
    assert_eq!(why.reason, ErrorReason::CircuitBroken);
    assert!(why.message.contains("2 attempts failed within"), "{}", why.message);
    fixture.pass(3_600_000);
    assert!(fixture.lease("a", 10).await.is_empty(), "nothing starts");
    let at = fixture.at();
    fixture.commit(move |tx| calls::start(tx, &at, &job_key())).await.expect("it can be started");
    assert!(matches!(fixture.carry(&job_key()).await, crate::job::change::Step::Done(Some(_))));
    assert_eq!((fixture.job().reason.clone(), fixture.lease("a", 10).await.len()), (None, 3));
}
