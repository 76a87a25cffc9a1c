//! The reading calls of JobService: jobs, tables, tasks, findings, checks and logs, page by page.

use std::sync::Arc;

use mms_proto::ApiError;
use mms_proto::name::{DataSourceName, Parent, TaskName};
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::{self as types, View};
use mms_server::list::{Asked, List};
use mms_store::{Read, Scope};
use tonic::Status;

use super::Api;
use crate::convert::{check_to, finding_to, job_table_to, log_to, task_to};
use crate::error::{Result, SchedulerError};
use crate::job::stored;
use crate::key::{CheckKey, DataSourceKey, JobKey, LogKey, TableKey, TaskKey};
use crate::name;
use crate::record::{Check, Finding, Job, JobTable, Task};
use crate::store::{CHECKS, JOB_TABLES, JOBS, LOGS, TASKS};

/// A page ends with the item that brings it to this many bytes.
const BYTES_MAX: usize = 6 << 20;

/// Splits a page token's text into two keys. They are joined by a character that no id has.
fn split(text: &str) -> Option<(String, String)> {
    text.split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned()))
}

fn numbers(text: &str) -> Option<(u32, u32)> {
    let (task, check) = text.split_once('-')?;
    Some((task.parse().ok()?, check.parse().ok()?))
}

/// Tables that are read together for their findings, which have no records of their own.
const TABLES_OF_FINDINGS: usize = 20;

impl Api {
    pub(super) fn jobs(
        &self,
        request: &pb::ListJobsRequest,
        parent: &Parent<DataSourceName>,
    ) -> Result<pb::ListJobsResponse, Status> {
        let asked = Asked {
            of: ["jobs", &request.parent],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<pb::Job>::of(&asked, BYTES_MAX)?;
        let scope = match parent.exact() {
            Some(source) => Scope::prefix(&DataSourceKey { data_source: source.id().as_str().to_owned() }),
            None => Scope::all(),
        };
        let records = |after: Option<&JobKey>, limit: usize| {
            let page = self.scheduler.store.read(|read| read.page(&JOBS, &scope, after, limit)).map_err(store)?;
            Ok::<_, Status>((page.items, page.next.is_some()))
        };
        // A filter or an order may ask for fields of the spec, which is removed below if the caller did not ask for it.
        let view = if list.judges() { View::Full } else { request.view() };
        let show = |key: &JobKey, job: Job| Ok((!job.goes_away()).then(|| self.show(key, &job, view)));
        let key = |text: &str| split(text).map(|(data_source, job)| JobKey { data_source, job });
        let text = |key: &JobKey| format!("{}\n{}", key.data_source, key.job);
        let (mut jobs, next_page_token) = list.page(text, key, records, show)?;
        if request.view() != View::Full {
            jobs.iter_mut().for_each(|job| job.spec = None);
        }
        Ok(pb::ListJobsResponse { jobs, next_page_token, total_size: None })
    }

    /// A table of a job, with the progress of its running tasks.
    pub(super) fn show_table(&self, job: &Job, key: &TableKey, table: &JobTable, view: View) -> Result<pb::JobTable> {
        let own = table.tasks();
        let running = self.scheduler.leases.sum(&key.job, |number| own.contains(&number));
        job_table_to(key, job.uid(), table, running, job.is_halted(), view)
    }

    pub(super) fn job_table(&self, key: &TableKey, view: View) -> Result<pb::JobTable> {
        let (job, table) = self.scheduler.store.read(|read| {
            let job = stored::find(read, &key.job)?;
            Ok::<_, SchedulerError>((job, read.get(&JOB_TABLES, key)?))
        })?;
        let table = table.map_or_else(|| Err(SchedulerError::NotFound(name::job_table_name(key)?)), Ok)?;
        self.show_table(&job, key, &table, view)
    }

    pub(super) fn job_tables(
        &self,
        job: &JobKey,
        request: &pb::ListJobTablesRequest,
    ) -> Result<pb::ListJobTablesResponse, Status> {
        let asked = Asked {
            of: ["job tables", &request.parent],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<pb::JobTable>::of(&asked, BYTES_MAX)?;
        let own = self.scheduler.store.read(|read| stored::find(read, job))?;
        let view = if list.judges() { View::Full } else { request.view() };
        let show = |key: &TableKey, table| Ok(Some(self.show_table(&own, key, &table, view)?));
        let (mut job_tables, next_page_token) =
            list.page(table_text, |text| table_of(job, text), |after, limit| self.tables_of(job, after, limit), show)?;
        if request.view() != View::Full {
            job_tables.iter_mut().for_each(|table| (table.definition, table.findings) = (None, Vec::new()));
        }
        Ok(pb::ListJobTablesResponse { job_tables, next_page_token, total_size: None })
    }

    /// A page of a job's tables, and whether there are more.
    #[allow(clippy::type_complexity)] // the shape that List::page takes
    fn tables_of(
        &self,
        job: &JobKey,
        after: Option<&TableKey>,
        limit: usize,
    ) -> Result<(Vec<(TableKey, JobTable)>, bool), Status> {
        let page = self.scheduler.store.read(|read| read.page(&JOB_TABLES, &Scope::prefix(job), after, limit));
        let page = page.map_err(store)?;
        Ok((page.items, page.next.is_some()))
    }

    pub(super) fn findings(
        &self,
        job: &JobKey,
        request: &pb::ListFindingsRequest,
    ) -> Result<pb::ListFindingsResponse, Status> {
        let asked = Asked {
            of: ["findings", &request.parent],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<types::Finding>::of(&asked, BYTES_MAX)?;
        self.scheduler.store.read(|read| stored::find(read, job))?;
        // Findings by table and position. A table without findings makes a record that shows nothing, so that paging
        // continues behind it.
        let records = |after: Option<&(TableKey, usize)>, _: usize| {
            let mut found = Vec::new();
            if let Some((table, number)) = after {
                let stored = self.scheduler.store.read(|read| read.get(&JOB_TABLES, table)).map_err(store)?;
                let left =
                    stored.into_iter().flat_map(|stored| stored.into_plan().findings).enumerate().skip(number + 1);
                found.extend(left.map(|(number, finding)| ((table.clone(), number), Some(finding))));
            }
            let (tables, more) = self.tables_of(job, after.map(|(table, _)| table), TABLES_OF_FINDINGS)?;
            for (key, table) in tables {
                let findings = table.into_plan().findings;
                if findings.is_empty() {
                    found.push(((key, 0), None));
                } else {
                    let all = findings.into_iter().enumerate();
                    found.extend(all.map(|(number, finding)| ((key.clone(), number), Some(finding))));
                }
            }
            Ok::<_, Status>((found, more))
        };
        let show = |(key, _): &(TableKey, usize), finding: Option<Finding>| {
            let name = name::source_table_name(key)?;
            Ok(finding.map(|finding| finding_to(&finding, &name)))
        };
        let text = |(key, number): &(TableKey, usize)| format!("{number}\n{}", table_text(key));
        let cursor = |text: &str| {
            let (number, table) = text.split_once('\n')?;
            Some((table_of(job, table)?, number.parse().ok()?))
        };
        let (findings, next_page_token) = list.page(text, cursor, records, show)?;
        Ok(pb::ListFindingsResponse { findings, next_page_token, total_size: None })
    }

    /// A task as callers see it now.
    pub(super) fn task(&self, key: &TaskKey, view: View) -> Result<pb::Task> {
        let (job, task, table) = self.scheduler.store.read(|read| {
            let not_found = |_| SchedulerError::NotFound(name::task_name(key));
            let job = stored::find(read, &key.job).map_err(not_found)?;
            let task = read.get(&TASKS, key)?.ok_or_else(|| SchedulerError::NotFound(name::task_name(key)))?;
            let table = read.get(&JOB_TABLES, &task.table_key(&key.job))?;
            Ok::<_, SchedulerError>((job, task, table))
        })?;
        let running = self.scheduler.leases.progress(key);
        task_to(key, &task, table.as_ref(), running, (job.uid(), job.is_halted()), view)
    }

    pub(super) fn tasks(&self, job: &JobKey, request: &pb::ListTasksRequest) -> Result<pb::ListTasksResponse, Status> {
        let asked = Asked {
            of: ["tasks", &request.parent],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<pb::Task>::of(&asked, BYTES_MAX)?;
        let own = self.scheduler.store.read(|read| stored::find(read, job))?;
        let of = (own.uid(), own.is_halted());
        let records = |after: Option<&TaskKey>, limit: usize| {
            self.scheduler
                .store
                .read(|read| {
                    let page = read.page(&TASKS, &Scope::prefix(job), after, limit)?;
                    let mut found = Vec::with_capacity(page.items.len());
                    // Tasks of one table are consecutive.
                    let mut known: Option<(TableKey, Option<Arc<JobTable>>)> = None;
                    for (key, task) in page.items {
                        let table_key = task.table_key(job);
                        if known.as_ref().is_none_or(|(known, _)| *known != table_key) {
                            let table = read.get(&JOB_TABLES, &table_key)?.map(Arc::new);
                            known = Some((table_key, table));
                        }
                        let table = known.as_ref().and_then(|(_, table)| table.clone());
                        found.push((key, (task, table)));
                    }
                    Ok::<_, SchedulerError>((found, page.next.is_some()))
                })
                .map_err(Status::from)
        };
        let show = |key: &TaskKey, (task, table): (Task, Option<Arc<JobTable>>)| {
            let running = self.scheduler.leases.progress(key);
            Ok(Some(task_to(key, &task, table.as_deref(), running, of, request.view())?))
        };
        let key = |text: &str| Some(TaskKey { job: job.clone(), number: text.parse().ok()? });
        let (tasks, next_page_token) = list.page(|key: &TaskKey| key.number.to_string(), key, records, show)?;
        let total_size = request.filter.is_empty().then_some(own.counts.tasks_total.into());
        Ok(pb::ListTasksResponse { tasks, next_page_token, total_size })
    }

    pub(super) fn logs(
        &self,
        task: &TaskKey,
        request: &pb::ListTaskLogsRequest,
    ) -> Result<pb::ListTaskLogsResponse, Status> {
        let asked = Asked {
            of: ["logs", &request.parent],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<pb::TaskLog>::of(&asked, BYTES_MAX)?;
        let records = |after: Option<&LogKey>, limit: usize| {
            let page = self.scheduler.store.read(|read| read.page(&LOGS, &Scope::prefix(task), after, limit));
            let page = page.map_err(store)?;
            Ok::<_, Status>((page.items, page.next.is_some()))
        };
        let show = |key: &LogKey, log| Ok(Some(log_to(key.sequence, log)));
        let key = |text: &str| Some(LogKey { task: task.clone(), sequence: text.parse().ok()? });
        let (logs, next_page_token) = list.page(|key: &LogKey| key.sequence.to_string(), key, records, show)?;
        Ok(pb::ListTaskLogsResponse { logs, next_page_token, total_size: None })
    }

    /// Checks of the last verification of a task, or of all tasks of a job.
    pub(super) fn checks(
        &self,
        request: &pb::ListVerificationChecksRequest,
    ) -> Result<pb::ListVerificationChecksResponse, Status> {
        let parent = Parent::<TaskName>::parse(&request.parent)
            .map_err(|error| ApiError::invalid_field("parent", error.reason))?;
        let (job, only) = match parent.exact() {
            Some(task) => (name::job_key(task.parent()), Some(name::task_key(&task)?)),
            None => (name::job_of_tasks(&request.parent)?, None),
        };
        let asked = Asked {
            of: ["checks", &request.parent],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<types::VerificationCheck>::of(&asked, BYTES_MAX)?;
        let scope = match &only {
            Some(task) => Scope::prefix(task),
            None => Scope::prefix(&job),
        };
        let total = self.scheduler.store.read(|read| {
            stored::find(read, &job)?;
            let Some(key) = &only else { return Ok(None) };
            let task = read.get(&TASKS, key)?.ok_or_else(|| SchedulerError::NotFound(name::task_name(key)))?;
            Ok::<_, SchedulerError>(Some(task.verification.map_or(0, |found| found.checks_kept.into())))
        })?;
        let records = |after: Option<&CheckKey>, limit: usize| {
            self.scheduler
                .store
                .read(|read| {
                    let page = read.page(&CHECKS, &scope, after, limit)?;
                    let mut checks = Vec::with_capacity(page.items.len());
                    // Checks of one task are consecutive.
                    let mut task: Option<Arc<(TaskKey, Task)>> = None;
                    for (key, check) in page.items {
                        if task.as_ref().is_none_or(|known| known.0 != key.task) {
                            task = read.get(&TASKS, &key.task)?.map(|task| Arc::new((key.task.clone(), task)));
                        }
                        checks.push((key, (task.clone(), check)));
                    }
                    Ok::<_, SchedulerError>((checks, page.next.is_some()))
                })
                .map_err(Status::from)
        };
        let show = |_: &CheckKey, (task, check): (Option<Arc<(TaskKey, Task)>>, Check)| {
            Ok(task.map(|of| check_to(&of.0, &of.1, check)))
        };
        let text = |key: &CheckKey| format!("{}-{}", key.task.number, key.number);
        let cursor = |text: &str| {
            numbers(text).map(|(task, number)| CheckKey { task: TaskKey { job: job.clone(), number: task }, number })
        };
        let (checks, next_page_token) = list.page(text, cursor, records, show)?;
        let total_size = total.filter(|_| request.filter.is_empty());
        Ok(pb::ListVerificationChecksResponse { checks, next_page_token, total_size })
    }
}

fn table_text(key: &TableKey) -> String {
    format!("{}\n{}", key.schema, key.table)
}

fn table_of(job: &JobKey, text: &str) -> Option<TableKey> {
    split(text).map(|(schema, table)| TableKey { job: job.clone(), schema, table })
}

fn store(error: mms_store::StoreError) -> Status {
    SchedulerError::from(error).into()
}
