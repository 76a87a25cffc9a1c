//! Calls that change a job: each is answered once, however often it comes, and goes on when its caller goes away.

use mms_proto::ApiError;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::View;
use mms_server::CallContext;
use mms_store::{Read, Tx};
use tonic::Status;

use super::Api;
use crate::change::{self, Change};
use crate::control;
use crate::core::Outcome;
use crate::error::{Result, SchedulerError};
use crate::job::JobState;
use crate::key;
use crate::record::Job;
use crate::rollup::Moment;
use crate::store::JobKey;

/// A call that can be repeated: its request id, and what it asked for.
#[derive(Clone, Default)]
pub(super) struct Asked {
    pub method: &'static str,
    pub id: String,
    pub digest: Vec<u8>,
}

impl Asked {
    /// The resource of an earlier call with the same request id.
    fn replayed(&self, read: &impl Read, at: &Moment) -> Result<Option<String>> {
        control::replayed(read, at, self.method, &self.id, &self.digest)
    }

    pub fn remember(&self, tx: &mut Tx<'_>, at: &Moment, key: &JobKey) -> Result<()> {
        let resource = format!("{}/{}", key.0, key.1);
        control::remember(tx, at, self.method, &self.id, self.digest.clone(), resource)
    }

    /// The job that an earlier call with the same request id made.
    pub fn made(&self, read: &impl Read, at: &Moment) -> Result<Option<(JobKey, Job)>> {
        let Some(resource) = self.replayed(read, at)? else { return Ok(None) };
        let key = resource.split_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap_or_default();
        let job = control::job(read, &key)?;
        Ok(Some((key, job)))
    }
}

impl Api {
    /// Does what changes a job: `begin` in a commit, then, in the job's turn, whatever of it is under way. A repeat with the
    /// same request id gets the job as it is now. Goes on when the caller goes away.
    pub(super) async fn change<B>(&self, asked: Asked, key: JobKey, begin: B) -> Result<Option<Box<Job>>, Status>
    where
        B: FnOnce(&mut Tx<'_>, &Moment) -> Result<Job> + Send + 'static,
    {
        let core = self.core.clone();
        let work = async move {
            let _turn = core.turn(&key).await;
            let (own, at, id) = (key.clone(), core.moment(), asked.clone());
            let first = move |tx: &mut Tx<'_>| {
                if id.replayed(tx, &at)?.is_some() {
                    return control::job(tx, &own);
                }
                let job = begin(tx, &at)?;
                if change::of(&job).is_none() {
                    id.remember(tx, &at, &own)?;
                }
                Ok::<_, SchedulerError>(job)
            };
            let job = core.store.commit(first).await?;
            let Some(under_way) = change::of(&job) else { return Ok(Some(Box::new(job))) };
            let own = key.clone();
            match core.carry(&key, move |tx: &mut Tx<'_>, at: &Moment| asked.remember(tx, at, &own)).await? {
                Outcome::Done(job) => Ok(job),
                Outcome::Idle(job) if under_way == Change::Stop => Ok(Some(job)),
                // It was stopped meanwhile.
                Outcome::Idle(job) => {
                    let state = JobState::of(&job).unwrap_or(JobState::Stopped);
                    Err(SchedulerError::Overtaken(key::job_name(&key), state))
                }
            }
        };
        // What it asks of others is asked on behalf of this call.
        let done = match CallContext::current() {
            Some(context) => tokio::spawn(context.scope(work)),
            None => tokio::spawn(work),
        };
        done.await.map_err(|error| ApiError::internal(format!("the change broke off: {error}")))?.map_err(Status::from)
    }

    /// The same, answered with the job.
    pub(super) async fn changed<B>(&self, asked: Asked, key: JobKey, begin: B) -> Result<Option<pb::Job>, Status>
    where
        B: FnOnce(&mut Tx<'_>, &Moment) -> Result<Job> + Send + 'static,
    {
        let job = self.change(asked, key.clone(), begin).await?;
        Ok(job.map(|job| self.show(&key, &job, View::Basic)))
    }
}
