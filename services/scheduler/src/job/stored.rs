//! Reads and writes the records of jobs. The only place that writes them; [`crate::record`] decides what an event
//! means.

use mms_store::{Read, Tx};

use super::diary;
use crate::error::{Result, SchedulerError};
use crate::key::JobKey;
use crate::moment::Moment;
use crate::name;
use crate::record::{Job, JobEvent, JobState, SourceUse};
use crate::store::{JOBS, SOURCE_USES};

/// Returns the job. One that is being deleted is not found.
pub fn find(read: &impl Read, key: &JobKey) -> Result<Job> {
    let job = read.get(&JOBS, key)?.filter(|job| !job.goes_away());
    job.ok_or_else(|| SchedulerError::NotFound(name::job_name(key)))
}

/// Applies an event to a job without storing it.
pub fn apply(at: &Moment, key: &JobKey, job: &mut Job, event: JobEvent) -> Result<()> {
    job.apply(at, event).map_err(|source| SchedulerError::WrongState { resource: name::job_name(key), source })
}

/// Stores a changed job, which gets a new etag, and logs the change from the state `before`. A job that is not at rest
/// gets a use of its data source.
pub fn keep(tx: &mut Tx<'_>, key: &JobKey, before: Option<JobState>, mut job: Job) -> Result<Job> {
    diary::note(key, before, &job);
    job.stored_in(tx.revision());
    tx.put(&JOBS, key, &job)?;
    if !job.is_at_rest() && tx.get(&SOURCE_USES, key)?.is_none() {
        tx.put(&SOURCE_USES, key, &SourceUse {})?;
    }
    Ok(job)
}

/// Applies an event to a job and stores it.
pub fn change(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, mut job: Job, event: JobEvent) -> Result<Job> {
    let before = *job.state;
    apply(at, key, &mut job, event)?;
    keep(tx, key, Some(before), job)
}

/// As [`change`], for an event that callers cannot see: the etag stays the same.
pub fn change_unseen(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, mut job: Job, event: JobEvent) -> Result<()> {
    apply(at, key, &mut job, event)?;
    Ok(tx.put(&JOBS, key, &job)?)
}
