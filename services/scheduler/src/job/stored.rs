//! Jobs as they are stored. The one place that writes them; what an event means for a job is in [`crate::record`].

use mms_store::{Read, Tx};

use super::diary;
use crate::error::{Result, SchedulerError};
use crate::key::JobKey;
use crate::moment::Moment;
use crate::name;
use crate::record::{Job, JobEvent, JobState, SourceUse};
use crate::store::{JOBS, SOURCE_USES};

/// The job as stored. One that is being deleted is gone for everybody.
pub fn find(read: &impl Read, key: &JobKey) -> Result<Job> {
    let job = read.get(&JOBS, key)?.filter(|job| !job.goes_away());
    job.ok_or_else(|| SchedulerError::NotFound(name::job_name(key)))
}

/// What happened to a job, not stored yet.
pub fn apply(at: &Moment, key: &JobKey, job: &mut Job, event: JobEvent) -> Result<()> {
    job.apply(at, event).map_err(|source| SchedulerError::WrongState { resource: name::job_name(key), source })
}

/// Stores a job that stood at `before` and changed, which gives it another etag. One that is not at rest holds its data source.
pub fn keep(tx: &mut Tx<'_>, key: &JobKey, before: Option<JobState>, mut job: Job) -> Result<Job> {
    diary::note(key, before, &job);
    job.stored_in(tx.revision());
    tx.put(&JOBS, key, &job)?;
    if !job.is_at_rest() && tx.get(&SOURCE_USES, key)?.is_none() {
        tx.put(&SOURCE_USES, key, &SourceUse {})?;
    }
    Ok(job)
}

/// Stores what happened to a job.
pub fn change(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, mut job: Job, event: JobEvent) -> Result<Job> {
    let before = *job.state;
    apply(at, key, &mut job, event)?;
    keep(tx, key, Some(before), job)
}

/// The same for what nobody sees: the etag stays.
pub fn change_unseen(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, mut job: Job, event: JobEvent) -> Result<()> {
    apply(at, key, &mut job, event)?;
    Ok(tx.put(&JOBS, key, &job)?)
}
