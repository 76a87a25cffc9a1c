//! Jobs are made: who may make which, what they are called, and that their source is there.

use mms_proto::name::{DataSourceName, ResourceId};
use mms_proto::types::v1::TargetPolicy;
use mms_proto::{ApiError, Role};
use mms_server::Caller;
use mms_store::Tx;
use tonic::Status;

use super::request::Call;
use super::{calls, stored};
use crate::error::{Result, SchedulerError};
use crate::key::JobKey;
use crate::name;
use crate::plan::parts;
use crate::record::{self, Job, Spec};
use crate::scheduler::Scheduler;

/// A job that somebody wants.
pub struct Wanted {
    /// Of which data source.
    pub source: DataSourceName,
    /// Its id; empty: one is made.
    pub id: String,
    /// What people call it; empty: as its id.
    pub display_name: String,
    /// What it is to do.
    pub spec: Spec,
    /// Somebody is to look at its plan.
    pub review: bool,
}

/// The job as it would be made, if the caller may make it.
///
/// # Errors
/// When the caller's role is too low for what it may do to tables, or the id is none.
pub fn judged(scheduler: &Scheduler, wanted: Wanted, caller: &Caller) -> Result<(JobKey, Job), Status> {
    // They take what somebody else made.
    for (policy, name) in [(TargetPolicy::Replace, "REPLACE"), (TargetPolicy::Adopt, "ADOPT")] {
        if wanted.spec.target_policy == policy {
            caller.needs(Role::Admin, format!("target_policy {name}"))?;
        }
    }
    if wanted.spec.drops_gone() {
        caller.needs(Role::Admin, "dropped_policy DROP".to_owned())?;
    }
    refuse_foreign(&wanted.spec, wanted.source.id().as_str(), "job.spec")?;
    let uid = uuid::Uuid::now_v7();
    let id = if wanted.id.is_empty() { format!("j{}", uid.simple()) } else { wanted.id };
    let id = ResourceId::new(id).map_err(|reason| ApiError::invalid_field("job_id", reason))?;
    let key = JobKey { data_source: wanted.source.id().as_str().to_owned(), job: id.as_str().to_owned() };
    let display_name = if wanted.display_name.is_empty() { key.job.replace('-', "") } else { wanted.display_name };
    let job = Job::new(record::Asked {
        uid: uid.to_string(),
        display_name,
        spec: wanted.spec,
        review: wanted.review,
        creator: caller.subject.clone(),
        create_time_ms: scheduler.moment().now_ms,
        timer: String::new(),
    });
    Ok((key, job))
}

/// Refuses a spec that names partitions of another data source. `field`: the path of the spec in the request.
///
/// # Errors
/// INVALID_FIELD.
pub fn refuse_foreign(spec: &Spec, data_source: &str, field: &str) -> Result<()> {
    let wrong = parts::foreign(spec, data_source, field);
    if wrong.is_empty() { Ok(()) } else { Err(SchedulerError::Invalid(wrong)) }
}

/// Stores a job, to be planned; or finds the one that the same call made before.
///
/// # Errors
/// When the registry refuses the source, as it is not there or not started, or the id is taken.
pub async fn create(scheduler: &Scheduler, call: Call, key: JobKey, job: Job) -> Result<(JobKey, Job)> {
    let at = scheduler.moment();
    // In a commit, though nothing is written: what a repeat is answered from is on the disk.
    let again = call.clone();
    if let Some(made) = scheduler.store.commit(move |tx| again.made(tx, &at)).await? {
        return Ok(made);
    }
    // Holds the source from now on.
    scheduler.peers.acquire(&key.data_source, &name::job_name(&key)).await?;
    let create = move |tx: &mut Tx<'_>| {
        // The same call may have come twice at once.
        if let Some(made) = call.made(tx, &at)? {
            return Ok(made);
        }
        let job = calls::create(tx, &key, job)?;
        call.remember(tx, &at, &key, job.uid())?;
        Ok::<_, SchedulerError>((key, job))
    };
    scheduler.store.commit(create).await
}

/// Refuses to bring back a job whose source is not there or not started, and holds the source from now on.
///
/// # Errors
/// When the job is not there, or the registry refuses.
pub async fn hold_source(scheduler: &Scheduler, key: &JobKey) -> Result<()> {
    scheduler.store.read(|read| stored::find(read, key))?;
    scheduler.peers.acquire(&key.data_source, &name::job_name(key)).await?;
    Ok(())
}
