//! Commit intents, inside a commit of the store. At most one intent is open on a target unit, whichever worker asks;
//! one that drops rows of the table covers all its units. An intent outlives its lease, its task and its job: only its
//! resolution closes it. Every check comes before the first write, so that any answer but Granted and Fenced leaves the
//! store as it was.

use mms_proto::scheduler::v1::CommitOutcome;
use mms_proto::types::v1::TargetPolicy;
use mms_store::{Read, Tx};

use super::{gone, handed, open, sweep, target};
use crate::error::{Result, SchedulerError};
use crate::job::rollup;
use crate::key::TaskKey;
use crate::lease::held::held;
use crate::moment::Moment;
use crate::name;
use crate::record::{
    AtTarget, ClaimEvent, Effect, Epoch, Holder, Identity, Intent, IntentUnit, Job, Lineage, Step, TargetEvent, Task,
    TaskEvent, partition_text,
};
use crate::report::notice;
use crate::store::{INTENTS, JOB_TABLES, JOBS, LINEAGE, TASKS, UNITS};

/// The answer to a worker that wants to publish.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The intent is stored; the worker may commit.
    Granted,
    /// The lease is lost; the worker must drop the task.
    Fenced,
    /// Another intent on one of its units, or on its table, is open.
    Open(String, Box<Intent>),
}

/// Stores an intent if the worker holds the task and no other open intent covers one of its units. Grants again if the
/// same intent is stored already.
pub fn begin(
    tx: &mut Tx<'_>,
    at: &Moment,
    task_key: &TaskKey,
    holder: &Holder,
    epoch: Epoch,
    id: &str,
    asked: Intent,
) -> Result<Answer> {
    let Some(task) = held(tx, at, task_key, holder, epoch)? else { return Ok(Answer::Fenced) };
    let Some(job) = tx.get(&JOBS, &task_key.job)? else { return Ok(Answer::Fenced) };
    may_begin(tx, task_key, &task, &job, &asked)?;
    let known = known(tx, at, task_key, &task, &asked)?;
    if !asked.replaces() && !counts(&task, &known, asked.identity.as_ref()) {
        // The session was opened in a table that is gone. The task loses its lease too, so that the worker drops it.
        sweep::lose(tx, at, task_key, &task, &known)?;
        return Ok(Answer::Fenced);
    }
    let intent = Intent { generation: known.generation(), ..asked.of(task_key, job.uid(), at.now_ms) };
    if let Some(stored) = tx.get(&INTENTS, &id.to_owned())? {
        return if stored == (Intent { begin_time_ms: stored.begin_time_ms, ..intent }) {
            Ok(Answer::Granted)
        } else {
            Err(invalid("intent_id", "is that of another intent"))
        };
    }
    if let Some((open_id, open)) = open::other(tx, &intent)? {
        return Ok(Answer::Open(open_id, Box::new(open)));
    }
    for unit in open::units(&intent) {
        let mut claim = tx.get(&UNITS, &unit)?.unwrap_or_default();
        if let Some(gone) = claim.open_intent().map(str::to_owned) {
            // The claim names an intent that is no longer stored: a stored one would have been found above.
            claim.apply(ClaimEvent::Closed(&gone))?;
        }
        claim.apply(ClaimEvent::Opened(id))?;
        tx.put(&UNITS, &unit, &claim)?;
    }
    if intent.drops_table() {
        // Before the drop: if the catalog hears of it without the drop, at worst a table is moved unnecessarily.
        notice::dropped(tx, at, task_key, &task)?;
    }
    tx.put(&INTENTS, &id.to_owned(), &intent)?;
    Ok(Answer::Granted)
}

/// Returns what is known of the target. A task of a job that makes no tables accepts the table that it found.
fn known(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, task: &Task, asked: &Intent) -> Result<AtTarget> {
    match &asked.identity {
        Some(found) if !task.steps().contains(&Step::Schema) => {
            target::happened(tx, at, (key, task), &asked.target, TargetEvent::Seen(found.clone()))
        }
        _ => target::of(tx, &asked.target),
    }
}

/// Whether a session in this table publishes into the present one, in the generation that the task knows.
fn counts(task: &Task, known: &AtTarget, session: Option<&Identity>) -> bool {
    session.is_some_and(|session| known.is(session)) && task.is_of_generation(known.generation())
}

fn invalid(field: &str, text: impl Into<String>) -> SchedulerError {
    SchedulerError::Invalid(vec![mms_proto::FieldViolation::new(format!("intent.{field}"), text)])
}

/// Rejects an intent that this task may not open.
fn may_begin(tx: &Tx<'_>, key: &TaskKey, task: &Task, job: &Job, intent: &Intent) -> Result<()> {
    let name = name::task_name(key);
    if open::target_of(tx, key, task)?.is_none_or(|target| target.key() != intent.target.key()) {
        return Err(invalid("target", format!("is not the target of {name}")));
    }
    if intent.replaces() {
        let remakes = task.planned().makes_table && job.spec().target_policy == TargetPolicy::Replace;
        if !remakes && !gone::may_drop(tx, key, task, job, intent)? {
            let text = "is for the task that makes the table, of a job with policy REPLACE, or of partitions that the plan names as gone, for \
                        the task that looks at the table, of a job with dropped_policy DROP";
            return Err(invalid("replace", format!("{text}: {name} is no such task")));
        }
        if !intent.units.is_empty() {
            return Err(invalid("units", "must be empty with replace, which covers the whole table"));
        }
        return Ok(());
    }
    let own = |unit: &IntentUnit| {
        let own = usize::try_from(unit.unit_index).ok().and_then(|index| task.units.get(index));
        own.is_some_and(|own| partition_text(&own.partition) == partition_text(&unit.partition))
    };
    if intent.identity.is_none() {
        return Err(invalid("identity", "is needed: the table that the session was made in"));
    }
    if intent.units.is_empty() || !intent.units.iter().all(own) {
        return Err(invalid("units", format!("must name one or more units of {name}, and no others")));
    }
    Ok(())
}

/// Takes the outcome of an intent from a worker whose task has the same target and one of its units. Returns false if
/// the worker does not hold the task. An intent that was resolved already is accepted again.
pub fn resolve(
    tx: &mut Tx<'_>,
    at: &Moment,
    task_key: &TaskKey,
    holder: &Holder,
    epoch: Epoch,
    id: &str,
    outcome: CommitOutcome,
) -> Result<bool> {
    let Some(task) = held(tx, at, task_key, holder, epoch)? else { return Ok(false) };
    let Some(intent) = tx.get(&INTENTS, &id.to_owned())? else { return Ok(true) };
    if !concerns(tx, task_key, &task, &intent)? {
        return Err(invalid("intent_id", format!("`{id}` is on no unit of {}", name::task_name(task_key))));
    }
    for unit in open::units(&intent) {
        if let Some(mut claim) = tx.get(&UNITS, &unit)?
            && claim.apply(ClaimEvent::Closed(id)).is_ok()
        {
            tx.put(&UNITS, &unit, &claim)?;
        }
    }
    tx.delete(&INTENTS, &id.to_owned())?;
    match intent.resolve(outcome) {
        // Nothing in the table counts any more, whoever wrote it.
        Effect::Dropped(target, partitions) if partitions.is_empty() => {
            target::happened(tx, at, (task_key, &task), &target, TargetEvent::Dropped)?;
        }
        Effect::Dropped(target, partitions) => {
            for partition in partitions {
                tx.delete(&LINEAGE, &target.unit_key(&partition.values))?;
            }
        }
        Effect::Published(intent) => publish(tx, at, id, &intent)?,
        Effect::Nothing => {}
    }
    Ok(true)
}

/// Cancels an intent that drops the table or partitions and whose statement cannot start any more, because nobody can
/// say whether it ran. If it drops the table, nothing that was published there counts any more. Rejected while somebody
/// may still send its statement.
pub fn cancel(tx: &mut Tx<'_>, at: &Moment, id: &str) -> Result<Intent> {
    let name = || format!("intents/{id}");
    let intent = tx.get(&INTENTS, &id.to_owned())?.ok_or_else(|| SchedulerError::NotFound(name()))?;
    let key = intent.task_key();
    if !intent.replaces() || !handed::is_silent(tx, at, &intent)? {
        return Err(SchedulerError::IntentStands { intent: name(), task: name::task_name(&key) });
    }
    tx.delete(&INTENTS, &id.to_owned())?;
    if intent.drops_table() {
        target::doubt(tx, &intent.target)?;
    }
    Ok(intent)
}

/// Whether an intent is on a unit of this task.
fn concerns(read: &impl Read, key: &TaskKey, task: &Task, intent: &Intent) -> Result<bool> {
    if open::target_of(read, key, task)?.is_none_or(|target| target.key() != intent.target.key()) {
        return Ok(false);
    }
    // The task that makes the table is blocked by an intent on any unit of it, even on one that no plan has any more.
    if intent.replaces() || task.planned().makes_table {
        return Ok(true);
    }
    let own: Vec<String> = task.units.iter().map(|unit| partition_text(&unit.partition)).collect();
    Ok(intent.units.iter().any(|unit| own.contains(&partition_text(&unit.partition))))
}

/// Records that an intent was committed: publishes its units and stores their lineage, if the job that wrote them still
/// exists.
fn publish(tx: &mut Tx<'_>, at: &Moment, id: &str, intent: &Intent) -> Result<()> {
    let key = intent.task_key();
    if target::of(tx, &intent.target)?.generation() != intent.generation {
        // It was committed into a table that is gone.
        return Ok(());
    }
    let same = tx.get(&JOBS, &key.job)?.is_some_and(|job| job.uid() == intent.job_uid);
    let Some(before) = tx.get(&TASKS, &key)?.filter(|_| same) else {
        // The job was deleted. Its rows have replaced those that the lineage of these units names.
        for unit in open::units(intent) {
            tx.delete(&LINEAGE, &unit)?;
        }
        return Ok(());
    };
    let table_key = before.table_key(&key.job);
    let version = tx.get(&JOB_TABLES, &table_key)?.and_then(|table| table.into_plan().version);
    let mut task = before.clone();
    for unit in &intent.units {
        let index = usize::try_from(unit.unit_index).ok().filter(|index| *index < task.units.len());
        if let Some(index) = index {
            let generation = intent.generation;
            task.apply(at, TaskEvent::UnitPublished { generation, index, rows: unit.rows, bytes: unit.bytes })?;
        }
        let entry = Lineage {
            time_ms: at.now_ms,
            target: intent.target.clone(),
            partition: unit.partition.clone(),
            table: name::source_table_name(&table_key)?,
            version: version.clone(),
            task: name::task_name(&key),
            intent_id: id.to_owned(),
            rows: unit.rows,
            data_source: key.job.data_source.clone(),
            job_uid: intent.job_uid.clone(),
            generation: intent.generation,
        };
        tx.put(&LINEAGE, &intent.target.unit_key(&unit.partition), &entry)?;
    }
    rollup::save(tx, at, &key, &before, task)
}
