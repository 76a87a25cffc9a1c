//! The reading calls of WorkerService.

use mms_proto::name::WorkerName;
use mms_proto::scheduler::v1 as pb;
use mms_server::list::{Asked, List};
use mms_store::{Read, Scope};
use tonic::Status;

use super::{Api, check, name};
use crate::convert::worker_to;
use crate::error::{Result, SchedulerError};
use crate::lease::held;
use crate::record::Worker;
use crate::store::WORKERS;

/// A page ends with the worker that brings it to this many bytes.
const BYTES_MAX: usize = 6 << 20;

impl Api {
    pub(super) fn workers_page(&self, request: &pb::ListWorkersRequest) -> Result<pb::ListWorkersResponse, Status> {
        check(request)?;
        let asked = Asked {
            of: ["workers", ""],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<pb::Worker>::of(&asked, BYTES_MAX)?;
        let records = |after: Option<&String>, limit: usize| {
            let page = self.scheduler.store.read(|read| read.page(&WORKERS, &Scope::all(), after, limit));
            let page = page.map_err(SchedulerError::from)?;
            let ids: Vec<String> = page.items.iter().map(|(id, _)| id.clone()).collect();
            let shown = self.show_workers(page.items)?;
            Ok::<_, Status>((ids.into_iter().zip(shown).collect(), page.next.is_some()))
        };
        let (workers, next_page_token) =
            list.page(String::clone, |text| Some(text.to_owned()), records, |_, worker| Ok(Some(worker)))?;
        Ok(pb::ListWorkersResponse { workers, next_page_token, total_size: None })
    }

    pub(super) fn worker_now(&self, request: &pb::GetWorkerRequest) -> Result<pb::GetWorkerResponse, Status> {
        check(request)?;
        let name: WorkerName = name("name", &request.name)?;
        let id = name.id().as_str().to_owned();
        let worker = self.scheduler.store.read(|read| read.get(&WORKERS, &id)).map_err(SchedulerError::from)?;
        let worker = worker.ok_or_else(|| SchedulerError::NotFound(name.to_string()))?;
        Ok(pb::GetWorkerResponse { worker: self.show_workers(vec![(id, worker)])?.pop() })
    }

    /// Workers as callers see them now, with their leases counted.
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
