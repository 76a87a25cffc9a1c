//! Reports over a store in memory: which are accepted, and which may be repeated.

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::CommitOutcome;
use mms_proto::types::v1::Verdict;
use mms_store::{Read, Scope, Tx};

use super::take::{self, Found, Said};
use crate::commit::intent as intents;
use crate::fixture::{Fixture, done, failed, holder, intent, task_key};
use crate::record::{Check, Epoch, Reason, Step, TaskState, Verification};
use crate::store::CHECKS;

fn state(fixture: &Fixture) -> TaskState {
    *fixture.task(0).state
}

/// Publishes the only unit of task 0.
async fn publish(fixture: &Fixture, epoch: Epoch) {
    let at = fixture.at();
    let apply = move |tx: &mut Tx<'_>| {
        intents::begin(tx, &at, &task_key(0), &holder("a"), epoch, "i", intent(&[0]))?;
        intents::resolve(tx, &at, &task_key(0), &holder("a"), epoch, "i", CommitOutcome::Committed)
    };
    assert!(fixture.commit(apply).await.expect("applied"));
}

/// A leased task whose SCHEMA step is done.
async fn with_schema() -> (Fixture, Epoch) {
    let fixture = Fixture::new(1).await;
    let epoch = fixture.lease("a", 1).await[0].task.epoch;
    assert!(fixture.report(0, "a", epoch, done(Step::Schema)).await);
    (fixture, epoch)
}

#[tokio::test]
async fn data_is_done_when_all_units_are_published() {
    let (fixture, epoch) = with_schema().await;
    assert!(fixture.report(0, "a", epoch, done(Step::Data)).await);
    assert_eq!((state(&fixture), fixture.task(0).leased()), (TaskState::SchemaDone, false));
    let reason = fixture.task(0).reason.clone().expect("it failed");
    assert!(reason.message.contains("1 units were not published"), "{}", reason.message);

    let (fixture, epoch) = with_schema().await;
    publish(&fixture, epoch).await;
    assert!(fixture.report(0, "a", epoch, done(Step::Data)).await);
    assert_eq!(state(&fixture), TaskState::VerificationDoing);
}

#[tokio::test]
async fn only_equal_sides_end_a_task_well() {
    let different = Verification { verdict: Verdict::Different.into(), ..Verification::default() };
    let different = Found { summary: different, checks: Vec::new() };
    for found in [None, Some(different), Some(Found::default())] {
        let (fixture, epoch) = with_schema().await;
        publish(&fixture, epoch).await;
        assert!(fixture.report(0, "a", epoch, done(Step::Data)).await);
        let said =
            Said::Done { step: Step::Verification, rows: 0, bytes: 0, verification: found, identity: None, look: None };
        assert!(fixture.report(0, "a", epoch, said).await);
        assert_eq!((state(&fixture), fixture.task(0).leased()), (TaskState::SchemaDone, false));
        assert_eq!(fixture.task(0).reason.as_ref().expect("it failed").reason, ErrorReason::VerificationFailed);
        assert!(!fixture.task(0).units[0].published, "its rows are moved again");
    }
}

#[tokio::test]
async fn a_count_that_could_not_be_had_moves_nothing_again() {
    let (fixture, epoch) = with_schema().await;
    publish(&fixture, epoch).await;
    assert!(fixture.report(0, "a", epoch, done(Step::Data)).await);
    let reason = Reason::new(ErrorReason::TargetFailed, "the count did not end");
    let said = Said::Failed {
        step: Step::Verification,
        permanent: false,
        reason,
        verification: None,
        missed: None,
        lost: Vec::new(),
    };
    assert!(fixture.report(0, "a", epoch, said).await);
    assert_eq!((state(&fixture), fixture.task(0).leased()), (TaskState::DataDone, false));
    assert!(fixture.task(0).units[0].published);
}

#[tokio::test]
async fn a_report_whose_answer_was_lost_is_taken_again_and_changes_nothing() {
    let (fixture, epoch) = with_schema().await;
    let again = async |fixture: &Fixture, event: Said| {
        let before = fixture.task(0);
        assert!(fixture.report(0, "a", epoch, event).await);
        assert_eq!(fixture.task(0), before);
    };
    again(&fixture, done(Step::Schema)).await;
    assert!(fixture.report(0, "a", epoch, Said::Begun(Step::Data)).await);
    again(&fixture, done(Step::Schema)).await;
    publish(&fixture, epoch).await;
    assert!(fixture.report(0, "a", epoch, done(Step::Data)).await);
    again(&fixture, done(Step::Data)).await;
    assert!(fixture.report(0, "a", epoch, done(Step::Verification)).await);
    again(&fixture, done(Step::Verification)).await;
    assert!(fixture.report(0, "a", epoch, done(Step::Look)).await);
    assert_eq!(state(&fixture), TaskState::Done);
    again(&fixture, done(Step::Look)).await;
    assert!(!fixture.report(0, "a", epoch, failed(Step::Verification, true)).await, "it did not end so");

    let (fixture, epoch) = with_schema().await;
    assert!(fixture.report(0, "a", epoch, failed(Step::Data, false)).await);
    let before = fixture.task(0);
    assert!(fixture.report(0, "a", epoch, failed(Step::Data, false)).await);
    assert_eq!(fixture.task(0), before);
    assert!(!fixture.report(0, "a", epoch, done(Step::Data)).await);
}

#[tokio::test]
async fn a_target_that_went_takes_the_task_back_to_schema() {
    let (mut fixture, epoch) = with_schema().await;
    publish(&fixture, epoch).await;
    assert!(fixture.report(0, "a", epoch, Said::Begun(Step::Data)).await);
    assert!(fixture.report(0, "a", epoch, failed(Step::Schema, false)).await);
    assert_eq!(state(&fixture), TaskState::Init);
    assert!(!fixture.task(0).units[0].published, "what was published went with it");
    fixture.pass(60_000);
    let again = fixture.lease("a", 1).await.remove(0);
    assert_eq!(again.task.next_step(), Some(Step::Schema));
}

#[tokio::test]
async fn no_report_carries_a_task_past_a_step() {
    for event in [done(Step::Data), done(Step::Verification), Said::Begun(Step::Data)] {
        let fixture = Fixture::new(1).await;
        let epoch = fixture.lease("a", 1).await[0].task.epoch;
        let before = fixture.task(0);
        assert!(!fixture.report(0, "a", epoch, event).await);
        assert_eq!(fixture.task(0), before);
    }
    let fixture = Fixture::new(1).await;
    let epoch = fixture.lease("a", 1).await[0].task.epoch;
    assert!(fixture.report(0, "a", epoch, failed(Step::Verification, false)).await);
    assert_eq!(state(&fixture), TaskState::Init);
}

#[tokio::test]
async fn the_checks_of_the_last_verification_are_kept_and_no_others() {
    let (fixture, epoch) = with_schema().await;
    publish(&fixture, epoch).await;
    assert!(fixture.report(0, "a", epoch, done(Step::Data)).await);
    let check = |unit_index| Check { unit_index, verdict: Verdict::Different.into(), ..Check::default() };
    let summary = Verification { verdict: Verdict::Different.into(), checks_different: 3, ..Verification::default() };
    let found = move |units: std::ops::Range<i32>| Found { summary, checks: units.map(check).collect() };
    let said = Said::Done {
        step: Step::Verification,
        rows: 0,
        bytes: 0,
        verification: Some(found(0..3)),
        identity: None,
        look: None,
    };
    assert!(fixture.report(0, "a", epoch, said).await);
    assert_eq!(fixture.task(0).verification.expect("kept").checks_kept, 3);
    assert_eq!(kept(&fixture), 3);
    let again = move |tx: &mut Tx<'_>| take::keep_checks(tx, &task_key(0), found(0..1)).map(drop);
    fixture.commit(again).await.expect("stored");
    assert_eq!(kept(&fixture), 1);
}

fn kept(fixture: &Fixture) -> usize {
    fixture.store.read(|read| read.page(&CHECKS, &Scope::prefix(&task_key(0)), None, 10)).expect("read").items.len()
}
