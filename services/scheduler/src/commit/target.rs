//! Records what is known of target tables, inside a commit: which table exists under a name, and which of its rows
//! count. When a generation ends, the catalog is told that nothing is at the target any more.

use mms_store::{Read, Tx};

use crate::error::Result;
use crate::key::TaskKey;
use crate::moment::Moment;
use crate::record::{AtTarget, TargetEvent, TargetName, Task};
use crate::report::notice;
use crate::store::TARGETS;

/// Returns what is known of a target.
pub fn of(read: &impl Read, target: &TargetName) -> Result<AtTarget> {
    Ok(read.get(&TARGETS, &target.key())?.unwrap_or_default())
}

/// Stores an event of a target that a task has reported. Returns what is known after it.
pub fn happened(
    tx: &mut Tx<'_>,
    at: &Moment,
    (key, task): (&TaskKey, &Task),
    target: &TargetName,
    event: TargetEvent,
) -> Result<AtTarget> {
    let before = of(tx, target)?;
    let mut after = before.clone();
    after.apply(event);
    if after != before {
        tx.put(&TARGETS, &target.key(), &after)?;
    }
    if after.generation() > before.generation() && before.generation() > 0 {
        notice::dropped(tx, at, key, task)?;
    }
    Ok(after)
}

/// Notes that nobody knows what is in a target: nothing that was published there counts any more.
pub fn doubt(tx: &mut Tx<'_>, target: &TargetName) -> Result<()> {
    let mut known = of(tx, target)?;
    known.apply(TargetEvent::Doubted);
    Ok(tx.put(&TARGETS, &target.key(), &known)?)
}
