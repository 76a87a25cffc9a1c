//! Tables of many units: stored in pieces, dropped when a plan was interrupted or is made again, and their tasks told
//! in pieces that the table is made.

use super::*;
use crate::fixture::{Fixture, Given, done, failed, job_key, other_key, plan, table_key, units};
use crate::job::calls;
use crate::record::TaskState;
use crate::store::{UNITS, UNTOLD_TABLES};

/// Two units, so that one task of two is a piece.
const SMALL: PieceBounds = PieceBounds { units: 2, bytes: usize::MAX };

/// A planned job all of whose tasks but one have failed permanently, and that a retry with the newest version set back
/// to PLANNING.
async fn planned_again(fixture: &Fixture) {
    fixture.finish_one("a").await;
    while let Some(granted) = fixture.lease("a", 1).await.pop() {
        let step = granted.task.next_step().expect("it has one");
        assert!(fixture.report(granted.key.number, "a", granted.task.epoch, failed(step, true)).await);
    }
    assert_eq!(fixture.job().state, JobState::Failed);
    let at = fixture.at();
    fixture.commit(move |tx| calls::retry(tx, &at, &job_key(), true)).await.expect("a failed job");
    fixture.carry(&job_key()).await;
    assert_eq!(fixture.job().state, JobState::Planning);
}

async fn drop_all(fixture: &Fixture) {
    let at = fixture.at();
    let drop = move |tx: &mut Tx<'_>| {
        while tasks_left(tx, &at)? > 0 {}
        Ok(())
    };
    fixture.commit(drop).await.expect("dropped");
}

fn tasks_left(tx: &mut Tx<'_>, at: &Moment) -> Result<usize> {
    Ok(drop_some(tx, at, &table_key(&job_key()), "j")?.expect("it is being planned"))
}

fn numbers(fixture: &Fixture) -> Vec<u32> {
    let page = fixture.store.read(|read| read.page(&TASKS, &Scope::all(), None, 5_000)).expect("readable");
    page.items.into_iter().filter(|(key, _)| key.job == job_key()).map(|(key, _)| key.number).collect()
}

fn claims(fixture: &Fixture) -> usize {
    fixture.store.read(|read| read.page(&UNITS, &Scope::all(), None, 5_000)).expect("readable").items.len()
}

/// Stores the pieces of the job's table with `count` units, up to and including the one with this index. Returns the
/// outcome of the last.
async fn store_up_to(fixture: &Fixture, count: usize, piece: usize) -> Stored {
    store_pieces(fixture, pieces(&fixture.job(), units(0..count), SMALL), piece).await
}

async fn store_pieces(fixture: &Fixture, pieces: Vec<Vec<Vec<Unit>>>, piece: usize) -> Stored {
    let count = pieces.iter().flatten().map(Vec::len).sum();
    let last = pieces.len() - 1;
    let mut stored = Stored::Gone;
    for (number, tasks) in pieces.into_iter().enumerate().take(piece + 1) {
        let at = fixture.at();
        let piece = Piece { plan: plan(""), tasks, last: (number == last).then_some(count) };
        stored = fixture.commit(move |tx| store(tx, &at, &table_key(&job_key()), "j", piece)).await.expect("stored");
    }
    stored
}

async fn finish_plan(fixture: &Fixture) {
    let at = fixture.at();
    fixture.commit(move |tx| finish(tx, &at, &job_key(), "j")).await.expect("planned");
}

#[tokio::test]
async fn pieces_keep_their_bounds_and_the_order_of_units() {
    let job = Fixture::new(1).await.job();
    let all = units(0..9);
    for bounds in [SMALL, PieceBounds { units: 100, bytes: 60 }, PieceBounds { units: 4, bytes: 1_000 }] {
        let cut = pieces(&job, all.clone(), bounds);
        assert_eq!(cut.concat().concat(), all);
        for piece in &cut {
            let (many, bytes) = (piece.concat().len(), piece.concat().iter().map(Message::encoded_len).sum::<usize>());
            assert!(piece.len() == 1 || (many <= bounds.units && bytes <= bounds.bytes), "{many} of {bytes} bytes");
        }
    }
    assert_eq!(pieces(&job, Vec::new(), SMALL), [[Vec::<Unit>::new()]], "a task without units makes the table");
    // What is at the target already has a task of its own, which moves nothing.
    let mut some = units(0..5);
    for at in [0, 2, 3] {
        (some[at].at_target, some[at].published) = (true, true);
    }
    let cut = pieces(&job, some, PieceBounds::default()).concat();
    let numbers: Vec<Vec<u32>> = cut.iter().map(|task| task.iter().map(|unit| unit.number).collect()).collect();
    assert_eq!(numbers, [vec![1], vec![4], vec![0, 2, 3]]);
}

#[tokio::test]
async fn what_an_interrupted_plan_stored_is_dropped_and_planned_anew() {
    let fixture = Fixture::new(2).await;
    planned_again(&fixture).await;
    drop_all(&fixture).await;
    for reached in [0, 1, 2] {
        assert!(matches!(store_up_to(&fixture, 7, reached).await, Stored::Yes));
        assert!(!numbers(&fixture).is_empty());
        drop_all(&fixture).await;
        assert_eq!((numbers(&fixture).len(), claims(&fixture)), (0, 0));
        let left = fixture.job().counts;
        assert_eq!(left, Counts { tables_total: 1, ..Counts::default() });
    }
    assert!(matches!(store_up_to(&fixture, 7, 100).await, Stored::Yes));
    finish_plan(&fixture).await;
    let counts = fixture.job().counts;
    assert_eq!((counts.tasks_total, counts.rows_total, fixture.job().state), (7, 49, JobState::Waiting.into()));
    for _ in 0..8 {
        fixture.finish_one("a").await;
    }
    assert_eq!(fixture.job().state, JobState::Done);
}

#[tokio::test]
async fn a_retry_with_the_newest_version_moves_all_of_a_failed_table_again() {
    let fixture = Fixture::new(3).await;
    planned_again(&fixture).await;
    let table = fixture.store.read(|read| read.get(&JOB_TABLES, &table_key(&job_key()))).expect("readable");
    assert_eq!(table.expect("there").plan.decision_reason, DecisionReason::Retried);
    drop_all(&fixture).await;
    assert!(matches!(store_up_to(&fixture, 3, 100).await, Stored::Yes));
    finish_plan(&fixture).await;
    // New numbers, so that a worker that still holds a task of the earlier plan is fenced.
    assert_eq!(numbers(&fixture), [3, 4, 5]);
    assert!(numbers(&fixture).iter().all(|number| !fixture.task(*number).units[0].published));
    for _ in 0..4 {
        fixture.finish_one("a").await;
    }
    let (job, counts) = (fixture.job(), fixture.job().counts);
    assert_eq!((*job.state, counts.tasks_done, counts.tasks_failed, counts.tables_done), (JobState::Done, 3, 0, 1));
    assert_eq!((counts.rows_done, counts.tables_failed, counts.tables_planned), (21, 0, 1));
}

#[tokio::test]
async fn a_retry_without_it_goes_on_with_the_version_that_is_pinned() {
    let fixture = Fixture::new(2).await;
    let granted = fixture.lease("a", 1).await.remove(0);
    fixture.report(0, "a", granted.task.epoch, failed(Step::Schema, true)).await;
    let at = fixture.at();
    fixture.commit(move |tx| calls::retry(tx, &at, &job_key(), false)).await.expect("a failed job");
    fixture.carry(&job_key()).await;
    assert_eq!((*fixture.job().state, numbers(&fixture)), (JobState::Waiting, vec![0, 1]));
}

#[tokio::test]
async fn a_table_of_which_somebody_has_the_last_unit_is_blocked_and_leaves_nothing() {
    let fixture = Fixture::new(2).await;
    planned_again(&fixture).await;
    drop_all(&fixture).await;
    fixture.another("k", Given::default(), 6..7, "").await;
    let Stored::Refused(blocked) = store_up_to(&fixture, 7, 100).await else { panic!("another job has it") };
    assert_eq!(blocked.decision_reason, DecisionReason::TargetOwned);
    drop_all(&fixture).await;
    assert_eq!((numbers(&fixture).len(), claims(&fixture)), (0, 1));
    let (at, piece) = (fixture.at(), Piece { plan: *blocked, tasks: Vec::new(), last: Some(0) });
    fixture.commit(move |tx| store(tx, &at, &table_key(&job_key()), "j", piece)).await.expect("stored");
    finish_plan(&fixture).await;
    assert_eq!((fixture.job().state, fixture.job().counts.tables_blocked), (JobState::Failed.into(), 1));
}

#[tokio::test]
async fn the_tasks_of_a_large_table_hear_in_pieces_what_became_of_it() {
    const MANY: usize = 2 * ROWS_AT_ONCE + 7;
    for fails in [false, true] {
        let fixture = Fixture::new(MANY).await;
        let granted = fixture.lease("a", 1).await.remove(0);
        let said = if fails { failed(Step::Schema, true) } else { done(Step::Schema) };
        assert!(fixture.report(0, "a", granted.task.epoch, said).await);
        let told = |number: u32| {
            let task = fixture.task(number);
            if fails { task.state == TaskState::SchemaFailed } else { !task.blocked }
        };
        let all = || (1..u32::try_from(MANY).expect("small")).filter(|number| told(*number)).count();
        assert_eq!(all(), ROWS_AT_ONCE - 1);
        let untold = || {
            let page = fixture.store.read(|read| read.index_page(&JOB_TABLES, &UNTOLD_TABLES, &Scope::all(), None, 10));
            page.expect("readable").items.len()
        };
        assert_eq!(untold(), 1);
        fixture.tell_followers().await;
        assert_eq!((all(), untold()), (MANY - 1, 0));
        assert_eq!(fixture.job().state == JobState::Failed, fails);
    }
}

#[tokio::test]
async fn a_table_that_is_more_than_one_commit_takes_is_stored() {
    let fixture = Fixture::replacing(100, 50).await;
    planned_again(&fixture).await;
    drop_all(&fixture).await;
    let wide = |unit| Unit { source_partitions: vec!["x".repeat(20_000)], ..unit };
    let all: Vec<Unit> = units(0..4_000).into_iter().map(wide).collect();
    assert!(all.iter().map(Message::encoded_len).sum::<usize>() > 64 << 20, "what the store takes at once");
    let cut = pieces(&fixture.job(), all, PieceBounds::default());
    assert!(matches!(store_pieces(&fixture, cut, 100).await, Stored::Yes));
    finish_plan(&fixture).await;
    assert_eq!((*fixture.job().state, fixture.job().counts.tasks_total), (JobState::Waiting, 80));
}

#[tokio::test]
async fn a_table_that_is_planned_is_moved_while_others_are_not() {
    let fixture = Fixture::new(1).await;
    fixture.finish_one("a").await;
    assert_eq!(fixture.job().state, JobState::Done);
    fixture.another("k", Given { unplanned: Some("later"), ..Given::default() }, 5..7, "").await;
    let key = other_key("k");
    let granted = fixture.lease("b", 9).await;
    assert_eq!(granted.iter().map(|granted| &granted.key.job).collect::<Vec<_>>(), [&key]);
    assert_eq!(fixture.job_of(&key).state, JobState::Planning);
    let (at, of) = (fixture.at(), TableKey { table: "later".to_owned(), ..table_key(&key) });
    fixture
        .commit(move |tx| {
            let plan = TablePlan::new(TableDecision::Skipped, DecisionReason::KindUnsupported, "a view");
            store(tx, &at, &of, "k", Piece { plan, tasks: Vec::new(), last: Some(0) })?;
            finish(tx, &at, &of.job, "k")
        })
        .await
        .expect("planned");
    assert_eq!(fixture.job_of(&key).state, JobState::Running, "a task of it runs");
}

#[tokio::test]
async fn a_plan_that_somebody_is_to_look_at_moves_nothing_before() {
    let fixture = Fixture::new(1).await;
    fixture.finish_one("a").await;
    let given = Given { unplanned: Some("later"), review: true, ..Given::default() };
    fixture.another("k", given, 5..7, "").await;
    assert!(fixture.lease("a", 9).await.is_empty());
}
