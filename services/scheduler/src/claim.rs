//! Who may write where, inside a commit. A job claims the units it publishes, and each target table that it writes into:
//! making or dropping a table concerns all its units. A claim holds as long as its job lives. This says who is first; that
//! of two writers only one commits is the business of [`crate::commit`].

use std::ops::ControlFlow;

use mms_proto::types::v1::TargetPolicy;
use mms_store::{Read, Scope, Tx};

use crate::change;
use crate::error::{Result, SchedulerError};
use crate::job::JobState;
use crate::key;
use crate::record::{Job, TableClaim, Target, TargetName, Unit, UnitClaim};
use crate::store::{JOB_TABLES, JOBS, JobKey, TABLE_CLAIMS, TableClaimKey, TableKey, UNITS, UnitKey};

/// Whether a claim of this job holds.
fn holds(read: &impl Read, key: &JobKey, uid: &str) -> Result<bool> {
    let job = read.get(&JOBS, key)?.filter(|job| job.uid == uid);
    Ok(job.is_some_and(|job| JobState::of(&job).is_some_and(JobState::owns_units) || change::claims(&job)))
}

fn owned(target: String, job: &JobKey, by: &str) -> SchedulerError {
    SchedulerError::TargetOwned { target, job: format!("{}{by}", key::job_name(job)) }
}

/// What claims a target table for a table of a job: together with other jobs of the same source table that make the same
/// table and drop nothing, or alone. `None`: it is claimed already.
fn table(
    tx: &mut Tx<'_>,
    key: &TableKey,
    job: &Job,
    target: &Target,
    name: &TargetName,
) -> Result<Option<(TableClaimKey, TableClaim)>> {
    let own: TableClaimKey = (name.key(), key.0.clone(), key.1.clone());
    let claim = TableClaim {
        job_uid: job.uid.clone(),
        schema: key.2.clone(),
        table: key.3.clone(),
        replaces: job.spec.target_policy == TargetPolicy::Replace as i32,
    };
    let mut others: Vec<(TableClaimKey, TableClaim)> = Vec::new();
    tx.scan(&TABLE_CLAIMS, &Scope::prefix(&(name.key(),)), |at, other| {
        others.push((at, other));
        ControlFlow::Continue(())
    })?;
    let mut known = false;
    for (at, other) in others {
        let by: JobKey = (at.1.clone(), at.2.clone());
        let same_source = at.1 == key.0 && (&other.schema, &other.table) == (&key.2, &key.3);
        if at == own && other.job_uid == job.uid {
            if !same_source {
                return Err(owned(name.key(), &by, &format!(" for table {}.{}", other.schema, other.table)));
            }
            known = other == claim;
        } else if !holds(tx, &by, &other.job_uid)? {
            tx.delete(&TABLE_CLAIMS, &at)?;
        } else if claim.replaces || other.replaces || !same_source || !same_table(tx, &by, &other, target)? {
            return Err(owned(name.key(), &by, ""));
        }
    }
    Ok((!known).then_some((own, claim)))
}

/// Whether the other job makes the very table that this one makes.
fn same_table(read: &impl Read, job: &JobKey, claim: &TableClaim, target: &Target) -> Result<bool> {
    let key: TableKey = (job.0.clone(), job.1.clone(), claim.schema.clone(), claim.table.clone());
    let other = read.get(&JOB_TABLES, &key)?.and_then(|table| table.target);
    Ok(other.is_none_or(|other| other == *target))
}

/// Claims a target table and some of its units: all of them, or on an error nothing.
pub fn units(tx: &mut Tx<'_>, key: &TableKey, job: &Job, target: &Target, units: &[Unit]) -> Result<()> {
    let Some(name) = &target.name else { return Ok(()) };
    let whole = table(tx, key, job, target, name)?;
    let (job_key, source) = ((key.0.clone(), key.1.clone()), format!("{}.{}", key.2, key.3));
    let mut each = Vec::new();
    for own in units {
        let at = key::unit_key(name, &own.partition);
        if let Some(claim) = unit(tx, &job_key, &job.uid, &source, &at)? {
            each.push((at, claim));
        }
    }
    if let Some((at, claim)) = whole {
        tx.put(&TABLE_CLAIMS, &at, &claim)?;
    }
    Ok(each.iter().try_for_each(|(at, claim)| tx.put(&UNITS, at, claim))?)
}

/// What claims one target unit for a table of a job, unless another live job, or another table of the same job, has it.
/// `None`: it is claimed already.
fn unit(read: &impl Read, key: &JobKey, uid: &str, table: &str, unit: &UnitKey) -> Result<Option<UnitClaim>> {
    let before = read.get(&UNITS, unit)?.unwrap_or_default();
    let same_job = before.job_uid == uid;
    if !before.job_uid.is_empty() && (!same_job || before.table != table) {
        let owner = (before.data_source.clone(), before.job.clone());
        if holds(read, &owner, &before.job_uid)? {
            let partition = if unit.1.is_empty() { String::new() } else { format!(" partition {}", unit.1) };
            let by = if same_job { format!(" for table {}", before.table) } else { String::new() };
            return Err(owned(format!("{}{partition}", unit.0), &owner, &by));
        }
    }
    let mut claim = before.clone();
    claim.data_source.clone_from(&key.0);
    claim.job.clone_from(&key.1);
    uid.clone_into(&mut claim.job_uid);
    table.clone_into(&mut claim.table);
    Ok((claim != before).then_some(claim))
}

/// Gives up what a deleted job claimed of a table; a unit with an open intent stays, for whoever resolves it.
pub fn release(tx: &mut Tx<'_>, uid: &str, unit: &UnitKey) -> Result<()> {
    if tx.get(&UNITS, unit)?.is_some_and(|claim| claim.job_uid == uid && claim.open_intent.is_empty()) {
        tx.delete(&UNITS, unit)?;
    }
    Ok(())
}

/// The same for the table itself.
pub fn release_table(tx: &mut Tx<'_>, key: &JobKey, uid: &str, target: &TargetName) -> Result<()> {
    let own: TableClaimKey = (target.key(), key.0.clone(), key.1.clone());
    if tx.get(&TABLE_CLAIMS, &own)?.is_some_and(|claim| claim.job_uid == uid) {
        tx.delete(&TABLE_CLAIMS, &own)?;
    }
    Ok(())
}
