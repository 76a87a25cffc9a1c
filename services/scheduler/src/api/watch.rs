//! Streams that follow a job or a task. A position is the store's revision up to which the caller has seen changes.

use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use mms_proto::ApiError;
use mms_proto::scheduler::v1 as pb;
use mms_store::{Read, Scope};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Api;
use super::job::watch_ends;
use crate::control;
use crate::error::{Result, SchedulerError};
use crate::store::{JOB_TABLES, JobKey, TASKS, TaskKey};
use crate::task::TaskState;

pub type JobStream = Pin<Box<dyn Stream<Item = Result<pb::WatchJobResponse, Status>> + Send>>;
pub type TaskStream = Pin<Box<dyn Stream<Item = Result<pb::WatchTaskResponse, Status>> + Send>>;

/// Least time between two answers.
const PACE: Duration = Duration::from_millis(250);
/// Answers that may wait for a slow caller; it then gets fewer, never stale ones.
const QUEUE: usize = 1;

fn position(text: &str) -> Result<u64, Status> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| ApiError::invalid_field("position", "is not a position of this stream").into())
}

impl Api {
    pub(super) fn watch_job_stream(&self, key: JobKey, from: &str) -> Result<JobStream, Status> {
        let (mut seen, api) = (position(from)?, self.clone());
        let (send, receive) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut last = None;
            loop {
                let look = api.look_at_job(&key, seen);
                let (answer, ends) = match look {
                    Ok(found) => found,
                    Err(error) => return drop(send.send(Err(error.into())).await),
                };
                // Running tasks' progress changes without a revision.
                if last.as_ref() != answer.job.as_ref() || !answer.tables.is_empty() {
                    last.clone_from(&answer.job);
                    seen = answer.position.parse().unwrap_or(seen);
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
        });
        Ok(Box::pin(ReceiverStream::new(receive)))
    }

    fn look_at_job(&self, key: &JobKey, seen: u64) -> Result<(pb::WatchJobResponse, bool)> {
        let (job, tables, revision) = self.core.store.read(|read| {
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
        })?;
        let tables = tables.iter().map(|(key, table)| self.show_table(key, table)).collect::<Result<_>>()?;
        let answer = pb::WatchJobResponse { job: Some(self.show(key, &job)), tables, position: revision.to_string() };
        Ok((answer, watch_ends(&job)))
    }

    pub(super) fn watch_task_stream(&self, key: TaskKey, from: &str) -> Result<TaskStream, Status> {
        let (seen, api) = (position(from)?, self.clone());
        let (send, receive) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut last = None;
            loop {
                let (task, revision, ends) = match api.look_at_task(&key) {
                    Ok(found) => found,
                    Err(error) => return drop(send.send(Err(error.into())).await),
                };
                let fresh = last.is_some() || revision > seen || ends;
                if fresh && last.as_ref() != Some(&task) {
                    last = Some(task.clone());
                    let answer = pb::WatchTaskResponse { task: Some(task), position: revision.to_string() };
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
        });
        Ok(Box::pin(ReceiverStream::new(receive)))
    }

    fn look_at_task(&self, key: &TaskKey) -> Result<(pb::Task, u64, bool)> {
        let record = self.core.store.read(|read| read.get(&TASKS, key))?;
        let ended = record
            .as_ref()
            .and_then(TaskState::of)
            .is_none_or(|state| state.is_failed() || matches!(state, TaskState::Done | TaskState::Stopped));
        Ok((self.task(key)?, record.map_or(0, |task| task.revision), ended))
    }
}
