//! Reading jobs, their tables, tasks, findings and logs, page by page.

use std::sync::Arc;

use mms_proto::name::{DataSourceName, Parent, TaskName};
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::{self as types, View};
use mms_proto::{ApiError, page};
use mms_server::{Filter, filter};
use mms_store::{Read, Scope};
use prost::Message;
use tonic::Status;

use super::Api;
use crate::convert::{check_to, finding_to, job_table_to, log_to, task_to};
use crate::error::{Result, SchedulerError};
use crate::job::stored;
use crate::key::{CheckKey, DataSourceKey, JobKey, LogKey, TableKey, TaskKey};
use crate::name;
use crate::record::{Job, JobTable, Task};
use crate::store::{CHECKS, JOB_TABLES, JOBS, LOGS, TASKS};

/// A page ends with the item with which it reaches this many bytes; one of findings with the table.
const BYTES_MAX: usize = 6 << 20;
/// A page of findings ends after so many tables were looked at, whatever was found.
const LOOKED_AT_MAX: usize = 1_000;

/// Keys in page tokens are joined by a character that no id of ours has.
fn split(text: &str) -> Option<(String, String)> {
    text.split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned()))
}

fn numbers(text: &str) -> Option<(u32, u32)> {
    let (task, check) = text.split_once('-')?;
    Some((task.parse().ok()?, check.parse().ok()?))
}

/// A job, some of its tables, and the token of the next page.
type TablePage = (Job, Vec<(TableKey, JobTable)>, String);

impl Api {
    pub(super) fn jobs(
        &self,
        request: &pb::ListJobsRequest,
        parent: &Parent<DataSourceName>,
    ) -> Result<pb::ListJobsResponse, Status> {
        let filter = Filter::<pb::Job>::parse(&request.filter)?;
        let arguments = ["jobs", request.parent.as_str(), request.filter.as_str()];
        let after = page::after(&arguments, &request.page_token)?.and_then(|text| split(&text));
        let after = after.map(|(data_source, job)| JobKey { data_source, job });
        let scope = match parent.exact() {
            Some(source) => Scope::prefix(&DataSourceKey { data_source: source.id().as_str().to_owned() }),
            None => Scope::all(),
        };
        let size = page::size(request.page_size);
        let records = |after: Option<&JobKey>, limit: usize| {
            let page = self.scheduler.store.read(|read| read.page(&JOBS, &scope, after, limit))?;
            Ok::<_, SchedulerError>((page.items, page.next.is_some()))
        };
        // What is asked of a job may be in its spec, which is then not shown.
        let view = if request.filter.is_empty() { request.view() } else { View::Full };
        let show = |key: &JobKey, job: Job| {
            let shown = (!job.goes_away()).then(|| self.show(key, &job, view)).filter(|shown| filter.passes(shown));
            let spec = |job: pb::Job| if request.view() == View::Full { job.spec } else { None };
            Ok(shown.map(|shown| pb::Job { spec: spec(shown.clone()), ..shown }))
        };
        let (jobs, last) = filter::fill(size, BYTES_MAX, after, records, show)?;
        let next_page_token = next(&arguments, last.map(|key| (key.data_source, key.job)));
        Ok(pb::ListJobsResponse { jobs, next_page_token, total_size: None })
    }

    fn table_page(
        &self,
        job: &JobKey,
        arguments: &[&str],
        page_size: i32,
        page_token: &str,
    ) -> Result<TablePage, Status> {
        let after = page::after(arguments, page_token)?.and_then(|text| split(&text));
        let after = after.map(|(schema, table)| TableKey { job: job.clone(), schema, table });
        let (record, found) = self.scheduler.store.read(|read| {
            let found = read.page(&JOB_TABLES, &Scope::prefix(job), after.as_ref(), page::size(page_size))?;
            Ok::<_, SchedulerError>((stored::find(read, job)?, found))
        })?;
        let token = next(arguments, found.next.map(|key| (key.schema, key.table)));
        Ok((record, found.items, token))
    }

    /// A table of a job with what its running tasks say of themselves.
    pub(super) fn show_table(&self, job: &Job, key: &TableKey, table: &JobTable, view: View) -> Result<pb::JobTable> {
        let own = table.tasks();
        let running = self.scheduler.leases.sum(&key.job, |number| own.contains(&number));
        job_table_to(key, job.uid(), table, running, job.is_halted(), view)
    }

    /// One table of a job.
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
        let arguments = ["job tables", request.parent.as_str()];
        let (job, tables, next_page_token) =
            self.table_page(job, &arguments, request.page_size, &request.page_token)?;
        let show = |(key, table): &(TableKey, JobTable)| self.show_table(&job, key, table, request.view());
        let job_tables = tables.iter().map(show).collect::<Result<_>>()?;
        Ok(pb::ListJobTablesResponse { job_tables, next_page_token, total_size: None })
    }

    pub(super) fn findings(
        &self,
        job: &JobKey,
        request: &pb::ListFindingsRequest,
    ) -> Result<pb::ListFindingsResponse, Status> {
        let arguments = ["findings", request.parent.as_str()];
        let wanted = page::size(request.page_size);
        let mut token = request.page_token.clone();
        let (mut findings, mut bytes, mut looked_at): (Vec<types::Finding>, usize, usize) = (Vec::new(), 0, 0);
        loop {
            // One table at a time: a page ends with a whole table.
            let (_, tables, next_page_token) = self.table_page(job, &arguments, 1, &token)?;
            for (key, table) in &tables {
                let name = name::source_table_name(key)?;
                let found = table.plan.findings.iter().map(|finding| finding_to(finding, &name));
                findings.extend(found.inspect(|finding| bytes += finding.encoded_len()));
            }
            looked_at += 1;
            let full = findings.len() >= wanted || bytes >= BYTES_MAX || looked_at >= LOOKED_AT_MAX;
            if full || next_page_token.is_empty() {
                return Ok(pb::ListFindingsResponse { findings, next_page_token, total_size: None });
            }
            token = next_page_token;
        }
    }

    /// One task as callers see it now.
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
        let filter = Filter::<pb::Task>::parse(&request.filter)?;
        let arguments = ["tasks", request.parent.as_str(), request.filter.as_str()];
        let after = page::after(&arguments, &request.page_token)?.and_then(|text| text.parse::<u32>().ok());
        let after = after.map(|number| TaskKey { job: job.clone(), number });
        let own = self.scheduler.store.read(|read| stored::find(read, job))?;
        let of = (own.uid(), own.is_halted());
        let records = |after: Option<&TaskKey>, limit: usize| {
            self.scheduler.store.read(|read| {
                let page = read.page(&TASKS, &Scope::prefix(job), after, limit)?;
                let mut found = Vec::with_capacity(page.items.len());
                // Tasks of one table follow each other.
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
        };
        let show = |key: &TaskKey, (task, table): (Task, Option<Arc<JobTable>>)| {
            let running = self.scheduler.leases.progress(key);
            let shown = task_to(key, &task, table.as_deref(), running, of, request.view())?;
            Ok(Some(shown).filter(|shown| filter.passes(shown)))
        };
        let size = page::size(request.page_size);
        let (tasks, last) = filter::fill(size, BYTES_MAX, after, records, show)?;
        let next_page_token = last.map(|key| page::token(&arguments, &key.number.to_string())).unwrap_or_default();
        let total_size = request.filter.is_empty().then_some(own.counts.tasks_total.into());
        Ok(pb::ListTasksResponse { tasks, next_page_token, total_size })
    }

    pub(super) fn logs(
        &self,
        task: &TaskKey,
        request: &pb::ListTaskLogsRequest,
    ) -> Result<pb::ListTaskLogsResponse, Status> {
        let arguments = ["logs", request.parent.as_str()];
        let after = page::after(&arguments, &request.page_token)?.and_then(|text| text.parse::<u64>().ok());
        let after = after.map(|sequence| LogKey { task: task.clone(), sequence });
        let size = page::size(request.page_size);
        let found = self
            .scheduler
            .store
            .read(|read| read.page(&LOGS, &Scope::prefix(task), after.as_ref(), size))
            .map_err(store)?;
        Ok(pb::ListTaskLogsResponse {
            logs: found.items.into_iter().map(|(key, log)| log_to(key.sequence, log)).collect(),
            next_page_token: found
                .next
                .map(|key| page::token(&arguments, &key.sequence.to_string()))
                .unwrap_or_default(),
            total_size: None,
        })
    }

    /// What the last verifications of a task, or of all tasks of a job, compared.
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
        let arguments = ["checks", request.parent.as_str()];
        let after = page::after(&arguments, &request.page_token)?.and_then(|text| numbers(&text));
        let after = after.map(|(task, number)| CheckKey { task: TaskKey { job: job.clone(), number: task }, number });
        let scope = match &only {
            Some(task) => Scope::prefix(task),
            None => Scope::prefix(&job),
        };
        let (checks, next, total_size) = self.scheduler.store.read(|read| {
            stored::find(read, &job)?;
            let total = match &only {
                None => None,
                Some(key) => {
                    let task = read.get(&TASKS, key)?.ok_or_else(|| SchedulerError::NotFound(name::task_name(key)))?;
                    Some(task.verification.map_or(0, |found| found.checks_kept.into()))
                }
            };
            let found = read.page(&CHECKS, &scope, after.as_ref(), page::size(request.page_size))?;
            let mut checks = Vec::with_capacity(found.items.len());
            // Checks of one task follow each other.
            let mut task: Option<(TaskKey, Task)> = None;
            for (key, check) in found.items {
                let own = key.task;
                if task.as_ref().is_none_or(|(known, _)| *known != own) {
                    task = read.get(&TASKS, &own)?.map(|task| (own, task));
                }
                checks.extend(task.as_ref().map(|(key, task)| check_to(key, task, check)));
            }
            Ok::<_, SchedulerError>((checks, found.next, total))
        })?;
        let next_page_token = next.map(|key| page::token(&arguments, &format!("{}-{}", key.task.number, key.number)));
        let next_page_token = next_page_token.unwrap_or_default();
        Ok(pb::ListVerificationChecksResponse { checks, next_page_token, total_size })
    }
}

fn store(error: mms_store::StoreError) -> Status {
    SchedulerError::from(error).into()
}

fn next(arguments: &[&str], key: Option<(String, String)>) -> String {
    key.map(|(a, b)| page::token(arguments, &format!("{a}\n{b}"))).unwrap_or_default()
}
