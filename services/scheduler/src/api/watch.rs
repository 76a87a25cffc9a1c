//! Streams that follow a job or a task. A position is the store's: up to which durable revision the caller has seen
//! changes.

use std::time::Duration;

use mms_proto::ApiError;
use mms_proto::scheduler::v1 as pb;
use mms_server::stream::Answers;
use mms_store::{Read, Scope};
use tonic::Status;

use super::Api;
use super::job::watch_ends;
use crate::control;
use crate::error::{Result, SchedulerError};
use crate::store::{JOB_TABLES, JobKey, TASKS, TaskKey};
use crate::task::TaskState;

pub type JobStream = Answers<pb::WatchJobResponse>;
pub type TaskStream = Answers<pb::WatchTaskResponse>;

/// Least time between two answers.
const PACE: Duration = Duration::from_millis(250);
/// Answers that may wait for a slow caller; it then gets fewer, never stale ones.
const QUEUE: usize = 1;

impl Api {
    fn revision_at(&self, position: &str) -> Result<u64, Status> {
        let fault = || ApiError::invalid_field("position", "is not a position of this stream").into();
        self.core.store.revision_at(position).ok_or_else(fault)
    }

    pub(super) fn watch_job_stream(&self, key: JobKey, from: &str) -> Result<JobStream, Status> {
        let (mut seen, api) = (self.revision_at(from)?, self.clone());
        Ok(mms_server::stream(QUEUE, move |send| async move {
            let mut last = None;
            loop {
                let look = api.look_at_job(&key, seen).await;
                let (answer, revision, ends) = match look {
                    Ok(found) => found,
                    Err(error) => return drop(send.send(Err(error.into())).await),
                };
                // Running tasks' progress changes without a revision.
                if last.as_ref() != answer.job.as_ref() || !answer.tables.is_empty() {
                    last.clone_from(&answer.job);
                    seen = revision;
                    if send.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
                if ends {
                    return;
                }
                tokio::select! {
                    () = send.closed() => return,
                    () = tokio::time::sleep(PACE) => {}
                }
            }
        }))
    }

    async fn look_at_job(&self, key: &JobKey, seen: u64) -> Result<(pb::WatchJobResponse, u64, bool)> {
        let look = self.core.store.read_durable(|read| {
            let revision = read.revision();
            let job = control::job(read, key)?;
            let mut tables = Vec::new();
            read.scan(&JOB_TABLES, &Scope::prefix(&(key.0.clone(), key.1.clone())), |key, table| {
                if table.revision > seen {
                    tables.push((key, table));
                }
                std::ops::ControlFlow::Continue(())
            })?;
            Ok::<_, SchedulerError>((job, tables, revision))
        });
        let (job, tables, revision) = look.await?;
        let tables = tables.iter().map(|(key, table)| self.show_table(key, table)).collect::<Result<_>>()?;
        let position = self.core.store.position(revision);
        let answer = pb::WatchJobResponse { job: Some(self.show(key, &job)), tables, position };
        Ok((answer, revision, watch_ends(&job)))
    }

    pub(super) fn watch_task_stream(&self, key: TaskKey, from: &str) -> Result<TaskStream, Status> {
        let (seen, api) = (self.revision_at(from)?, self.clone());
        Ok(mms_server::stream(QUEUE, move |send| async move {
            let mut last = None;
            loop {
                let (task, revision, ends) = match api.look_at_task(&key).await {
                    Ok(found) => found,
                    Err(error) => return drop(send.send(Err(error.into())).await),
                };
                let fresh = last.is_some() || revision > seen || ends;
                if fresh && last.as_ref() != Some(&task) {
                    last = Some(task.clone());
                    let answer =
                        pb::WatchTaskResponse { task: Some(task), position: api.core.store.position(revision) };
                    if send.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
                if ends {
                    return;
                }
                tokio::select! {
                    () = send.closed() => return,
                    () = tokio::time::sleep(PACE) => {}
                }
            }
        }))
    }

    async fn look_at_task(&self, key: &TaskKey) -> Result<(pb::Task, u64, bool)> {
        let record = self.core.store.read_durable(|read| read.get(&TASKS, key)).await?;
        let ended = record
            .as_ref()
            .and_then(TaskState::of)
            .is_none_or(|state| state.is_failed() || matches!(state, TaskState::Done | TaskState::Stopped));
        Ok((self.task(key)?, record.map_or(0, |task| task.revision), ended))
    }
}
