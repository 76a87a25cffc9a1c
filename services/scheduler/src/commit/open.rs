//! Finds open intents by unit, task and table. Reads only.

use std::ops::ControlFlow;

use mms_store::{Read, Scope};

use crate::error::Result;
use crate::key::{TaskKey, UnitKey};
use crate::record::{Intent, TargetName, Task};
use crate::store::{INTENTS, JOB_TABLES, REPLACEMENTS, UNITS};

/// The id of an intent, and the intent.
pub type Open = (String, Intent);

/// The units that an intent covers. Empty for one that drops rows of the table, which covers all its units.
pub fn units(intent: &Intent) -> Vec<UnitKey> {
    intent.units.iter().map(|unit| intent.target.unit_key(&unit.partition)).collect()
}

/// The target table of a task, if it is known.
pub fn target_of(read: &impl Read, key: &TaskKey, task: &Task) -> Result<Option<TargetName>> {
    let table = read.get(&JOB_TABLES, &task.table_key(&key.job))?;
    Ok(table.and_then(|table| table.into_plan().target).and_then(|target| target.name))
}

/// Returns the open intents on the units of a task, whoever opened them.
pub fn of_task(read: &impl Read, key: &TaskKey, task: &Task) -> Result<Vec<Open>> {
    let Some(target) = target_of(read, key, task)? else { return Ok(Vec::new()) };
    let mut open: Vec<Open> = replacement(read, &target)?.into_iter().collect();
    for unit in &task.units {
        let found = on_unit(read, &target.unit_key(&unit.partition))?;
        open.extend(found.filter(|(found, _)| open.iter().all(|(id, _)| id != found)));
    }
    Ok(open)
}

/// Returns an open intent that covers a unit which this intent, not yet stored, would cover too.
pub fn other(read: &impl Read, intent: &Intent) -> Result<Option<Open>> {
    let replacement = replacement(read, &intent.target)?;
    if replacement.is_some() {
        return Ok(replacement);
    }
    let mut covered = units(intent);
    if intent.replaces() {
        read.scan(&UNITS, &Scope::prefix(&intent.target.key()), |unit, claim| {
            covered.extend(claim.open_intent().map(|_| unit));
            ControlFlow::Continue(())
        })?;
    }
    for unit in covered {
        let found = on_unit(read, &unit)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The intent that the claim of a unit names; None if it names none, or one that was resolved.
fn on_unit(read: &impl Read, unit: &UnitKey) -> Result<Option<Open>> {
    let claim = read.get(&UNITS, unit)?.unwrap_or_default();
    let Some(id) = claim.open_intent() else { return Ok(None) };
    Ok(read.get(&INTENTS, &id.to_owned())?.map(|intent| (id.to_owned(), intent)))
}

/// The open intent that drops a table or partitions of it.
pub fn replacement(read: &impl Read, target: &TargetName) -> Result<Option<Open>> {
    Ok(read.index_page(&INTENTS, &REPLACEMENTS, &Scope::exactly(&target.key()), None, 1)?.items.pop())
}
