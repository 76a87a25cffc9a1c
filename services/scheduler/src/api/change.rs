//! Calls that change a job. They continue if their caller disconnects. [`crate::job::carry`] carries the change
//! through.

use mms_proto::ApiError;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::View;
use mms_server::CallContext;
use mms_store::Tx;
use tonic::Status;

use super::Api;
use crate::error::Result;
use crate::job::carry;
use crate::job::request::Call;
use crate::key::JobKey;
use crate::moment::Moment;
use crate::record::Job;

impl Api {
    /// Changes a job, in a task of its own, so that it continues if the caller disconnects.
    pub(super) async fn change<B>(&self, call: Call, key: JobKey, begin: B) -> Result<Option<Box<Job>>, Status>
    where
        B: FnOnce(&mut Tx<'_>, &Moment) -> Result<Job> + Send + 'static,
    {
        let work = carry::change(self.scheduler.clone(), call, key, begin);
        // Calls to other services are made in the context of this call.
        let done = match CallContext::current() {
            Some(context) => tokio::spawn(context.scope(work)),
            None => tokio::spawn(work),
        };
        done.await
            .map_err(|error| ApiError::internal(format!("the change was interrupted: {error}")))?
            .map_err(Status::from)
    }

    /// As [`Self::change`], and answers with the job.
    pub(super) async fn changed<B>(&self, call: Call, key: JobKey, begin: B) -> Result<Option<pb::Job>, Status>
    where
        B: FnOnce(&mut Tx<'_>, &Moment) -> Result<Job> + Send + 'static,
    {
        let job = self.change(call, key.clone(), begin).await?;
        Ok(job.map(|job| self.show(&key, &job, View::Basic)))
    }
}
