//! Follows scans, jobs and tasks to their end, through broken connections and restarts of the services.
//!
//! A watch resumes at its last position. It fails after ten minutes of transient failures without an answer, and at
//! once on any other failure.

use mms_proto::catalog::v1::{Scan, ScanState, WatchScanRequest, WatchScanResponse};
use mms_proto::scheduler::v1::{
    Job, JobState, Task, WatchJobRequest, WatchJobResponse, WatchTaskRequest, WatchTaskResponse,
};
use mms_server::peer::{Attempts, Classify, PeerError, TEN_MINUTES};
use tonic::{Response, Status, Streaming};

use crate::client::Clients;

/// Whether a scan has ended.
pub fn scan_ended(scan: &Scan) -> bool {
    !matches!(scan.state(), ScanState::Unspecified | ScanState::Pending | ScanState::Running)
}

/// Whether a job has ended or waits for a person. Its stream ends then.
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

/// Follows a job until it has ended or waits for a person.
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

/// Watches from position to position. `take` returns the next position of an answer, and the value that ends the watch,
/// if any.
async fn follow<A, T, F>(
    watch: impl Fn(String) -> F,
    mut take: impl FnMut(A) -> (String, Option<T>),
) -> anyhow::Result<T>
where
    F: Future<Output = Result<Response<Streaming<A>>, Status>>,
{
    let (mut position, mut attempts) = (String::new(), Attempts::patient(TEN_MINUTES));
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
                            (position, attempts) = (next, Attempts::patient(TEN_MINUTES));
                        }
                        Ok(None) => break Status::unavailable("the service closed the watch before its end"),
                        Err(status) => break status,
                    }
                }
            }
        };
        let class = PeerError::of("the service")(broken.clone()).retry_class();
        if !attempts.again(class).await {
            return Err(broken.into());
        }
    }
}
