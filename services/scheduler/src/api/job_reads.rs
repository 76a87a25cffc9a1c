//! Reading jobs, their tables, tasks, findings and logs, page by page.

use mms_proto::name::{DataSourceName, Parent};
use mms_proto::page;
use mms_proto::scheduler::v1 as pb;
use mms_store::{Read, Scope};
use tonic::Status;

use super::{Api, plain_list};
use crate::control;
use crate::convert::{finding_to, job_table_to, log_to, task_to};
use crate::error::{Result, SchedulerError};
use crate::key;
use crate::record::JobTable;
use crate::store::{JOB_TABLES, JOBS, JobKey, LOGS, TASKS, TableKey, TaskKey};

/// Keys in page tokens are joined by a character that no id of ours has.
fn split(text: &str) -> Option<(String, String)> {
    text.split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned()))
}

impl Api {
    pub(super) fn jobs(
        &self,
        request: &pb::ListJobsRequest,
        parent: &Parent<DataSourceName>,
    ) -> Result<pb::ListJobsResponse, Status> {
        plain_list(&request.filter, &request.order_by)?;
        let arguments = ["jobs", request.parent.as_str()];
        let after = page::after(&arguments, &request.page_token)?.and_then(|text| split(&text));
        let scope = match parent.exact() {
            Some(source) => Scope::prefix(&(source.id().as_str().to_owned(),)),
            None => Scope::all(),
        };
        let size = page::size(request.page_size);
        let found = self.core.store.read(|read| read.page(&JOBS, &scope, after.as_ref(), size)).map_err(store)?;
        Ok(pb::ListJobsResponse {
            jobs: found.items.iter().map(|(key, job)| self.show(key, job)).collect(),
            next_page_token: next(&arguments, found.next),
        })
    }

    fn table_page(
        &self,
        job: &JobKey,
        arguments: &[&str],
        page_size: i32,
        page_token: &str,
    ) -> Result<(Vec<(TableKey, JobTable)>, String), Status> {
        let after = page::after(arguments, page_token)?.and_then(|text| split(&text));
        let after: Option<TableKey> = after.map(|(schema, table)| (job.0.clone(), job.1.clone(), schema, table));
        let scope = Scope::prefix(&(job.0.clone(), job.1.clone()));
        let found = self.core.store.read(|read| {
            control::job(read, job)?;
            Ok::<_, SchedulerError>(read.page(&JOB_TABLES, &scope, after.as_ref(), page::size(page_size))?)
        })?;
        let token = next(arguments, found.next.map(|key| (key.2, key.3)));
        Ok((found.items, token))
    }

    /// A table of a job with what its running tasks say of themselves.
    pub(super) fn show_table(&self, key: &TableKey, table: &JobTable) -> Result<pb::JobTable> {
        let own = table.first_task..table.first_task + table.task_count.unsigned_abs();
        let running = self.core.leases.sum(&(key.0.clone(), key.1.clone()), |number| own.contains(&number));
        job_table_to(key, table, running)
    }

    pub(super) fn job_tables(
        &self,
        job: &JobKey,
        request: &pb::ListJobTablesRequest,
    ) -> Result<pb::ListJobTablesResponse, Status> {
        plain_list(&request.filter, "")?;
        let arguments = ["job tables", request.parent.as_str()];
        let (tables, next_page_token) = self.table_page(job, &arguments, request.page_size, &request.page_token)?;
        let job_tables = tables.iter().map(|(key, table)| self.show_table(key, table)).collect::<Result<_>>()?;
        Ok(pb::ListJobTablesResponse { job_tables, next_page_token })
    }

    pub(super) fn findings(
        &self,
        job: &JobKey,
        request: &pb::ListFindingsRequest,
    ) -> Result<pb::ListFindingsResponse, Status> {
        let arguments = ["findings", request.parent.as_str()];
        let wanted = page::size(request.page_size);
        let mut token = request.page_token.clone();
        let mut findings = Vec::new();
        loop {
            // One table at a time: a page ends with a whole table.
            let (tables, next_page_token) = self.table_page(job, &arguments, 1, &token)?;
            for (key, table) in &tables {
                let name = key::table_name(&key.0, &key.2, &key.3)?;
                findings.extend(table.findings.iter().map(|finding| finding_to(finding, &name)));
            }
            if findings.len() >= wanted || next_page_token.is_empty() {
                return Ok(pb::ListFindingsResponse { findings, next_page_token });
            }
            token = next_page_token;
        }
    }

    /// One task as callers see it now.
    pub(super) fn task(&self, key: &TaskKey) -> Result<pb::Task> {
        let (task, table) = self.core.store.read(|read| {
            let not_found = || SchedulerError::NotFound(key::task_name(key));
            let task = read.get(&TASKS, key)?.ok_or_else(not_found)?;
            let table = read.get(&JOB_TABLES, &key::table_of(key, &task))?;
            Ok::<_, SchedulerError>((task, table))
        })?;
        task_to(key, &task, table.as_ref(), self.core.leases.progress(key))
    }

    pub(super) fn tasks(&self, job: &JobKey, request: &pb::ListTasksRequest) -> Result<pb::ListTasksResponse, Status> {
        plain_list(&request.filter, &request.order_by)?;
        let arguments = ["tasks", request.parent.as_str()];
        let after = page::after(&arguments, &request.page_token)?.and_then(|text| text.parse::<u32>().ok());
        let after: Option<TaskKey> = after.map(|number| (job.0.clone(), job.1.clone(), number));
        let scope = Scope::prefix(&(job.0.clone(), job.1.clone()));
        let found = self.core.store.read(|read| {
            control::job(read, job)?;
            let found = read.page(&TASKS, &scope, after.as_ref(), page::size(request.page_size))?;
            let mut tasks = Vec::with_capacity(found.items.len());
            for (key, task) in &found.items {
                let table = read.get(&JOB_TABLES, &key::table_of(key, task))?;
                tasks.push(task_to(key, task, table.as_ref(), self.core.leases.progress(key))?);
            }
            Ok::<_, SchedulerError>((tasks, found.next))
        })?;
        let token = found.1.map(|key| page::token(&arguments, &key.2.to_string())).unwrap_or_default();
        Ok(pb::ListTasksResponse { tasks: found.0, next_page_token: token })
    }

    pub(super) fn logs(
        &self,
        task: &TaskKey,
        request: &pb::ListTaskLogsRequest,
    ) -> Result<pb::ListTaskLogsResponse, Status> {
        let arguments = ["logs", request.parent.as_str()];
        let after = page::after(&arguments, &request.page_token)?.and_then(|text| text.parse::<u64>().ok());
        let after = after.map(|sequence| (task.0.clone(), task.1.clone(), task.2, sequence));
        let scope = Scope::prefix(&(task.0.clone(), task.1.clone(), task.2));
        let size = page::size(request.page_size);
        let found = self.core.store.read(|read| read.page(&LOGS, &scope, after.as_ref(), size)).map_err(store)?;
        Ok(pb::ListTaskLogsResponse {
            logs: found.items.into_iter().map(|(key, log)| log_to(key.3, log)).collect(),
            next_page_token: found.next.map(|key| page::token(&arguments, &key.3.to_string())).unwrap_or_default(),
        })
    }
}

fn store(error: mms_store::StoreError) -> Status {
    SchedulerError::from(error).into()
}

fn next(arguments: &[&str], key: Option<(String, String)>) -> String {
    key.map(|(a, b)| page::token(arguments, &format!("{a}\n{b}"))).unwrap_or_default()
}
