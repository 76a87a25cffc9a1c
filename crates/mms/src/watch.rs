//! Following scans, jobs and tasks to their end, through broken connections and restarts of the services.

use std::time::Duration;

use mms_proto::catalog::v1::{Scan, ScanState, WatchScanRequest, WatchScanResponse};
use mms_proto::scheduler::v1::{
    Job, JobState, Task, WatchJobRequest, WatchJobResponse, WatchTaskRequest, WatchTaskResponse,
};
use tokio::time::Instant;
use tonic::{Response, Status, Streaming};

use crate::client::Clients;

/// How long a service may be away before the watch gives up.
const PATIENCE: Duration = Duration::from_secs(600);
/// Pause before a watch is taken up again.
const PAUSE: Duration = Duration::from_millis(500);

/// Whether a scan has ended.
pub fn scan_ended(scan: &Scan) -> bool {
    !matches!(scan.state(), ScanState::Unspecified | ScanState::Pending | ScanState::Running)
}

/// Whether a job has ended, or waits for somebody: then its stream ends.
pub fn job_rests(job: &Job) -> bool {
    matches!(
        job.state(),
        JobState::Done | JobState::Failed | JobState::Stopped | JobState::Paused | JobState::PendingReview
    )
}

/// Whether a task has ended.
pub fn task_ended(task: &Task) -> bool {
    task.end_time.is_some()
}

/// Follows a scan to its end.
pub async fn scan(clients: &Clients, name: &str, mut each: impl FnMut(&WatchScanResponse)) -> anyhow::Result<Scan> {
    let watch = |position| {
        let (mut client, name) = (clients.scans.clone(), name.to_owned());
        async move { client.watch_scan(WatchScanRequest { name, position }).await }
    };
    follow(watch, |answer: WatchScanResponse| {
        each(&answer);
        (answer.position, answer.scan.filter(scan_ended))
    })
    .await
}

/// Follows a job until it has ended or waits for somebody.
pub async fn job(clients: &Clients, name: &str, mut each: impl FnMut(&WatchJobResponse)) -> anyhow::Result<Job> {
    let watch = |position| {
        let (mut client, name) = (clients.jobs.clone(), name.to_owned());
        async move { client.watch_job(WatchJobRequest { name, position, ..Default::default() }).await }
    };
    follow(watch, |answer: WatchJobResponse| {
        each(&answer);
        (answer.position, answer.job.filter(job_rests))
    })
    .await
}

/// Follows a task to its end.
pub async fn task(clients: &Clients, name: &str, mut each: impl FnMut(&WatchTaskResponse)) -> anyhow::Result<Task> {
    let watch = |position| {
        let (mut client, name) = (clients.jobs.clone(), name.to_owned());
        async move { client.watch_task(WatchTaskRequest { name, position, ..Default::default() }).await }
    };
    follow(watch, |answer: WatchTaskResponse| {
        each(&answer);
        (answer.position, answer.task.filter(task_ended))
    })
    .await
}

/// Watches from position to position; `take` gives the next position of an answer, and what ends the watch.
async fn follow<A, T, F>(
    watch: impl Fn(String) -> F,
    mut take: impl FnMut(A) -> (String, Option<T>),
) -> anyhow::Result<T>
where
    F: Future<Output = Result<Response<Streaming<A>>, Status>>,
{
    let (mut position, mut silent_since) = (String::new(), Instant::now());
    loop {
        let broken = match watch(position.clone()).await {
            Err(status) => status,
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(answer)) => {
                            let (next, end) = take(answer);
                            if let Some(end) = end {
                                return Ok(end);
                            }
                            (position, silent_since) = (next, Instant::now());
                        }
                        Ok(None) => break Status::unavailable("the stream ended before what it tells of did"),
                        Err(status) => break status,
                    }
                }
            }
        };
        if !mms_server::is_retryable(&broken) || silent_since.elapsed() > PATIENCE {
            return Err(broken.into());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
