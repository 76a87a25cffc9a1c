//! Claims targets for jobs, inside a commit. A job claims the units that it publishes and each target table that it
//! writes to, because making or dropping a table concerns all its units. A claim is valid while its job lives. Claims
//! decide which job comes first; [`super::intent`] ensures that only one of two writers commits.

use std::ops::ControlFlow;

use mms_proto::types::v1::TargetPolicy;
use mms_store::{Read, Scope, Tx};

use crate::error::{Result, SchedulerError};
use crate::key::{JobKey, TableClaimKey, TableKey, UnitKey};
use crate::name;
use crate::record::{ClaimEvent, Job, Owner, TableClaim, Target, TargetName, Task, Unit, UnitClaim};
use crate::store::{JOB_TABLES, JOBS, TABLE_CLAIMS, UNITS};

/// Whether a claim of the job with this uid is valid.
pub fn holds(read: &impl Read, key: &JobKey, uid: &str) -> Result<bool> {
    Ok(read.get(&JOBS, key)?.is_some_and(|job| job.uid() == uid && job.owns_units()))
}

fn owned(target: String, job: &JobKey, by: &str) -> SchedulerError {
    SchedulerError::TargetOwned { target, job: format!("{}{by}", name::job_name(job)) }
}

/// Returns the claim that a table of a job needs on its target table: shared with other jobs of the same source table
/// that make the same table and drop nothing, else exclusive. None if it is stored already. An error if another live
/// job is in the way. Deletes claims that are no longer valid.
fn table(
    tx: &mut Tx<'_>,
    key: &TableKey,
    job: &Job,
    target: &Target,
    name: &TargetName,
) -> Result<Option<(TableClaimKey, TableClaim)>> {
    let own = TableClaimKey { target: name.key(), job: key.job.clone() };
    let claim = TableClaim {
        job_uid: job.uid().to_owned(),
        schema: key.schema.clone(),
        table: key.table.clone(),
        replaces: job.spec().target_policy == TargetPolicy::Replace,
    };
    let mut others: Vec<(TableClaimKey, TableClaim)> = Vec::new();
    tx.scan(&TABLE_CLAIMS, &Scope::prefix(&own.target), |at, other| {
        others.push((at, other));
        ControlFlow::Continue(())
    })?;
    let mut known = false;
    for (at, other) in others {
        let of = TableKey { job: at.job.clone(), schema: other.schema.clone(), table: other.table.clone() };
        let same_source =
            at.job.data_source == key.job.data_source && (&of.schema, &of.table) == (&key.schema, &key.table);
        if at == own && other.job_uid == claim.job_uid {
            if !same_source {
                return Err(owned(own.target.to_string(), &at.job, &format!(" for table {}.{}", of.schema, of.table)));
            }
            known = other == claim;
        } else if !holds(tx, &at.job, &other.job_uid)? {
            tx.delete(&TABLE_CLAIMS, &at)?;
        } else if claim.replaces || other.replaces || !same_source || !same_table(tx, &of, target)? {
            return Err(owned(own.target.to_string(), &at.job, ""));
        }
    }
    Ok((!known).then_some((own, claim)))
}

/// Whether the other job's table makes the same target table.
fn same_table(read: &impl Read, other: &TableKey, target: &Target) -> Result<bool> {
    let other = read.get(&JOB_TABLES, other)?.and_then(|table| table.into_plan().target);
    Ok(other.is_none_or(|other| other == *target))
}

/// Claims a target table and these units of it: all of them, or none on an error.
pub fn units<'a>(
    tx: &mut Tx<'_>,
    key: &TableKey,
    job: &Job,
    target: &Target,
    units: impl Iterator<Item = &'a Unit>,
) -> Result<()> {
    let Some(name) = &target.name else { return Ok(()) };
    let whole = table(tx, key, job, target, name)?;
    let owner = Owner {
        data_source: key.job.data_source.clone(),
        job: key.job.job.clone(),
        job_uid: job.uid().to_owned(),
        table: format!("{}.{}", key.schema, key.table),
    };
    let mut each = Vec::new();
    for own in units {
        let at = name.unit_key(&own.partition);
        if let Some(claim) = unit(tx, &owner, &at)? {
            each.push((at, claim));
        }
    }
    if let Some((at, claim)) = whole {
        tx.put(&TABLE_CLAIMS, &at, &claim)?;
    }
    Ok(each.iter().try_for_each(|(at, claim)| tx.put(&UNITS, at, claim))?)
}

/// Returns the claim that a table of a job needs on a unit. None if it is stored already. An error if another live job,
/// or another table of the same job, has claimed the unit.
fn unit(read: &impl Read, own: &Owner, unit: &UnitKey) -> Result<Option<UnitClaim>> {
    let before = read.get(&UNITS, unit)?.unwrap_or_default();
    if let Some(other) = before.owner() {
        let same_job = other.job_uid == own.job_uid;
        if (!same_job || other.table != own.table) && holds(read, &other.key(), &other.job_uid)? {
            let partition =
                if unit.partition.is_empty() { String::new() } else { format!(" partition {}", unit.partition) };
            let by = if same_job { format!(" for table {}", other.table) } else { String::new() };
            return Err(owned(format!("{}{partition}", unit.target), &other.key(), &by));
        }
    }
    let mut claim = before.clone();
    claim.apply(ClaimEvent::Taken(own.clone()))?;
    Ok((claim != before).then_some(claim))
}

/// Releases a job's claim of a unit. A unit with an open intent keeps its claim record until the intent is resolved.
fn release(tx: &mut Tx<'_>, uid: &str, unit: &UnitKey) -> Result<()> {
    let own = |claim: &UnitClaim| claim.owner().is_some_and(|owner| owner.job_uid == uid);
    if tx.get(&UNITS, unit)?.is_some_and(|claim| own(&claim) && claim.open_intent().is_none()) {
        tx.delete(&UNITS, unit)?;
    }
    Ok(())
}

/// Releases the claims of all units of a task.
pub fn release_task(tx: &mut Tx<'_>, uid: &str, target: Option<&TargetName>, task: &Task) -> Result<()> {
    let Some(name) = target else { return Ok(()) };
    task.units.iter().try_for_each(|unit| release(tx, uid, &name.unit_key(&unit.partition)))
}

/// Releases a job's claim of a table.
pub fn release_table(tx: &mut Tx<'_>, key: &JobKey, uid: &str, target: &TargetName) -> Result<()> {
    let own = TableClaimKey { target: target.key(), job: key.clone() };
    if tx.get(&TABLE_CLAIMS, &own)?.is_some_and(|claim| claim.job_uid == uid) {
        tx.delete(&TABLE_CLAIMS, &own)?;
    }
    Ok(())
}
