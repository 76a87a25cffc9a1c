//! Calls that change a job: each goes on when its caller goes away. How a change is carried through is in
//! [`crate::job::carry`].

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
    /// Does what changes a job, also when the caller goes away.
    pub(super) async fn change<B>(&self, call: Call, key: JobKey, begin: B) -> Result<Option<Box<Job>>, Status>
    where
        B: FnOnce(&mut Tx<'_>, &Moment) -> Result<Job> + Send + 'static,
    {
        let work = carry::change(self.scheduler.clone(), call, key, begin);
        // What it asks of others is asked on behalf of this call.
        let done = match CallContext::current() {
            Some(context) => tokio::spawn(context.scope(work)),
            None => tokio::spawn(work),
        };
        done.await.map_err(|error| ApiError::internal(format!("the change broke off: {error}")))?.map_err(Status::from)
    }

    /// The same, answered with the job.
    pub(super) async fn changed<B>(&self, call: Call, key: JobKey, begin: B) -> Result<Option<pb::Job>, Status>
    where
        B: FnOnce(&mut Tx<'_>, &Moment) -> Result<Job> + Send + 'static,
    {
        let job = self.change(call, key.clone(), begin).await?;
        Ok(job.map(|job| self.show(&key, &job, View::Basic)))
    }
}
