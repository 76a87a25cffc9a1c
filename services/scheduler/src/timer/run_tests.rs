//! Runs of timers over a store in memory: one job for each scheduled time, whenever the process dies, and the timer's
//! policies.

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::{MissedPolicy, OverlapPolicy, TimerState};
use mms_store::Scope;
use proptest::prelude::*;

use super::*;
use crate::fixture::Fixture;
use crate::job::calls as jobs;
use crate::record::{JobEvent, Spec, Told};
use crate::timer::calls;

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

fn key() -> TimerKey {
    TimerKey { data_source: "lake".to_owned(), timer: "hourly".to_owned() }
}

fn told(overlap: OverlapPolicy, missed: MissedPolicy) -> Told {
    let spec = Spec { max_attempts: 3, ..Spec::default() };
    let schedule = "hourly :15 in UTC".to_owned();
    Told {
        display_name: "hourly".to_owned(),
        schedule,
        spec,
        overlap: overlap.into(),
        missed: missed.into(),
        ..Told::default()
    }
}

/// A store with a timer, one minute after the epoch.
async fn timed(overlap: OverlapPolicy, missed: MissedPolicy) -> Fixture {
    let fixture = Fixture::new(1).await;
    let at = fixture.at();
    let timer = Timer::new("u".to_owned(), &at, told(overlap, missed), "somebody".to_owned());
    fixture.commit(move |tx| calls::create(tx, &key(), timer)).await.expect("stored");
    fixture
}

/// Begins the timer's run if it is due, and makes the job of the run that waits.
async fn look(fixture: &Fixture) {
    let at = fixture.at();
    let uid = uuid::Uuid::now_v7().to_string();
    fixture.commit(move |tx| due(tx, &at, &key(), uid)).await.expect("looked");
    go_on(fixture).await;
}

async fn go_on(fixture: &Fixture) {
    let at = fixture.at();
    let step = move |tx: &mut Tx<'_>| match waiting(tx, &key())? {
        Some((_, _, run)) => make(tx, &at, &key(), run.uid(), &uuid::Uuid::now_v7().to_string()),
        None => Ok(false),
    };
    fixture.commit(step).await.expect("gone on");
}

/// All runs, oldest first: when each was due, its state, its reason and its job.
fn runs(fixture: &Fixture) -> Vec<(i64, TimerRunState, Option<ErrorReason>, String)> {
    let page =
        fixture.store.read(|read| read.page(&TIMER_RUNS, &Scope::prefix(&key()), None, 1_000)).expect("readable");
    let told = |run: TimerRun| {
        let reason = run.reason().map(|reason| *reason.reason);
        (run.due_time_ms() / MINUTE_MS, run.state(), reason, run.job().to_owned())
    };
    page.items.into_iter().map(|(_, run)| told(run)).collect()
}

fn made(fixture: &Fixture) -> Vec<Job> {
    let all = fixture.store.read(|read| read.page(&JOBS, &Scope::all(), None, 1_000)).expect("readable");
    all.items.into_iter().map(|(_, job)| job).filter(|job| job.asked().timer == "hourly").collect()
}

/// Ends the job that the timer made last.
async fn end_last(fixture: &Fixture) {
    let at = fixture.at();
    let end = move |tx: &mut Tx<'_>| {
        let job = JobKey { data_source: "lake".to_owned(), job: find(tx, &key())?.last_job.clone() };
        jobs::stop(tx, &at, &job, None)?;
        let stored = crate::job::stored::find(tx, &job)?;
        crate::job::stored::change(tx, &at, &job, stored, JobEvent::Stopped)
    };
    fixture.commit(end).await.expect("it ends");
}

#[tokio::test]
async fn each_moment_makes_one_job_of_the_template() {
    let mut fixture = timed(OverlapPolicy::Skip, MissedPolicy::RunOnce).await;
    look(&fixture).await;
    assert!(runs(&fixture).is_empty(), "not yet");
    for hour in 0..3 {
        fixture.pass(if hour == 0 { 15 * MINUTE_MS } else { HOUR_MS });
        look(&fixture).await;
        look(&fixture).await;
        assert_eq!(made(&fixture).len(), hour + 1);
        end_last(&fixture).await;
    }
    let all = runs(&fixture);
    assert_eq!(all.iter().map(|(due, ..)| *due).collect::<Vec<_>>(), [15, 75, 135]);
    assert!(
        all.iter().all(|(_, state, reason, job)| {
            *state == TimerRunState::Done && reason.is_none() && job.starts_with('j')
        })
    );
    let job = &made(&fixture)[0];
    assert_eq!((job.asked().creator.as_str(), job.spec().max_attempts), ("somebody", 3));
}

#[tokio::test]
async fn a_job_that_lives_has_the_next_run_skipped_or_wait() {
    let mut skips = timed(OverlapPolicy::Skip, MissedPolicy::RunOnce).await;
    let mut queues = timed(OverlapPolicy::Queue, MissedPolicy::RunOnce).await;
    for fixture in [&mut skips, &mut queues] {
        fixture.pass(15 * MINUTE_MS);
        look(fixture).await;
        for _ in 0..2 {
            fixture.pass(HOUR_MS);
            look(fixture).await;
        }
        assert_eq!(made(fixture).len(), 1);
    }
    let skipped = |run: &(i64, TimerRunState, Option<ErrorReason>, String)| {
        (run.1, run.2) == (TimerRunState::Skipped, Some(ErrorReason::Overlap))
    };
    let all = runs(&skips);
    assert!(skipped(&all[1]) && skipped(&all[2]));
    let all = runs(&queues);
    assert_eq!(all[1].1, TimerRunState::Waiting);
    assert!(skipped(&all[2]), "one waits at most: {all:?}");
    end_last(&queues).await;
    go_on(&queues).await;
    assert_eq!((runs(&queues)[1].1, made(&queues).len()), (TimerRunState::Done, 2));
}

#[tokio::test]
async fn what_was_missed_runs_once_or_is_skipped_and_says_so() {
    for (policy, state, reason, jobs) in [
        (MissedPolicy::RunOnce, TimerRunState::Done, None, 1),
        (MissedPolicy::Skip, TimerRunState::Skipped, Some(ErrorReason::Missed), 0),
    ] {
        let mut fixture = timed(OverlapPolicy::Skip, policy).await;
        fixture.pass(5 * HOUR_MS + 30 * MINUTE_MS);
        look(&fixture).await;
        look(&fixture).await;
        let all = runs(&fixture);
        assert_eq!((all.len(), all[0].0, all[0].1, all[0].2), (1, 5 * 60 + 15, state, reason), "{policy:?}");
        assert_eq!(made(&fixture).len(), jobs);
        // After that the timer continues as usual.
        fixture.pass(45 * MINUTE_MS);
        if jobs > 0 {
            end_last(&fixture).await;
        }
        look(&fixture).await;
        assert_eq!(made(&fixture).len(), jobs + 1, "{policy:?}");
    }
}

#[tokio::test]
async fn somebody_triggers_a_run_of_a_paused_timer() {
    let fixture = timed(OverlapPolicy::Skip, MissedPolicy::RunOnce).await;
    let at = fixture.at();
    fixture
        .commit(move |tx| {
            let mut timer = find(tx, &key())?;
            timer.apply(&at, TimerEvent::Paused)?;
            keep(tx, &key(), timer)
        })
        .await
        .expect("paused");
    fixture.commit(move |tx| trigger(tx, &at, &key(), "run".to_owned())).await.expect("triggered");
    go_on(&fixture).await;
    assert_eq!(runs(&fixture).len(), 1);
    assert_eq!((runs(&fixture)[0].0, made(&fixture).len()), (0, 1));
    let timer = fixture.store.read(|read| find(read, &key())).expect("there");
    assert_eq!((*timer.state, timer.next_time_ms), (TimerState::Paused, 0));
}

#[tokio::test]
async fn a_run_whose_maker_may_no_longer_stops_its_timer() {
    let mut fixture = timed(OverlapPolicy::Skip, MissedPolicy::RunOnce).await;
    fixture.pass(15 * MINUTE_MS);
    let at = fixture.at();
    fixture.commit(move |tx| due(tx, &at, &key(), "run".to_owned())).await.expect("due");
    let scheduler = crate::fixture::scheduler(fixture.store.clone(), || 15 * MINUTE_MS + 1_000);
    // In this fixture nobody has any role.
    crate::timer::clock::carry_on(&scheduler, &key()).await.expect("carried on");
    let timer = fixture.store.read(|read| find(read, &key())).expect("there");
    assert_eq!(*timer.state, TimerState::Stopped);
    let reason = timer.reason.as_ref().expect("it says why");
    assert_eq!(*reason.reason, ErrorReason::MakerRightsGone);
    assert!(reason.message.contains("somebody"), "{}", reason.message);
    assert_eq!((runs(&fixture)[0].1, made(&fixture).len()), (TimerRunState::Failed, 0));
}

#[tokio::test]
async fn only_the_last_thousand_runs_are_kept() {
    let fixture = timed(OverlapPolicy::Skip, MissedPolicy::RunOnce).await;
    for number in 0..RUNS_KEPT + 5 {
        let at = fixture.at();
        fixture.commit(move |tx| trigger(tx, &at, &key(), format!("run{number}"))).await.expect("triggered");
    }
    let scope = Scope::prefix(&key());
    let page = fixture.store.read(|read| read.page(&TIMER_RUNS, &scope, None, 2_000)).expect("readable");
    assert!(page.items.len() as u64 <= RUNS_KEPT && page.next.is_none());
    assert_eq!(page.items.last().map(|(key, _)| key.number), Some(RUNS_KEPT + 5));
    fixture.commit(move |tx| calls::delete(tx, &key(), "")).await.expect("deleted");
    let page = fixture.store.read(|read| read.page(&TIMER_RUNS, &scope, None, 10)).expect("readable");
    assert!(page.items.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// However long the scheduler is down and whenever it dies between two steps, each scheduled time has at most one
    /// run, and each run that says it made a job made one.
    #[test]
    fn one_job_for_each_run_whatever_dies(steps in prop::collection::vec((0i64..130, 0..3), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut fixture = timed(OverlapPolicy::Queue, MissedPolicy::RunOnce).await;
            for (minutes, step) in steps {
                fixture.pass(minutes * MINUTE_MS);
                match step {
                    // The process dies between the two steps, and restarts later.
                    0 => {
                        let (at, uid) = (fixture.at(), uuid::Uuid::now_v7().to_string());
                        fixture.commit(move |tx| due(tx, &at, &key(), uid)).await.expect("looked");
                    }
                    1 => look(&fixture).await,
                    _ => {
                        go_on(&fixture).await;
                        let timer = fixture.store.read(|read| find(read, &key())).expect("there");
                        if fixture.store.read(|read| alive(read, &key(), &timer)).expect("readable").is_some() {
                            end_last(&fixture).await;
                        }
                    }
                }
            }
            let all = runs(&fixture);
            let mut moments: Vec<i64> = all.iter().map(|(due, ..)| *due).collect();
            assert!(moments.iter().all(|due| due % 60 == 15), "{moments:?}");
            moments.dedup();
            assert_eq!(moments.len(), all.len(), "each moment once: {all:?}");
            let done: Vec<&String> = all.iter().filter(|run| run.1 == TimerRunState::Done).map(|run| &run.3).collect();
            let mut jobs: Vec<String> = made(&fixture).into_iter().map(|job| job.asked().display_name.clone()).collect();
            jobs.sort();
            let mut told: Vec<String> = done.into_iter().cloned().collect();
            told.sort();
            assert_eq!(told, jobs, "a run for each job, and a job for each run");
        });
    }
}
