//! Compares what a report says of the target table with what is known of it: whether the table of a SCHEMA step is the
//! present one, and what follows from a LOOK step.

use std::collections::BTreeSet;

use mms_proto::types::v1::Severity;
use mms_proto::{ErrorReason, FindingReason};
use mms_store::{Read, Tx};

use super::log::{self, Line};
use super::take::Said;
use crate::commit::{open, target};
use crate::error::Result;
use crate::job::rollup;
use crate::key::TaskKey;
use crate::moment::Moment;
use crate::record::{
    Finding, Identity, PartitionValue, Reason, Step, TableEvent, TargetEvent, TargetName, Task, TaskEvent,
    partition_text,
};
use crate::store::{JOB_TABLES, TASKS};

/// One unit as a LOOK step saw it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LookedUnit {
    pub partition: Vec<PartitionValue>,
    /// Its rows; None if it is missing or was not counted.
    pub rows: Option<i64>,
}

/// What a LOOK step saw of a whole table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Looked {
    /// The table that exists.
    pub identity: Identity,
    /// Rows of all published units.
    pub rows: i64,
    /// Published units that are missing or have other rows: how many, and the first of them.
    pub different: (i64, Vec<LookedUnit>),
    /// Partitions that the plan does not have: how many, and the first of them.
    pub surplus: (i64, Vec<LookedUnit>),
    /// Digest of the table, which changes when somebody writes to it.
    pub digest: Vec<u8>,
}

/// The present generation of a task's target.
pub fn generation(read: &impl Read, key: &TaskKey, task: &Task) -> Result<u64> {
    let Some(name) = open::target_of(read, key, task)? else { return Ok(0) };
    Ok(target::of(read, &name)?.generation())
}

/// Turns a report into what it means at the target: a success may become a failure. What the report says of the table
/// is stored in any case.
pub fn judged(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, task: &Task, said: Said) -> Result<Said> {
    let Some(name) = open::target_of(tx, key, task)? else { return Ok(said) };
    let happened = |tx: &mut Tx<'_>, event| target::happened(tx, at, (key, task), &name, event);
    Ok(match said {
        Said::Failed { missed: Some(ref found), .. } => {
            happened(tx, TargetEvent::Missed(found.clone()))?;
            said
        }
        Said::Done { step: Step::Schema, identity: Some(ref found), .. } if task.planned().makes_table => {
            happened(tx, TargetEvent::Seen(found.clone()))?;
            said
        }
        Said::Done { step: Step::Schema, identity: Some(ref found), .. } => {
            let known = target::of(tx, &name)?;
            if known.is(found) { said } else { gone(Step::Schema) }
        }
        Said::Done { step: Step::Schema, identity: None, .. } => {
            let text = "the worker says that SCHEMA is done, but not which table is there";
            failed(Step::Schema, ErrorReason::Internal, text)
        }
        Said::Done { step: Step::Look, look: Some(ref look), .. } => {
            let known = target::of(tx, &name)?;
            if !known.is(&look.identity) {
                happened(tx, TargetEvent::Missed(Some(look.identity.clone())))?;
                gone(Step::Look)
            } else if known.is_stale() || !task.is_of_generation(known.generation()) {
                gone(Step::Look)
            } else if look.different.0 > 0 {
                differs(tx, at, key, task, &name, look)?
            } else {
                said
            }
        }
        Said::Done { step: Step::Look, look: None, .. } => {
            failed(Step::Look, ErrorReason::Internal, "the worker says that LOOK is done, but not what it saw")
        }
        said => said,
    })
}

fn failed(step: Step, reason: ErrorReason, text: impl Into<String>) -> Said {
    let reason = Reason::new(reason, text);
    Said::Failed { step, permanent: false, reason, verification: None, missed: None, lost: Vec::new() }
}

fn gone(step: Step) -> Said {
    failed(step, ErrorReason::TargetGone, "the target table was made anew meanwhile: it is written again")
}

/// Takes back units that are not as they were published: the named ones, or the whole table if not all of them are
/// named.
fn differs(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, task: &Task, name: &TargetName, look: &Looked) -> Result<Said> {
    let (count, named) = &look.different;
    let mut lost = Vec::new();
    if i64::try_from(named.len()) == Ok(*count) {
        let places: BTreeSet<String> = named.iter().map(|unit| partition_text(&unit.partition)).collect();
        lost = own(task, &places);
        take_back(tx, at, key, task, &places)?;
    } else {
        target::happened(tx, at, (key, task), name, TargetEvent::Doubted)?;
    }
    let shown: Vec<String> = named.iter().take(10).map(shown).collect();
    let text = format!(
        "{count} units of the target are not as they were published ({}): they are written again; find out who else writes there",
        shown.join("; ")
    );
    let reason = Reason::new(ErrorReason::TargetChanged, text);
    Ok(Said::Failed { step: Step::Look, permanent: false, reason, verification: None, missed: None, lost })
}

fn shown(unit: &LookedUnit) -> String {
    let place = if unit.partition.is_empty() { "the table".to_owned() } else { partition_text(&unit.partition) };
    unit.rows.map_or_else(|| format!("{place} is missing"), |rows| format!("{place} has {rows} rows"))
}

/// Has the other tasks of the table write these units again.
fn take_back(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, task: &Task, lost: &BTreeSet<String>) -> Result<()> {
    let Some(table) = tx.get(&JOB_TABLES, &task.table_key(&key.job))? else { return Ok(()) };
    for number in table.tasks().filter(|number| *number != key.number) {
        let other = TaskKey { number, ..key.clone() };
        let Some(before) = tx.get(&TASKS, &other)? else { continue };
        let units = own(&before, lost);
        if units.is_empty() {
            continue;
        }
        let mut after = before.clone();
        after.apply(at, TaskEvent::UnitsLost(units))?;
        let text = "rows of this task are missing from the target, or have changed there: they are written again";
        log::write(tx, at, &other, &mut after, &Line::own(text))?;
        rollup::save(tx, at, &other, &before, after)?;
    }
    Ok(())
}

/// Returns those units of a task that are among these, by position.
fn own(task: &Task, lost: &BTreeSet<String>) -> Vec<usize> {
    let units = task.units.iter().enumerate();
    units.filter(|(_, unit)| lost.contains(&partition_text(&unit.partition))).map(|(index, _)| index).collect()
}

/// What a LOOK step that found everything as published means for its table. If the job takes only some of the
/// partitions (`of_part`), the look says nothing about the others: no surplus is reported and no digest is kept.
pub fn seen(task: &Task, look: Looked, of_part: bool) -> TableEvent {
    let (count, named) = &look.surplus;
    let surplus = (*count > 0 && !of_part).then(|| {
        let shown: Vec<String> = named.iter().take(10).map(|unit| partition_text(&unit.partition)).collect();
        Finding {
            severity: Severity::Note.into(),
            reason: FindingReason::TargetPartitionSurplus.into(),
            message: format!("the target has {count} partitions that the plan does not have: {}", shown.join(", ")),
            remedy: "drop there what must not stay, or move the table with target_policy REPLACE".to_owned(),
            ..Finding::default()
        }
    });
    let rows = task.steps().contains(&Step::Data).then_some(look.rows);
    let digest = if of_part { Vec::new() } else { look.digest };
    TableEvent::Looked { rows, digest, surplus }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, done, intent, task_key, there};
    use crate::record::{JobState, TaskState};

    /// A job of two tasks with only the LOOK step left, and the epoch of its lease.
    async fn at_look() -> (Fixture, crate::record::Epoch) {
        let fixture = Fixture::new(2).await;
        fixture.finish_one("a").await;
        fixture.finish_one("a").await;
        assert_eq!((*fixture.task(0).state, *fixture.task(1).state), (TaskState::VerificationDone, TaskState::Done));
        let granted = fixture.lease("a", 9).await;
        assert_eq!(granted.len(), 1);
        (fixture, granted[0].task.epoch)
    }

    fn looked(different: (i64, Vec<LookedUnit>), surplus: (i64, Vec<LookedUnit>)) -> Said {
        let look = Looked { identity: there(), rows: 14, different, surplus, digest: vec![1] };
        match done(Step::Look) {
            Said::Done { step, rows, bytes, verification, identity, .. } => {
                Said::Done { step, rows, bytes, verification, identity, look: Some(Box::new(look)) }
            }
            other => other,
        }
    }

    fn unit(index: usize) -> LookedUnit {
        LookedUnit { partition: intent(&[index]).units[0].partition.clone(), rows: None }
    }

    #[tokio::test]
    async fn units_that_a_look_misses_are_written_again() {
        let (fixture, epoch) = at_look().await;
        assert!(fixture.report(0, "a", epoch, looked((1, vec![unit(1)]), (0, Vec::new()))).await);
        let (looker, other) = (fixture.task(0), fixture.task(1));
        let reason = looker.reason.clone().expect("why");
        assert_eq!(reason.reason, ErrorReason::TargetChanged);
        assert!(reason.message.contains("pt=1 is missing"), "{}", reason.message);
        assert_eq!((*looker.state, looker.units[0].published), (TaskState::VerificationDone, true));
        assert_eq!((*other.state, other.units[0].published), (TaskState::Init, false));
        assert_eq!(*fixture.job().state, JobState::Running);
    }

    #[tokio::test]
    async fn a_look_that_cannot_name_all_takes_the_whole_table_back() {
        let (fixture, epoch) = at_look().await;
        assert!(fixture.report(0, "a", epoch, looked((9, vec![unit(1)]), (0, Vec::new()))).await);
        let name = crate::fixture::target();
        let known = fixture.store.read(|read| target::of(read, &name)).expect("readable");
        assert!(known.is_stale() && known.identity().is_some());
        assert!(fixture.lease("b", 9).await.is_empty(), "what is being taken back is not leased");
    }

    #[tokio::test]
    async fn a_look_that_finds_all_ends_the_job_and_tells_what_is_there_besides() {
        let (fixture, epoch) = at_look().await;
        assert!(fixture.report(0, "a", epoch, looked((0, Vec::new()), (1, vec![unit(7)]))).await);
        assert_eq!((*fixture.task(0).state, *fixture.job().state), (TaskState::Done, JobState::Done));
        let key = crate::fixture::table_key(&task_key(0).job);
        let table = fixture.store.read(|read| read.get(&JOB_TABLES, &key)).expect("readable").expect("there");
        assert_eq!((table.target_rows, &*table.target_digest), (Some(14), &[1][..]));
        let told = table.plan.findings.last().expect("a finding");
        assert_eq!(told.reason, FindingReason::TargetPartitionSurplus);
        let last = fixture.notices().pop().expect("told");
        assert_eq!(last.target_digest, [1], "the last word on the table");
    }
}
