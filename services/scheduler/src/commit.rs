//! Commit intents, inside a commit of the store: of one target unit at most one is open, whoever asks. An intent outlives
//! its lease, its task and its job; only its resolution closes it.

use mms_proto::scheduler::v1::CommitOutcome;
use mms_store::{Read, Tx};

use crate::error::{Result, SchedulerError};
use crate::key;
use crate::lease::{self, Epoch, Holder};
use crate::record::{Intent, Lineage, Task};
use crate::rollup::{self, Moment};
use crate::store::{INTENTS, JOB_TABLES, JOBS, LINEAGE, TASKS, TaskKey, UNITS, UnitKey};

/// What is said to a worker that wants to publish.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The intent is stored.
    Granted,
    /// The lease is lost.
    Fenced,
    /// Another intent on one of the units is open.
    Open(String, Box<Intent>),
}

/// The units an intent covers.
fn units(intent: &Intent) -> Vec<UnitKey> {
    intent.units.iter().map(|unit| key::unit_key(&intent.target, &unit.partition)).collect()
}

/// Stores an intent if the worker holds the task and no other intent on its units is open. Asked again for the same
/// intent, it grants again.
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
    if !covers(tx, task_key, &task, &intent)? {
        return Err(SchedulerError::Invalid(vec![mms_proto::FieldViolation::new(
            "requests.intent.units",
            format!("names a unit that {} does not own", key::task_name(task_key)),
        )]));
    }
    for unit in units(&intent) {
        let mut claim = tx.get(&UNITS, &unit)?.unwrap_or_default();
        if !claim.open_intent.is_empty() && claim.open_intent != id {
            let open = tx.get(&INTENTS, &claim.open_intent)?;
            return Ok(open.map_or(Answer::Fenced, |open| Answer::Open(claim.open_intent, Box::new(open))));
        }
        id.clone_into(&mut claim.open_intent);
        tx.put(&UNITS, &unit, &claim)?;
    }
    intent.data_source.clone_from(&task_key.0);
    intent.job.clone_from(&task_key.1);
    intent.task = task_key.2;
    intent.job_uid = job.uid;
    intent.begin_time_ms = at.now_ms;
    tx.put(&INTENTS, &id.to_owned(), &intent)?;
    Ok(Answer::Granted)
}

/// Whether all units of an intent are the task's own, at its own target.
fn covers(tx: &Tx<'_>, key: &TaskKey, task: &Task, intent: &Intent) -> Result<bool> {
    let table = tx.get(&JOB_TABLES, &key::table_of(key, task))?;
    let target = table.and_then(|table| table.target).and_then(|target| target.name);
    Ok(target.is_some_and(|name| name.key() == intent.target.key())
        && intent.units.iter().all(|unit| {
            let own = usize::try_from(unit.unit_index).ok().and_then(|index| task.units.get(index));
            own.is_some_and(|own| key::partition_text(&own.partition) == key::partition_text(&unit.partition))
        }))
}

/// Takes the outcome of an intent from a worker that holds a task which owns one of its units. False: it holds none.
/// An intent that is resolved already is taken again.
pub fn resolve(
    tx: &mut Tx<'_>,
    at: &Moment,
    task_key: &TaskKey,
    holder: &Holder,
    epoch: Epoch,
    id: &str,
    outcome: CommitOutcome,
) -> Result<bool> {
    match lease::held(tx, at, task_key, holder, epoch) {
        Ok(_) => {}
        Err(SchedulerError::Fenced(_)) => return Ok(false),
        Err(error) => return Err(error),
    }
    let Some(intent) = tx.get(&INTENTS, &id.to_owned())? else { return Ok(true) };
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
        publish(tx, at, id, &intent)?;
    }
    Ok(true)
}

/// Records that an intent was applied: its units are published, if their task still is the one that wrote them.
fn publish(tx: &mut Tx<'_>, at: &Moment, id: &str, intent: &Intent) -> Result<()> {
    let key: TaskKey = (intent.data_source.clone(), intent.job.clone(), intent.task);
    let job = tx.get(&JOBS, &key::job_of(&key))?.filter(|job| job.uid == intent.job_uid);
    let (Some(_), Some(before)) = (job, tx.get(&TASKS, &key)?) else { return Ok(()) };
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
    let mut open: Vec<(String, Intent)> = Vec::new();
    for unit in &task.units {
        let claim = read.get(&UNITS, &key::unit_key(&target, &unit.partition))?.unwrap_or_default();
        if claim.open_intent.is_empty() || open.iter().any(|(id, _)| *id == claim.open_intent) {
            continue;
        }
        if let Some(intent) = read.get(&INTENTS, &claim.open_intent)? {
            open.push((claim.open_intent, intent));
        }
    }
    Ok(open)
}
