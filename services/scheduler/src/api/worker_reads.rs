//! What callers see of workers.

use mms_proto::name::WorkerName;
use mms_proto::page;
use mms_proto::scheduler::v1 as pb;
use mms_store::{Read, Scope};
use tonic::Status;

use super::{Api, check, name};
use crate::convert::worker_to;
use crate::error::{Result, SchedulerError};
use crate::lease::held;
use crate::record::Worker;
use crate::store::WORKERS;

impl Api {
    pub(super) fn workers_page(&self, request: &pb::ListWorkersRequest) -> Result<pb::ListWorkersResponse, Status> {
        check(request)?;
        let after = page::after(&["workers"], &request.page_token)?;
        let size = page::size(request.page_size);
        let found = self.scheduler.store.read(|read| read.page(&WORKERS, &Scope::all(), after.as_ref(), size));
        let found = found.map_err(SchedulerError::from)?;
        Ok(pb::ListWorkersResponse {
            workers: self.show_workers(found.items)?,
            next_page_token: found.next.map(|id| page::token(&["workers"], &id)).unwrap_or_default(),
            total_size: None,
        })
    }

    pub(super) fn worker_now(&self, request: &pb::GetWorkerRequest) -> Result<pb::GetWorkerResponse, Status> {
        check(request)?;
        let name: WorkerName = name("name", &request.name)?;
        let id = name.id().as_str().to_owned();
        let worker = self.scheduler.store.read(|read| read.get(&WORKERS, &id)).map_err(SchedulerError::from)?;
        let worker = worker.ok_or_else(|| SchedulerError::NotFound(name.to_string()))?;
        Ok(pb::GetWorkerResponse { worker: self.show_workers(vec![(id, worker)])?.pop() })
    }

    /// Workers as callers see them now.
    fn show_workers(&self, workers: Vec<(String, Worker)>) -> Result<Vec<pb::Worker>> {
        let leased = self.scheduler.store.read(|read| held::all(read, None))?;
        let show = |(id, worker): (String, Worker)| {
            let held = leased.iter().filter(|(_, task)| task.worker() == Some(&id)).count();
            let seen = self.scheduler.leases.seen(&id).unwrap_or(worker.seen_time_ms);
            worker_to(&id, worker, held, seen)
        };
        Ok(workers.into_iter().map(show).collect())
    }
}
