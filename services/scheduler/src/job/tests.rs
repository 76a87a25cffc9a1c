//! Calls that change jobs, and what follows for their tasks, targets and notices, over a store in memory.

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::{DecisionReason, MigrationContent, OlderVersion, TableDecision};
use mms_proto::types::v1::{MigrationState, TargetPolicy};
use mms_store::{Read, Scope, Tx};

use super::calls;
use super::change::{self, Cursor, Step as Piece};
use super::stored;
use crate::commit::intent::{self as intents, Answer};
use crate::error::SchedulerError;
use crate::fixture::{
    Fixture, Given, done, failed, holder, intent, job_key, other_key, plan_table, table_key, target, task_key,
};
use crate::key::JobKey;
use crate::record::{Job, JobState, JobTable, Limits, Lineage, Notice, Spec, Step, Task, TaskState, Version};
use crate::store::{JOB_TABLES, LINEAGE, LOGS, MANIFESTS, TABLE_CLAIMS, TASKS, UNITS};

fn state(job: &Job) -> JobState {
    *job.state
}

fn told(notices: &[Notice]) -> Vec<(String, MigrationState)> {
    let task = |notice: &Notice| notice.task.rsplit('/').next().unwrap_or_default().to_owned();
    notices.iter().map(|notice| (task(notice), *notice.state)).collect()
}

fn with_policy(policy: TargetPolicy) -> Given {
    Given { spec: Spec { target_policy: policy.into(), ..Spec::default() }, ..Given::default() }
}

async fn stop(fixture: &Fixture, key: &JobKey) {
    let (at, own) = (fixture.at(), key.clone());
    fixture.commit(move |tx| calls::stop(tx, &at, &own, None)).await.expect("it can be stopped");
    fixture.carry(key).await;
    assert_eq!(state(&fixture.job_of(key)), JobState::Stopped);
}

async fn start(fixture: &Fixture, key: &JobKey) -> Piece {
    let (at, own) = (fixture.at(), key.clone());
    fixture.commit(move |tx| calls::start(tx, &at, &own)).await.expect("it is stopped");
    fixture.carry(key).await
}

fn table(fixture: &Fixture, key: &JobKey) -> JobTable {
    fixture.store.read(|read| read.get(&JOB_TABLES, &table_key(key))).expect("readable").expect("there")
}

#[tokio::test]
async fn a_stopped_job_takes_back_what_it_said_of_tasks_at_work() {
    let fixture = Fixture::new(3).await;
    let first = fixture.lease("a", 1).await.remove(0).task.epoch;
    fixture.report(0, "a", first, done(Step::Schema)).await;
    let second = fixture.lease("b", 1).await.remove(0);
    assert_eq!(second.key, task_key(1));
    stop(&fixture, &job_key()).await;
    assert!(!fixture.report(0, "a", first, done(Step::Data)).await, "fenced");
    let doing = MigrationState::Doing;
    let all =
        [("t000000", doing), ("t000001", doing), ("t000000", MigrationState::Init), ("t000001", MigrationState::Init)];
    assert_eq!(told(&fixture.notices()), all.map(|(task, state)| (task.to_owned(), state)));
    assert!(matches!(start(&fixture, &job_key()).await, Piece::Done(_)));
    assert_eq!(fixture.lease("a", 1).await[0].task.steps()[1], Step::Data);
    assert_eq!(told(&fixture.notices()[4..]), [("t000000".to_owned(), doing)]);
}

#[tokio::test]
async fn a_task_that_waits_to_be_tried_again_is_taken_back_too() {
    let fixture = Fixture::new(1).await;
    let epoch = fixture.lease("a", 1).await[0].task.epoch;
    fixture.report(0, "a", epoch, failed(Step::Schema, false)).await;
    stop(&fixture, &job_key()).await;
    assert_eq!(told(&fixture.notices()).pop().expect("told").1, MigrationState::Init);
}

#[tokio::test]
async fn a_stop_and_a_start_approve_nothing() {
    let fixture = Fixture::new(1).await;
    fixture.another("r", Given { review: true, ..Given::default() }, 5..6, "").await;
    let key = other_key("r");
    assert_eq!(state(&fixture.job_of(&key)), JobState::PendingReview);
    stop(&fixture, &key).await;
    start(&fixture, &key).await;
    assert_eq!(state(&fixture.job_of(&key)), JobState::PendingReview);
    let (at, own) = (fixture.at(), key.clone());
    let etag = fixture.job_of(&key).revision.to_string();
    let approval = calls::Approval { etag, accept_blocked: false, approver: "somebody".to_owned() };
    fixture.commit(move |tx| calls::approve(tx, &at, &own, approval)).await.expect("it waits for that");
    stop(&fixture, &key).await;
    start(&fixture, &key).await;
    assert_eq!(state(&fixture.job_of(&key)), JobState::Waiting);
}

#[tokio::test]
async fn units_that_another_job_may_have_written_are_moved_again() {
    let fixture = Fixture::new(2).await;
    assert_eq!(fixture.finish_one("a").await, task_key(0));
    stop(&fixture, &job_key()).await;
    // The worker of the other job dies between its commit and its report, and that job is stopped.
    fixture.another("k", Given::default(), 0..2, "").await;
    let granted = fixture.lease("a", 1).await.remove(0);
    let (at, key, epoch) = (fixture.at(), granted.key.clone(), granted.task.epoch);
    let begin = move |tx: &mut Tx<'_>| intents::begin(tx, &at, &key, &holder("a"), epoch, "i", intent(&[0]));
    assert_eq!(fixture.commit(begin).await.expect("answered"), Answer::Granted);
    stop(&fixture, &other_key("k")).await;
    start(&fixture, &job_key()).await;
    assert!(!fixture.task(0).units[0].published);
}

#[tokio::test]
async fn units_that_another_job_wrote_are_moved_again() {
    let fixture = Fixture::new(2).await;
    assert_eq!(fixture.finish_one("a").await, task_key(0));
    stop(&fixture, &job_key()).await;
    fixture.another("k", Given::default(), 0..2, "").await;
    for _ in 0..3 {
        assert_eq!(fixture.finish_one("a").await.job.job, "k");
    }
    assert_eq!(state(&fixture.job_of(&other_key("k"))), JobState::Done);
    start(&fixture, &job_key()).await;
    let task = fixture.task(0);
    assert!(!task.units[0].published && task.state == TaskState::Init, "{task:?}");
    let job = fixture.job();
    assert_eq!((job.counts.tasks_done, job.counts.tables_done, job.counts.rows_done), (0, 0, 0));
    for _ in 0..3 {
        fixture.finish_one("a").await;
    }
    let job = fixture.job();
    assert_eq!((state(&job), job.counts.tasks_done, job.counts.rows_done), (JobState::Done, 2, 14));
}

#[tokio::test]
async fn units_that_are_still_its_own_are_not_moved_again() {
    let fixture = Fixture::new(2).await;
    fixture.finish_one("a").await;
    stop(&fixture, &job_key()).await;
    start(&fixture, &job_key()).await;
    assert_eq!(fixture.finish_one("a").await, task_key(1));
    assert_eq!(fixture.finish_one("a").await, task_key(0), "which looks at the whole table");
    assert_eq!(state(&fixture.job()), JobState::Done);
}

#[tokio::test]
async fn a_start_is_refused_when_another_job_has_its_units() {
    let fixture = Fixture::new(2).await;
    stop(&fixture, &job_key()).await;
    fixture.another("k", Given::default(), 1..2, "").await;
    let refused = start(&fixture, &job_key()).await;
    let Piece::Refused(SchedulerError::TargetOwned { job, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(job, "dataSources/lake/jobs/k");
    let job = fixture.job();
    assert!(state(&job) == JobState::Stopped && job.change().is_none());
}

#[tokio::test]
async fn a_table_is_shared_by_jobs_that_make_the_same_and_drop_nothing() {
    let fixture = Fixture::new(2).await;
    let own = |policy| with_policy(policy);
    fixture.another("same", own(TargetPolicy::CreateOrOwn), 2..3, "").await;
    assert_eq!(state(&fixture.job_of(&other_key("same"))), JobState::Waiting);
    fixture.another("drops", own(TargetPolicy::Replace), 3..4, "").await;
    fixture.another("differs", own(TargetPolicy::CreateOrOwn), 4..5, "{}").await;
    for id in ["drops", "differs"] {
        let table = table(&fixture, &other_key(id));
        assert_eq!(table.plan.decision, TableDecision::Blocked, "{id}");
        assert_eq!(table.plan.decision_reason, DecisionReason::TargetOwned, "{id}");
        let reason = table.reason.clone().expect("it says why");
        assert_eq!(reason.reason, ErrorReason::TargetOwned);
        assert!(reason.message.contains("jobs/j") || reason.message.contains("jobs/same"), "{}", reason.message);
    }
    for id in ["j", "same"] {
        stop(&fixture, &other_key(id)).await;
    }
    let at = fixture.at();
    let retry = move |tx: &mut Tx<'_>| calls::retry(tx, &at, &other_key("drops"), false);
    fixture.commit(retry).await.expect("it failed");
    fixture.carry(&other_key("drops")).await;
    let job = fixture.job_of(&other_key("drops"));
    assert_eq!((state(&job), job.counts.tables_blocked), (JobState::Planning, 0), "what blocked it may have passed");
    let at = fixture.at();
    let again = move |tx: &mut Tx<'_>| plan_table(tx, &at, &other_key("drops"), 3..4, "");
    fixture.commit(again).await.expect("planned");
    assert_eq!(table(&fixture, &other_key("drops")).plan.decision, TableDecision::Move);
    let refused = start(&fixture, &other_key("same")).await;
    assert!(matches!(refused, Piece::Refused(SchedulerError::TargetOwned { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_table_that_another_job_owns_in_part_claims_nothing() {
    let fixture = Fixture::new(1).await;
    fixture.another("first", Given::default(), 5..6, "").await;
    let claims = |fixture: &Fixture| {
        let claims = |read: &mms_store::Reader<'_>| {
            let (units, tables) =
                (read.page(&UNITS, &Scope::all(), None, 99)?, read.page(&TABLE_CLAIMS, &Scope::all(), None, 99)?);
            Ok::<_, SchedulerError>((units.items.len(), tables.items.len()))
        };
        fixture.store.read(claims).expect("readable")
    };
    let before = claims(&fixture);
    fixture.another("k", Given::default(), 3..6, "").await;
    assert_eq!(table(&fixture, &other_key("k")).reason.as_ref().expect("it says why").reason, ErrorReason::TargetOwned);
    assert_eq!(claims(&fixture), before);
}

#[tokio::test]
async fn tasks_whose_table_cannot_be_made_end_as_any_other() {
    let fixture = Fixture::new(2).await;
    let epoch = fixture.lease("a", 1).await[0].task.epoch;
    fixture.report(0, "a", epoch, failed(Step::Schema, true)).await;
    let waiting = fixture.task(1);
    assert!(waiting.state == TaskState::SchemaFailed && waiting.end_time_ms > 0, "{waiting:?}");
    assert!(told(&fixture.notices()).contains(&("t000001".to_owned(), MigrationState::Failed)));
    let key = task_key(1);
    let logs = fixture.store.read(|read| read.page(&LOGS, &Scope::prefix(&key), None, 10)).expect("readable");
    let last = &logs.items.last().expect("a line").1;
    assert!(last.message.contains("tasks/t000000") && last.state == TaskState::SchemaFailed, "{last:?}");
    assert_eq!(table(&fixture, &job_key()).tasks_failed, 2);
}

#[tokio::test]
async fn a_task_that_waits_for_a_failed_maker_brings_it_back() {
    let fixture = Fixture::new(3).await;
    let epoch = fixture.lease("a", 1).await[0].task.epoch;
    fixture.report(0, "a", epoch, failed(Step::Schema, true)).await;
    let at = fixture.at();
    fixture.commit(move |tx| calls::retry_task(tx, &at, &task_key(1))).await.expect("it failed");
    fixture.carry(&job_key()).await;
    assert_eq!(state(&fixture.job()), JobState::Waiting);
    assert_eq!(fixture.finish_one("a").await, task_key(0));
    assert_eq!(fixture.finish_one("a").await, task_key(1));
    assert_eq!(fixture.finish_one("a").await, task_key(0), "which looks at the whole table");
    let job = fixture.job();
    assert_eq!((state(&job), job.counts.tasks_failed), (JobState::Failed, 1), "the third was not asked for");
}

#[tokio::test]
async fn only_rows_that_were_moved_are_told_as_a_version() {
    let fixture = Fixture::new(1).await;
    fixture.finish_one("a").await;
    let moved = fixture.notices().pop().expect("told");
    assert_eq!(moved.version.expect("rows were moved").table_id, "id");
    assert_eq!(moved.target, Some(target()));
    let spec = Spec { content: MigrationContent::SchemaOnly.into(), ..Spec::default() };
    fixture.another("k", Given { spec, ..Given::default() }, 0..1, "").await;
    fixture.finish_one("a").await;
    let made = fixture.notices().pop().expect("told");
    assert_eq!((*made.state, made.version), (MigrationState::Done, None));
}

#[tokio::test]
async fn both_bounds_of_tasks_hold() {
    let fixture = Fixture::new(1).await;
    stop(&fixture, &job_key()).await;
    let bounds = |own: i32| {
        let limits = Limits { max_concurrent_tasks: own, source_max_concurrent_tasks: 4, ..Limits::default() };
        Given { limits, ..Given::default() }
    };
    let spec = Spec { content: MigrationContent::DataOnly.into(), ..Spec::default() };
    fixture.another("k", Given { spec: spec.clone(), ..bounds(2) }, 0..3, "").await;
    fixture.another("l", Given { spec, ..bounds(10) }, 3..9, "").await;
    let leased = fixture.lease("a", 10).await;
    let of = |id: &str| leased.iter().filter(|granted| granted.key.job.job == id).count();
    assert_eq!((of("k"), of("l")), (2, 2), "two of the one, and four of the source in all");
}

#[tokio::test]
async fn a_job_goes_away_with_all_it_had_also_when_its_deletion_broke_off() {
    let fixture = Fixture::new(700).await;
    stop(&fixture, &job_key()).await;
    let at = fixture.at();
    fixture.commit(move |tx| calls::delete(tx, &at, &job_key(), "")).await.expect("it has ended");
    assert!(fixture.store.read(|read| stored::find(read, &job_key())).is_err(), "gone for everybody");
    let at = fixture.at();
    let piece = fixture.commit(move |tx| change::step(tx, &at, &job_key(), Cursor::default())).await;
    assert!(matches!(piece, Ok(Piece::More(..))), "{piece:?}");
    assert!(matches!(fixture.carry(&job_key()).await, Piece::Done(None)));
    fixture
        .store
        .read(|read| {
            let left = read.page(&TASKS, &Scope::all(), None, 1)?.items.len()
                + read.page(&JOB_TABLES, &Scope::all(), None, 1)?.items.len()
                + read.page(&MANIFESTS, &Scope::all(), None, 1)?.items.len()
                + read.page(&LOGS, &Scope::all(), None, 1)?.items.len()
                + read.page(&UNITS, &Scope::all(), None, 1)?.items.len()
                + read.page(&TABLE_CLAIMS, &Scope::all(), None, 1)?.items.len();
            assert_eq!(left, 0);
            Ok::<_, SchedulerError>(())
        })
        .expect("readable");
}

#[tokio::test]
async fn a_stop_overtakes_a_start() {
    let fixture = Fixture::new(1).await;
    stop(&fixture, &job_key()).await;
    let at = fixture.at();
    fixture.commit(move |tx| calls::start(tx, &at, &job_key())).await.expect("it is stopped");
    let at = fixture.at();
    fixture.commit(move |tx| calls::stop(tx, &at, &job_key(), None)).await.expect("it can be stopped");
    assert!(matches!(fixture.carry(&job_key()).await, Piece::Idle(_)));
    assert_eq!(state(&fixture.job()), JobState::Stopped);
    assert!(fixture.lease("a", 1).await.is_empty());
}

#[tokio::test]
async fn a_large_job_comes_back_in_pieces() {
    let fixture = Fixture::new(1_200).await;
    let epoch = fixture.lease("a", 1).await[0].task.epoch;
    fixture.report(0, "a", epoch, failed(Step::Schema, true)).await;
    fixture.tell_followers().await;
    let at = fixture.at();
    fixture.commit(move |tx| calls::retry(tx, &at, &job_key(), false)).await.expect("it failed");
    assert!(matches!(fixture.carry(&job_key()).await, Piece::Done(_)));
    let job = fixture.job();
    assert_eq!((state(&job), job.counts.tasks_failed), (JobState::Waiting, 0));
    let ready = |task: &Task| task.state == TaskState::Init;
    assert!((0..1_200).all(|number| ready(&fixture.task(number))));
}

#[tokio::test]
async fn an_older_version_is_not_written_over_a_newer_one() {
    let fixture = Fixture::new(1).await;
    stop(&fixture, &job_key()).await;
    // Some other job has moved version 6 of the same table there; the fixture's jobs have version 5.
    let write = |generation| {
        move |tx: &mut Tx<'_>| {
            let version = Version { delta: Some(6), table_id: "id".to_owned(), ..Version::default() };
            let entry = Lineage { version: Some(version), generation, ..Lineage::default() };
            Ok(tx.put(&LINEAGE, &target().unit_key(&intent(&[0]).units[0].partition), &entry)?)
        }
    };
    fixture.commit(write(1)).await.expect("stored");
    fixture.another("k", Given::default(), 0..1, "").await;
    let plan = table(&fixture, &other_key("k"));
    assert_eq!(plan.plan.decision_reason, DecisionReason::TargetNewer);
    assert_eq!(plan.reason.as_ref().expect("it says why").reason, ErrorReason::TargetNewer);
    assert_eq!(fixture.job_of(&other_key("k")).reason.as_ref().expect("why").reason, ErrorReason::TablesBlocked);
    let refused = start(&fixture, &job_key()).await;
    assert!(matches!(refused, Piece::Refused(SchedulerError::TargetNewer { there: 6, own: 5, .. })), "{refused:?}");
    assert_eq!(state(&fixture.job()), JobState::Stopped);
    let spec = Spec { older_version: OlderVersion::Overwrite.into(), ..Spec::default() };
    fixture.another("wants", Given { spec, ..Given::default() }, 0..1, "").await;
    assert_eq!(table(&fixture, &other_key("wants")).plan.decision, TableDecision::Move);
    stop(&fixture, &other_key("wants")).await;
    // Rows of an earlier generation of the target table do not count.
    fixture.commit(write(0)).await.expect("stored");
    assert!(matches!(start(&fixture, &job_key()).await, Piece::Done(Some(_))));
}
