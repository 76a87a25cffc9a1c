//! What is known of target tables, inside a commit: which table of its name there is, and what of it counts. Whoever renews a
//! generation has the catalog told that nothing is there any more.

use mms_store::{Read, Tx};

use crate::error::Result;
use crate::key::TaskKey;
use crate::moment::Moment;
use crate::record::{AtTarget, TargetEvent, TargetName, Task};
use crate::report::notice;
use crate::store::TARGETS;

/// What is known of a target.
pub fn of(read: &impl Read, target: &TargetName) -> Result<AtTarget> {
    Ok(read.get(&TARGETS, &target.key())?.unwrap_or_default())
}

/// Stores what happened to a target, as a task has it; what is known then.
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

/// Nobody knows what is in a target any more: what was published there counts no more.
pub fn doubt(tx: &mut Tx<'_>, target: &TargetName) -> Result<()> {
    let mut known = of(tx, target)?;
    known.apply(TargetEvent::Doubted);
    Ok(tx.put(&TARGETS, &target.key(), &known)?)
}
