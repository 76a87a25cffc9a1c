//! Request ids: what a call with one made, so that its repeat makes nothing more.

use std::ops::ControlFlow;

use mms_store::{Read, Scope, Tx};

use super::stored;
use crate::error::{Result, SchedulerError};
use crate::key::{JobKey, RequestKey};
use crate::moment::Moment;
use crate::name;
use crate::record::{Job, Request};
use crate::store::REQUESTS;

/// How long a request id is remembered.
const REQUEST_TTL_MS: i64 = 24 * 3600 * 1000;

/// A call that can be repeated: its request id, and what it asked for. Without an id each call is another.
#[derive(Clone, Default)]
pub struct Call {
    /// The method.
    pub method: &'static str,
    /// The request id; empty: none.
    pub id: String,
    /// What tells the content of the request from any other.
    pub digest: Vec<u8>,
}

impl Call {
    fn key(&self) -> RequestKey {
        RequestKey { method: self.method.to_owned(), id: self.id.clone() }
    }

    /// The resource of an earlier call with the same request id, if its content was the same.
    pub fn replayed(&self, read: &impl Read, at: &Moment) -> Result<Option<Request>> {
        if self.id.is_empty() {
            return Ok(None);
        }
        match read.get(&REQUESTS, &self.key())? {
            Some(seen) if at.now_ms - seen.time_ms > REQUEST_TTL_MS => Ok(None),
            Some(seen) if seen.digest == self.digest => Ok(Some(seen)),
            Some(_) => Err(SchedulerError::RequestIdReused(self.id.clone())),
            None => Ok(None),
        }
    }

    /// Remembers what the call made or changed.
    pub fn remember(&self, tx: &mut Tx<'_>, at: &Moment, key: &JobKey, uid: &str) -> Result<()> {
        if self.id.is_empty() {
            return Ok(());
        }
        let resource = format!("{}/{}", key.data_source, key.job);
        let uid = uid.to_owned();
        let request = Request { digest: self.digest.clone(), resource, time_ms: at.now_ms, uid };
        Ok(tx.put(&REQUESTS, &self.key(), &request)?)
    }

    /// The job that an earlier call with the same request id made. Not found, if it was deleted since: another job may have its
    /// name by now.
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

/// Forgets request ids whose time is up; at most 1,000 at once.
pub fn forget(tx: &mut Tx<'_>, at: &Moment) -> Result<()> {
    let mut old = Vec::new();
    tx.scan(&REQUESTS, &Scope::all(), |key, request| {
        if at.now_ms - request.time_ms > REQUEST_TTL_MS {
            old.push(key);
        }
        if old.len() < 1000 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    for key in old {
        tx.delete(&REQUESTS, &key)?;
    }
    Ok(())
}
