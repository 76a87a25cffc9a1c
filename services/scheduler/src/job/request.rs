//! Request ids: remembers what a call made, so that its repetition makes nothing more.

use mms_server::requests::{self, Request};
use mms_store::{Read, Tx};

use super::stored;
use crate::error::{Result, SchedulerError};
use crate::key::JobKey;
use crate::moment::Moment;
use crate::name;
use crate::record::Job;

/// A call that can be repeated. Without a request id, every call counts as another.
#[derive(Clone, Default)]
pub struct Call {
    pub method: &'static str,
    /// The request id; empty for none.
    pub id: String,
    /// Digest of the request's content.
    pub digest: Vec<u8>,
}

impl Call {
    fn of(&self) -> requests::Call {
        requests::Call { method: self.method, id: self.id.clone() }
    }

    /// Returns what an earlier call with the same request id did. An error if its content was different.
    pub fn replayed(&self, read: &impl Read, at: &Moment) -> Result<Option<Request>> {
        self.of().replayed(read, at.now_ms, |seen| seen.digest == self.digest)
    }

    /// Remembers the job that the call has made or changed.
    pub fn remember(&self, tx: &mut Tx<'_>, at: &Moment, key: &JobKey, uid: &str) -> Result<()> {
        self.remember_as(tx, at, format!("{}/{}", key.data_source, key.job), uid)
    }

    /// As [`Self::remember`], for a resource that is not a job. Only the caller interprets `resource`.
    pub fn remember_as(&self, tx: &mut Tx<'_>, at: &Moment, resource: String, uid: &str) -> Result<()> {
        let (digest, uid) = (self.digest.clone(), uid.to_owned());
        let request = Request { digest, resource, time_ms: at.now_ms, uid, ..Request::default() };
        Ok(self.of().remember(tx, &request)?)
    }

    /// Returns the job that an earlier call with the same request id made. An error if it was deleted since, because
    /// another job may have its name by now.
    pub fn made(&self, read: &impl Read, at: &Moment) -> Result<Option<(JobKey, Job)>> {
        let Some(seen) = self.replayed(read, at)? else { return Ok(None) };
        let (data_source, job) = seen.resource.split_once('/').unwrap_or_default();
        let key = JobKey { data_source: data_source.to_owned(), job: job.to_owned() };
        match stored::find(read, &key) {
            Ok(job) if seen.uid.is_empty() || job.uid() == seen.uid => Ok(Some((key, job))),
            Ok(_) | Err(SchedulerError::NotFound(_)) => Err(SchedulerError::MadeAndDeleted(name::job_name(&key))),
            Err(error) => Err(error),
        }
    }
}
