//! Creates jobs: checks the caller's role and the id, and acquires the data source at the registry before the job is
//! stored.

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

/// A job that a caller wants to create.
pub struct Wanted {
    pub source: DataSourceName,
    /// Its id; empty to have one made.
    pub id: String,
    /// Its display name; empty for its id without hyphens.
    pub display_name: String,
    pub spec: Spec,
    /// Its plan needs approval.
    pub review: bool,
}

/// Returns the job as it would be stored, if the caller may create it.
///
/// # Errors
/// If the caller's role is too low for the target policy, the id is invalid, or the spec names partitions of another data
/// source.
pub fn judged(scheduler: &Scheduler, wanted: Wanted, caller: &Caller) -> Result<(JobKey, Job), Status> {
    // Both policies take over tables that somebody else made.
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

/// Rejects a spec that names partitions of another data source. `field` is the path of the spec in the request.
///
/// # Errors
/// INVALID_FIELD, one violation for each such table.
pub fn refuse_foreign(spec: &Spec, data_source: &str, field: &str) -> Result<()> {
    let wrong = parts::foreign(spec, data_source, field);
    if wrong.is_empty() { Ok(()) } else { Err(SchedulerError::Invalid(wrong)) }
}

/// Stores a job in state PLANNING, or returns the one that an earlier call with the same request id made.
///
/// # Errors
/// If the registry rejects the use because the data source does not exist or is not started, or if the id is taken.
pub async fn create(scheduler: &Scheduler, call: Call, key: JobKey, job: Job) -> Result<(JobKey, Job)> {
    let at = scheduler.moment();
    // A commit although nothing is written: a repeated call is answered only from what is on disk.
    let again = call.clone();
    if let Some(made) = scheduler.store.commit(move |tx| again.made(tx, &at)).await? {
        return Ok(made);
    }
    // From now on the registry keeps the data source for this job.
    scheduler.peers.acquire(&key.data_source, &name::job_name(&key)).await?;
    let create = move |tx: &mut Tx<'_>| {
        // The same call may have arrived twice at once.
        if let Some(made) = call.made(tx, &at)? {
            return Ok(made);
        }
        let job = calls::create(tx, &key, job)?;
        call.remember(tx, &at, &key, job.uid())?;
        Ok::<_, SchedulerError>((key, job))
    };
    scheduler.store.commit(create).await
}

/// Acquires the data source of a job that is to be started or retried.
///
/// # Errors
/// If the job does not exist, or the data source does not exist or is not started.
pub async fn hold_source(scheduler: &Scheduler, key: &JobKey) -> Result<()> {
    scheduler.store.read(|read| stored::find(read, key))?;
    scheduler.peers.acquire(&key.data_source, &name::job_name(key)).await?;
    Ok(())
}
