//! What people do to timers, inside a commit: create, change, delete. Who may is said by the caller's role, here as for jobs.

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

/// The least role of whoever has a job with this spec made, and why.
pub fn least_role(spec: &Spec) -> (Role, &'static str) {
    match *spec.target_policy {
        // They take what somebody else made.
        TargetPolicy::Replace => (Role::Admin, "target_policy REPLACE"),
        TargetPolicy::Adopt => (Role::Admin, "target_policy ADOPT"),
        _ if spec.drops_gone() => (Role::Admin, "dropped_policy DROP"),
        _ => (Role::Operator, "CreateJob"),
    }
}

/// Refuses a caller who may not have such a job made.
pub fn may(caller: &Caller, spec: &Spec) -> Result<(), ApiError> {
    let (least, what) = least_role(spec);
    caller.needs(least, what)
}

/// Stores a new timer.
pub fn create(tx: &mut Tx<'_>, key: &TimerKey, timer: Timer) -> Result<Timer> {
    if tx.get(&TIMERS, key)?.is_some() {
        return Err(SchedulerError::AlreadyExists(name::timer_name(key)));
    }
    run::keep(tx, key, timer)
}

/// What is changed of a timer.
pub struct Change<F> {
    /// If set, must be the current one.
    pub etag: String,
    /// What it is told, from what it was told before.
    pub tell: F,
    /// Who changes its job, if somebody does.
    pub maker: Option<String>,
    /// Whether it runs by itself; None: as before.
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

/// Deletes a timer with its runs; jobs it made stay.
pub fn delete(tx: &mut Tx<'_>, key: &TimerKey, etag: &str) -> Result<()> {
    let timer = run::find(tx, key)?;
    check_etag(key, &timer, etag)?;
    // At most 1,000.
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
