//! Commit intents, inside a commit of the store: of one target unit at most one is open, whoever asks, and one that
//! replaces a table covers all its units. An intent outlives its lease, its task and its job; only its resolution closes
//! it. Every check is made before the first write: an answer other than Granted leaves the store as it was.

use std::ops::ControlFlow;

use mms_proto::scheduler::v1::CommitOutcome;
use mms_proto::types::v1::TargetPolicy;
use mms_store::{Read, Scope, Tx};

use crate::error::{Result, SchedulerError};
use crate::key;
use crate::lease::{self, Epoch, Holder};
use crate::notice;
use crate::record::{Intent, IntentUnit, Job, Lineage, TargetName, Task};
use crate::rollup::{self, Moment};
use crate::store::{INTENTS, JOB_TABLES, JOBS, LINEAGE, REPLACEMENTS, TASKS, TaskKey, UNITS, UnitKey};

/// What is said to a worker that wants to publish.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The intent is stored.
    Granted,
    /// The lease is lost.
    Fenced,
    /// Another intent on one of its units, or on its table, is open.
    Open(String, Box<Intent>),
}

/// The units an intent covers; none for one that replaces the table, which covers them all.
fn units(intent: &Intent) -> Vec<UnitKey> {
    intent.units.iter().map(|unit| key::unit_key(&intent.target, &unit.partition)).collect()
}

/// Stores an intent if the worker holds the task and no other intent on what it covers is open. Asked again for the same
/// intent, it grants again. Nothing is written unless it is granted.
pub fn begin(
    tx: &mut Tx<'_>,
    at: &Moment,
    task_key: &TaskKey,
    holder: &Holder,
    epoch: Epoch,
    id: &str,
    mut intent: Intent,
) -> Result<Answer> {
    let task = match lease::held(tx, at, task_key, holder, epoch) {
        Ok(task) => task,
        Err(SchedulerError::Fenced(_)) => return Ok(Answer::Fenced),
        Err(error) => return Err(error),
    };
    let Some(job) = tx.get(&JOBS, &key::job_of(task_key))? else { return Ok(Answer::Fenced) };
    may_begin(tx, task_key, &task, &job, &intent)?;
    intent.data_source.clone_from(&task_key.0);
    intent.job.clone_from(&task_key.1);
    intent.task = task_key.2;
    intent.job_uid = job.uid;
    if let Some(stored) = tx.get(&INTENTS, &id.to_owned())? {
        intent.begin_time_ms = stored.begin_time_ms;
        return if stored == intent {
            Ok(Answer::Granted)
        } else {
            Err(invalid("intent_id", "is that of another intent"))
        };
    }
    if let Some((open_id, open)) = other_open(tx, &intent)? {
        return Ok(Answer::Open(open_id, Box::new(open)));
    }
    for unit in units(&intent) {
        let mut claim = tx.get(&UNITS, &unit)?.unwrap_or_default();
        id.clone_into(&mut claim.open_intent);
        tx.put(&UNITS, &unit, &claim)?;
    }
    if intent.replaces() {
        notice::dropped(tx, at, task_key, &task)?;
    }
    intent.begin_time_ms = at.now_ms;
    tx.put(&INTENTS, &id.to_owned(), &intent)?;
    Ok(Answer::Granted)
}

fn invalid(field: &str, text: impl Into<String>) -> SchedulerError {
    SchedulerError::Invalid(vec![mms_proto::FieldViolation::new(format!("intent.{field}"), text)])
}

/// Refuses an intent that is not this task's to have.
fn may_begin(tx: &Tx<'_>, key: &TaskKey, task: &Task, job: &Job, intent: &Intent) -> Result<()> {
    let name = key::task_name(key);
    let table = tx.get(&JOB_TABLES, &key::table_of(key, task))?;
    let target = table.and_then(|table| table.target).and_then(|target| target.name);
    if target.is_none_or(|target| target.key() != intent.target.key()) {
        return Err(invalid("target", format!("is not the target of {name}")));
    }
    if intent.replaces() {
        if !task.makes_table || job.spec.target_policy != TargetPolicy::Replace as i32 {
            let text = "is for the task that makes the table, of a job with policy REPLACE";
            return Err(invalid("replace", format!("{text}: {name} is no such task")));
        }
        if !intent.units.is_empty() {
            return Err(invalid("units", "must be empty with replace, which covers the whole table"));
        }
        return Ok(());
    }
    let own = |unit: &IntentUnit| {
        let own = usize::try_from(unit.unit_index).ok().and_then(|index| task.units.get(index));
        own.is_some_and(|own| key::partition_text(&own.partition) == key::partition_text(&unit.partition))
    };
    if intent.units.is_empty() || !intent.units.iter().all(own) {
        return Err(invalid("units", format!("must name one or more units of {name}, and no others")));
    }
    Ok(())
}

/// An open intent on anything that an intent, which is not stored yet, covers.
fn other_open(read: &impl Read, intent: &Intent) -> Result<Option<(String, Intent)>> {
    let mut found = replacement(read, &intent.target)?;
    let mut claims = Vec::new();
    if intent.replaces() {
        read.scan(&UNITS, &Scope::prefix(&(intent.target.key(),)), |_, claim| {
            claims.push(claim.open_intent);
            ControlFlow::Continue(())
        })?;
    } else {
        for unit in units(intent) {
            claims.push(read.get(&UNITS, &unit)?.unwrap_or_default().open_intent);
        }
    }
    for id in claims {
        if found.is_none() {
            found = stored(read, &id)?;
        }
    }
    Ok(found)
}

/// The intent that a claim names; none if it names none, or one that was resolved.
fn stored(read: &impl Read, id: &str) -> Result<Option<(String, Intent)>> {
    if id.is_empty() {
        return Ok(None);
    }
    Ok(read.get(&INTENTS, &id.to_owned())?.map(|intent| (id.to_owned(), intent)))
}

/// The open intent that replaces a table.
fn replacement(read: &impl Read, target: &TargetName) -> Result<Option<(String, Intent)>> {
    Ok(read.index_page(&INTENTS, &REPLACEMENTS, &Scope::exactly(&target.key()), None, 1)?.items.pop())
}

/// Takes the outcome of an intent from a worker that holds a task of its target which owns one of its units. False: it
/// holds none. An intent that is resolved already is taken again.
pub fn resolve(
    tx: &mut Tx<'_>,
    at: &Moment,
    task_key: &TaskKey,
    holder: &Holder,
    epoch: Epoch,
    id: &str,
    outcome: CommitOutcome,
) -> Result<bool> {
    let task = match lease::held(tx, at, task_key, holder, epoch) {
        Ok(task) => task,
        Err(SchedulerError::Fenced(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let Some(intent) = tx.get(&INTENTS, &id.to_owned())? else { return Ok(true) };
    if !concerns(tx, task_key, &task, &intent)? {
        return Err(invalid("intent_id", format!("`{id}` is on no unit of {}", key::task_name(task_key))));
    }
    for unit in units(&intent) {
        if let Some(mut claim) = tx.get(&UNITS, &unit)?
            && claim.open_intent == id
        {
            claim.open_intent.clear();
            tx.put(&UNITS, &unit, &claim)?;
        }
    }
    tx.delete(&INTENTS, &id.to_owned())?;
    if outcome == CommitOutcome::Committed {
        match intent.replaces() {
            // Nothing of the table is there any more, whoever wrote it: a job that comes back writes its units again.
            true => forget(tx, &intent.target)?,
            false => publish(tx, at, id, &intent)?,
        }
    }
    Ok(true)
}

/// Whether an intent stands in the way of a task.
fn concerns(read: &impl Read, key: &TaskKey, task: &Task, intent: &Intent) -> Result<bool> {
    let table = read.get(&JOB_TABLES, &key::table_of(key, task))?;
    let target = table.and_then(|table| table.target).and_then(|target| target.name);
    if target.is_none_or(|target| target.key() != intent.target.key()) {
        return Ok(false);
    }
    // A task that replaces the table is stopped by an intent on any unit of it, also one that no plan names any more.
    if intent.replaces() || task.makes_table {
        return Ok(true);
    }
    let own: Vec<String> = task.units.iter().map(|unit| key::partition_text(&unit.partition)).collect();
    Ok(intent.units.iter().any(|unit| own.contains(&key::partition_text(&unit.partition))))
}

/// Forgets who wrote what into a table that was dropped.
fn forget(tx: &mut Tx<'_>, target: &TargetName) -> Result<()> {
    let mut gone = Vec::new();
    tx.scan(&LINEAGE, &Scope::prefix(&(target.key(),)), |unit, _| {
        gone.push(unit);
        ControlFlow::Continue(())
    })?;
    for unit in gone {
        tx.delete(&LINEAGE, &unit)?;
    }
    Ok(())
}

/// Records that an intent was applied: its units are published, if their task still is the one that wrote them.
fn publish(tx: &mut Tx<'_>, at: &Moment, id: &str, intent: &Intent) -> Result<()> {
    let key: TaskKey = (intent.data_source.clone(), intent.job.clone(), intent.task);
    let job = tx.get(&JOBS, &key::job_of(&key))?.filter(|job| job.uid == intent.job_uid);
    let (Some(_), Some(before)) = (job, tx.get(&TASKS, &key)?) else {
        // Rows of a job that is gone: whoever wrote the units before has them no more.
        for unit in &intent.units {
            tx.delete(&LINEAGE, &key::unit_key(&intent.target, &unit.partition))?;
        }
        return Ok(());
    };
    let table = tx.get(&JOB_TABLES, &key::table_of(&key, &before))?;
    let mut task = before.clone();
    for unit in &intent.units {
        let own = usize::try_from(unit.unit_index).ok().and_then(|index| task.units.get_mut(index));
        if let Some(own) = own {
            own.published = true;
            own.published_rows = unit.rows;
            own.published_bytes = unit.bytes;
        }
        let entry = Lineage {
            time_ms: at.now_ms,
            target: intent.target.clone(),
            partition: unit.partition.clone(),
            table: key::table_name(&key.0, &before.schema, &before.table)?,
            version: table.as_ref().and_then(|table| table.version.clone()),
            task: key::task_name(&key),
            intent_id: id.to_owned(),
            rows: unit.rows,
            data_source: key.0.clone(),
            job_uid: intent.job_uid.clone(),
        };
        tx.put(&LINEAGE, &key::unit_key(&intent.target, &unit.partition), &entry)?;
    }
    rollup::save(tx, at, &key, &before, task)
}

/// Open intents on the units of a task, whoever opened them.
pub fn open_of(read: &impl Read, key: &TaskKey, task: &Task) -> Result<Vec<(String, Intent)>> {
    let table = read.get(&JOB_TABLES, &key::table_of(key, task))?;
    let Some(target) = table.and_then(|table| table.target).and_then(|target| target.name) else {
        return Ok(Vec::new());
    };
    let mut open: Vec<(String, Intent)> = replacement(read, &target)?.into_iter().collect();
    for unit in &task.units {
        let claim = read.get(&UNITS, &key::unit_key(&target, &unit.partition))?.unwrap_or_default();
        if open.iter().all(|(id, _)| *id != claim.open_intent) {
            open.extend(stored(read, &claim.open_intent)?);
        }
    }
    Ok(open)
}
