//! The calls that change timers, inside a commit: create, change, delete. The role that they need follows from the job
//! spec, as for jobs.

use mms_proto::types::v1::TargetPolicy;
use mms_proto::{ApiError, Role};
use mms_server::Caller;
use mms_store::{Read, Scope, Tx};

use super::run;
use crate::error::{Result, SchedulerError};
use crate::key::TimerKey;
use crate::moment::Moment;
use crate::name;
use crate::pages::clear_some;
use crate::record::{Spec, Timer, TimerEvent, Told};
use crate::store::{TIMER_RUNS, TIMERS};

/// Returns the least role of a caller who may have a job with this spec made, and what needs that role.
pub fn least_role(spec: &Spec) -> (Role, &'static str) {
    match *spec.target_policy {
        // Both policies take over tables that somebody else made.
        TargetPolicy::Replace => (Role::Admin, "target_policy REPLACE"),
        TargetPolicy::Adopt => (Role::Admin, "target_policy ADOPT"),
        _ if spec.drops_gone() => (Role::Admin, "dropped_policy DROP"),
        _ => (Role::Operator, "CreateJob"),
    }
}

/// Rejects a caller whose role does not allow a job with this spec.
pub fn may(caller: &Caller, spec: &Spec) -> Result<(), ApiError> {
    let (least, what) = least_role(spec);
    caller.needs(least, what)
}

/// Stores a new timer. An error if its id is taken.
pub fn create(tx: &mut Tx<'_>, key: &TimerKey, timer: Timer) -> Result<Timer> {
    if tx.get(&TIMERS, key)?.is_some() {
        return Err(SchedulerError::AlreadyExists(name::timer_name(key)));
    }
    run::keep(tx, key, timer)
}

/// A change of a timer.
pub struct Change<F> {
    /// The etag that the timer must have; empty for any.
    pub etag: String,
    /// Computes its new settings from the present ones.
    pub tell: F,
    /// The caller, if the job spec changes; its runs then have that caller's rights.
    pub maker: Option<String>,
    /// Some(true) resumes it, Some(false) pauses it, None leaves its state as it is.
    pub active: Option<bool>,
}

/// Changes a timer.
pub fn change<F: FnOnce(Told) -> Told>(
    tx: &mut Tx<'_>,
    at: &Moment,
    key: &TimerKey,
    change: Change<F>,
) -> Result<Timer> {
    let Change { etag, tell, maker, active } = change;
    let mut timer = run::find(tx, key)?;
    check_etag(key, &timer, &etag)?;
    let told = Box::new(tell(timer.told.clone()));
    timer.apply(at, TimerEvent::Told { told, maker })?;
    match active {
        Some(true) => timer.apply(at, TimerEvent::Resumed)?,
        Some(false) => timer.apply(at, TimerEvent::Paused)?,
        None => {}
    }
    run::keep(tx, key, timer)
}

/// Deletes a timer with its runs. Jobs that it made stay.
pub fn delete(tx: &mut Tx<'_>, key: &TimerKey, etag: &str) -> Result<()> {
    let timer = run::find(tx, key)?;
    check_etag(key, &timer, etag)?;
    // A timer has at most 1,000 runs.
    while clear_some(tx, &TIMER_RUNS, &Scope::prefix(key))? {}
    tx.delete(&TIMERS, key)?;
    Ok(())
}

fn check_etag(key: &TimerKey, timer: &Timer, etag: &str) -> Result<()> {
    if etag.is_empty() || etag == timer.revision.to_string() {
        Ok(())
    } else {
        Err(SchedulerError::EtagMismatch(name::timer_name(key)))
    }
}
