//! Commit intents over a store in memory: what covers what, who may resolve, and that a rejected intent changes
//! nothing.

use std::collections::BTreeMap;

use mms_proto::scheduler::v1::CommitOutcome;
use mms_proto::types::v1::{MigrationState, TargetPolicy};
use mms_store::{Read, Scope, Tx};
use proptest::prelude::*;

use super::intent::{self as intents, Answer};
use super::{open, target as at_target};
use crate::error::{Result, SchedulerError};
use crate::fixture::{Fixture, done, holder, intent, job_key, target, task_key};
use crate::lease::end;
use crate::record::{Asked, ClaimEvent, Commit, Epoch, Intent, Job, LeaseEnd, Replacement, Spec, Step};
use crate::store::{INTENTS, JOBS, UNITS};

/// An intent that drops the fixture's table.
fn replace() -> Intent {
    let commit = Commit::Replace(Replacement { instance_key: "k".to_owned(), partitions: Vec::new() });
    Intent { commit: Some(commit), ..intent(&[]) }
}

async fn begin(fixture: &Fixture, task: u32, who: &str, epoch: Epoch, id: &str, wanted: Intent) -> Result<Answer> {
    let (at, holder, id) = (fixture.at(), holder(who), id.to_owned());
    fixture.commit(move |tx| intents::begin(tx, &at, &task_key(task), &holder, epoch, &id, wanted)).await
}

async fn resolve(fixture: &Fixture, task: u32, who: &str, epoch: Epoch, id: &str, how: CommitOutcome) -> Result<bool> {
    let (at, holder, id) = (fixture.at(), holder(who), id.to_owned());
    fixture.commit(move |tx| intents::resolve(tx, &at, &task_key(task), &holder, epoch, &id, how)).await
}

async fn expire(fixture: &Fixture, task: u32) {
    let (at, epoch) = (fixture.at(), fixture.task(task).epoch);
    let end = move |tx: &mut Tx<'_>| end::end(tx, &at, &task_key(task), epoch, LeaseEnd::Expired);
    fixture.commit(end).await.expect("answered");
}

fn refused(answer: Result<Answer>) -> bool {
    matches!(answer, Err(SchedulerError::Invalid(_)))
}

/// Ids of intents that claims name.
fn claimed(fixture: &Fixture) -> Vec<String> {
    let claims = fixture.store.read(|read| read.page(&UNITS, &Scope::all(), None, 100)).expect("readable");
    claims.items.into_iter().filter_map(|(_, claim)| claim.open_intent().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_refused_intent_of_many_units_claims_none_of_them() {
    let fixture = Fixture::replacing(3, 3).await;
    let first = fixture.lease("a", 1).await[0].task.epoch;
    assert_eq!(begin(&fixture, 0, "a", first, "i1", intent(&[2])).await.expect("answered"), Answer::Granted);
    let answer = begin(&fixture, 0, "a", first, "i2", intent(&[0, 1, 2])).await.expect("answered");
    assert!(matches!(answer, Answer::Open(id, _) if id == "i1"));
    assert_eq!(claimed(&fixture), ["i1"]);
    assert!(resolve(&fixture, 0, "a", first, "i1", CommitOutcome::Expired).await.expect("taken"));
    assert_eq!(begin(&fixture, 0, "a", first, "i3", intent(&[0, 1])).await.expect("answered"), Answer::Granted);
}

#[tokio::test]
async fn a_claim_of_an_intent_that_is_gone_is_free() {
    let fixture = Fixture::replacing(1, 1).await;
    let epoch = fixture.lease("a", 1).await[0].task.epoch;
    let dangling = |tx: &mut Tx<'_>| {
        let unit = target().unit_key(&intent(&[0]).units[0].partition);
        let mut claim = tx.get(&UNITS, &unit)?.unwrap_or_default();
        claim.apply(ClaimEvent::Opened("gone"))?;
        tx.put(&UNITS, &unit, &claim)?;
        Ok(())
    };
    fixture.commit(dangling).await.expect("stored");
    assert_eq!(begin(&fixture, 0, "a", epoch, "i1", intent(&[0])).await.expect("answered"), Answer::Granted);
}

#[tokio::test]
async fn a_replacement_covers_every_unit_of_the_table() {
    let fixture = Fixture::replacing(2, 1).await;
    let maker = fixture.lease("a", 1).await[0].task.epoch;
    assert_eq!(begin(&fixture, 0, "a", maker, "r1", replace()).await.expect("answered"), Answer::Granted);
    assert_eq!(
        begin(&fixture, 0, "a", maker, "r1", replace()).await.expect("answered"),
        Answer::Granted,
        "asked twice"
    );
    let told: Vec<_> = fixture.notices().into_iter().map(|one| (one.partitions.len(), *one.state)).collect();
    let [.., dropped, at_work] = told[..] else { panic!("{told:?}") };
    assert_eq!(dropped, (0, MigrationState::Init), "nothing of the table is there any more");
    assert_eq!(at_work.1, MigrationState::Doing);
    let unit = begin(&fixture, 0, "a", maker, "i1", intent(&[0])).await.expect("answered");
    assert!(matches!(unit, Answer::Open(id, found) if id == "r1" && found.replaces()));
    let other = begin(&fixture, 0, "a", maker, "r2", replace()).await.expect("answered");
    assert!(matches!(other, Answer::Open(id, _) if id == "r1"));
    // The next holder finds it in its lease; resolving it publishes nothing.
    expire(&fixture, 0).await;
    let granted = fixture.lease("b", 1).await.remove(0);
    let open = fixture.store.read(|read| open::of_task(read, &granted.key, &granted.task)).expect("readable");
    assert_eq!(open.iter().map(|(id, _)| &**id).collect::<Vec<_>>(), ["r1"]);
    let second = granted.task.epoch;
    let known = |fixture: &Fixture| fixture.store.read(|read| at_target::of(read, &target())).expect("readable");
    let before = known(&fixture);
    assert!(resolve(&fixture, 0, "b", second, "r1", CommitOutcome::Committed).await.expect("taken"));
    assert!(!fixture.task(0).units[0].published);
    let after = known(&fixture);
    assert!(after.generation() > before.generation() && after.is_stale(), "what was written into it counts no more");
    assert_eq!(after.identity(), None);
    let unmade = begin(&fixture, 0, "b", second, "i2", intent(&[0])).await.expect("answered");
    assert_eq!(unmade, Answer::Fenced, "there is no table that a session could be of");
}

#[tokio::test]
async fn a_replacement_waits_for_what_is_open_on_any_unit() {
    let fixture = Fixture::replacing(2, 1).await;
    let second = fixture.lease("b", 1).await[0].task.epoch;
    assert_eq!(begin(&fixture, 0, "b", second, "i2", intent(&[0])).await.expect("answered"), Answer::Granted);
    let replaced = begin(&fixture, 0, "b", second, "r3", replace()).await.expect("answered");
    assert!(matches!(replaced, Answer::Open(id, _) if id == "i2"), "and the other way round");
}

#[tokio::test]
async fn only_the_maker_of_a_job_that_replaces_may_replace() {
    let fixture = Fixture::replacing(2, 1).await;
    let maker = fixture.lease("a", 1).await[0].task.epoch;
    let with_units = Intent { units: intent(&[0]).units, ..replace() };
    assert!(refused(begin(&fixture, 0, "a", maker, "r", with_units).await));
    assert!(refused(begin(&fixture, 0, "a", maker, "i", intent(&[])).await), "an intent on nothing");
    let own = |tx: &mut Tx<'_>| {
        let asked = tx.get(&JOBS, &job_key())?.expect("there").asked().clone();
        let spec = Spec { target_policy: TargetPolicy::CreateOrOwn.into(), ..asked.spec };
        tx.put(&JOBS, &job_key(), &Job::new(Asked { spec, ..asked }))?;
        Ok(())
    };
    fixture.commit(own).await.expect("stored");
    assert!(refused(begin(&fixture, 0, "a", maker, "r", replace()).await));
}

#[tokio::test]
async fn an_id_is_of_one_intent() {
    let fixture = Fixture::replacing(2, 2).await;
    let epoch = fixture.lease("a", 1).await[0].task.epoch;
    assert_eq!(begin(&fixture, 0, "a", epoch, "i", intent(&[0])).await.expect("answered"), Answer::Granted);
    assert!(refused(begin(&fixture, 0, "a", epoch, "i", intent(&[1])).await));
}

#[tokio::test]
async fn an_intent_is_settled_only_by_whom_it_concerns() {
    let fixture = Fixture::replacing(3, 1).await;
    let maker = fixture.lease("a", 1).await[0].task.epoch;
    assert!(fixture.report(0, "a", maker, done(Step::Schema)).await);
    let others = fixture.lease("b", 2).await;
    let (one, two) = (others[0].task.epoch, others[1].task.epoch);
    let mut wanted = intent(&[1]);
    wanted.units[0].unit_index = 0;
    assert_eq!(begin(&fixture, 1, "b", one, "i", wanted).await.expect("answered"), Answer::Granted);
    let stranger = resolve(&fixture, 2, "b", two, "i", CommitOutcome::Expired).await;
    assert!(matches!(stranger, Err(SchedulerError::Invalid(_))));
    assert!(resolve(&fixture, 1, "b", one, "i", CommitOutcome::Expired).await.expect("taken"));
    assert!(resolve(&fixture, 1, "b", one, "i", CommitOutcome::Expired).await.expect("taken again"));
}

#[derive(Debug, Clone)]
enum Act {
    Lease(bool),
    Expire,
    /// Units as a bit mask; 0 to drop the whole table.
    Begin(bool, u8),
    Resolve(bool, usize, bool),
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        1 => any::<bool>().prop_map(Act::Lease),
        1 => Just(Act::Expire),
        4 => (any::<bool>(), 0..8_u8).prop_map(|(who, units)| Act::Begin(who, units)),
        2 => (any::<bool>(), 0..4_usize, any::<bool>()).prop_map(|(who, which, done)| Act::Resolve(who, which, done)),
    ]
}

const WHOLE: u8 = 0b111;

/// Plays acts of two workers on one task of three units against a model of the open intents.
async fn play(acts: Vec<Act>) {
    let fixture = Fixture::replacing(3, 3).await;
    let name = |first: bool| if first { "a" } else { "b" };
    let mut epochs: BTreeMap<&str, Epoch> = BTreeMap::new();
    let mut open: BTreeMap<String, u8> = BTreeMap::new();
    let mut drops: Vec<String> = Vec::new();
    // After the drop there is no table to publish rows in, until a SCHEMA step reports a new one.
    let mut dropped = false;
    for (number, act) in acts.into_iter().enumerate() {
        match act {
            Act::Lease(first) => {
                for granted in fixture.lease(name(first), 1).await {
                    epochs.insert(name(first), granted.task.epoch);
                }
            }
            Act::Expire => expire(&fixture, 0).await,
            Act::Begin(first, mask) => {
                let who = name(first);
                let Some(epoch) = epochs.get(who) else { continue };
                let holds = fixture.task(0).worker() == Some(who) && fixture.task(0).epoch == *epoch;
                let units: Vec<usize> = (0..3).filter(|unit| mask & (1 << unit) != 0).collect();
                let (wanted, covers) = if mask == 0 { (replace(), WHOLE) } else { (intent(&units), mask) };
                let id = format!("i{number}");
                match begin(&fixture, 0, who, *epoch, &id, wanted).await.expect("answered") {
                    Answer::Granted => {
                        assert!(holds && open.values().all(|other| other & covers == 0));
                        assert!(!dropped || mask == 0, "rows for a table that is not there");
                        if mask == 0 {
                            drops.push(id.clone());
                        }
                        open.insert(id, covers);
                    }
                    Answer::Open(other, _) => assert!(holds && open[&other] & covers != 0),
                    Answer::Fenced => assert!(!holds || dropped),
                }
            }
            Act::Resolve(first, which, committed) => {
                let who = name(first);
                let (Some(epoch), Some(id)) = (epochs.get(who), open.keys().nth(which).cloned()) else { continue };
                let holds = fixture.task(0).worker() == Some(who) && fixture.task(0).epoch == *epoch;
                let how = if committed { CommitOutcome::Committed } else { CommitOutcome::Expired };
                assert_eq!(resolve(&fixture, 0, who, *epoch, &id, how).await.expect("answered"), holds);
                if holds {
                    dropped |= committed && drops.contains(&id);
                    open.remove(&id);
                }
            }
        }
        let stored = fixture.store.read(|read| read.page(&INTENTS, &Scope::all(), None, 100)).expect("readable");
        assert!(stored.items.iter().map(|(id, _)| id).eq(open.keys()), "what is open is what was granted");
        assert!(claimed(&fixture).iter().all(|id| open.contains_key(id)), "no claim dangles");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn open_intents_never_overlap(acts in proptest::collection::vec(any_act(), 0..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(play(acts));
    }
}

#[tokio::test]
async fn a_drop_in_doubt_is_given_up_only_after_nobody_could_send_it_for_long() {
    const MINUTE: i64 = 60_000;
    let mut fixture = Fixture::replacing(2, 1).await;
    let first = fixture.lease("a", 1).await[0].task.epoch;
    assert_eq!(begin(&fixture, 0, "a", first, "i1", replace()).await.expect("answered"), Answer::Granted);
    let cancelled = async |fixture: &Fixture| {
        let at = fixture.at();
        fixture.commit(move |tx| intents::cancel(tx, &at, "i1").map(drop)).await
    };
    fixture.pass(60 * MINUTE);
    assert!(matches!(cancelled(&fixture).await, Err(SchedulerError::IntentStands { .. })), "its lease lives");
    expire(&fixture, 0).await;
    fixture.pass(19 * MINUTE);
    assert!(cancelled(&fixture).await.is_err(), "whoever held it may have sent it a while ago");
    // The next holder may send it too.
    fixture.lease("b", 1).await;
    expire(&fixture, 0).await;
    fixture.pass(19 * MINUTE);
    assert!(cancelled(&fixture).await.is_err(), "so did the next");
    fixture.pass(2 * MINUTE);
    cancelled(&fixture).await.expect("nobody can any more");
    assert!(matches!(cancelled(&fixture).await, Err(SchedulerError::NotFound(_))));
}
