//! Tracks who may still send the statement of an open intent that drops a table or partitions: each holder of a lease
//! of a task there, and each earlier holder as long as the date in a signed request is valid. Decides when such an
//! intent may be cancelled; it knows nothing of what the statement did.

use mms_store::{Read, Scope, Tx};

use super::open;
use crate::error::Result;
use crate::moment::Moment;
use crate::record::{Intent, TargetName};
use crate::store::{INTENTS, LEASED_TASKS, TASKS};

/// How long no task of the target may have been leased before an intent is cancelled. The date that a statement is
/// signed with is valid for 15 minutes, and clocks differ.
const SILENCE_MS: i64 = 20 * 60 * 1_000;

/// Notes that a lease of a task of this target began or ended: its holder knows the open intent there and may send its
/// statement.
pub fn note(tx: &mut Tx<'_>, at: &Moment, target: &TargetName) -> Result<()> {
    if let Some((id, mut intent)) = open::replacement(tx, target)? {
        intent.handed_ms = at.now_ms;
        tx.put(&INTENTS, &id, &intent)?;
    }
    Ok(())
}

/// Whether nobody can send the statement of an intent any more.
pub fn is_silent(read: &impl Read, at: &Moment, intent: &Intent) -> Result<bool> {
    let last = intent.begin_time_ms.max(intent.handed_ms);
    if at.now_ms - last < SILENCE_MS {
        return Ok(false);
    }
    let mut next = None;
    loop {
        let page = read.index_page(&TASKS, &LEASED_TASKS, &Scope::all(), next.as_ref(), 500)?;
        for (key, task) in page.items {
            if open::target_of(read, &key, &task)?.is_some_and(|target| target.key() == intent.target.key()) {
                return Ok(false);
            }
        }
        match page.next {
            Some(cursor) => next = Some(cursor),
            None => return Ok(true),
        }
    }
}
