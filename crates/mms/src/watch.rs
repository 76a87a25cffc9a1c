//! Following scans and jobs to their end, through broken connections and restarts of the services.

use std::time::Duration;

use mms_proto::catalog::v1::{Scan, ScanState, WatchScanRequest};
use mms_proto::scheduler::v1::{Job, JobState, WatchJobRequest, WatchJobResponse};
use tokio::time::Instant;
use tonic::Status;

use crate::client::Clients;

/// How long a service may be away before the watch gives up.
const PATIENCE: Duration = Duration::from_secs(600);
/// Pause before a watch is taken up again.
const PAUSE: Duration = Duration::from_millis(500);

/// Where a watch stands, and since when it has heard nothing.
struct Thread {
    position: String,
    silent_since: Instant,
}

impl Thread {
    fn new() -> Self {
        Self { position: String::new(), silent_since: Instant::now() }
    }

    fn heard(&mut self, position: String) {
        self.position = position;
        self.silent_since = Instant::now();
    }

    /// Waits before the next try; the error when there shall be none.
    async fn broken(&self, status: Status) -> Result<(), Status> {
        if !mms_server::is_retryable(&status) || self.silent_since.elapsed() > PATIENCE {
            return Err(status);
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

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

/// Follows a scan to its end.
pub async fn scan(clients: &Clients, name: &str, mut each: impl FnMut(&Scan)) -> anyhow::Result<Scan> {
    let (mut client, mut thread) = (clients.scans.clone(), Thread::new());
    loop {
        let request = WatchScanRequest { name: name.to_owned(), position: thread.position.clone() };
        let broken = match client.watch_scan(request).await {
            Err(status) => status,
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(answer)) => {
                            thread.heard(answer.position);
                            let Some(scan) = answer.scan else { continue };
                            each(&scan);
                            if scan_ended(&scan) {
                                return Ok(scan);
                            }
                        }
                        Ok(None) => break Status::unavailable("the stream ended before the scan did"),
                        Err(status) => break status,
                    }
                }
            }
        };
        thread.broken(broken).await?;
    }
}

/// Follows a job until it has ended or waits for somebody.
pub async fn job(clients: &Clients, name: &str, mut each: impl FnMut(&WatchJobResponse)) -> anyhow::Result<Job> {
    let (mut client, mut thread) = (clients.jobs.clone(), Thread::new());
    loop {
        let request = WatchJobRequest { name: name.to_owned(), position: thread.position.clone() };
        let broken = match client.watch_job(request).await {
            Err(status) => status,
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(answer)) => {
                            each(&answer);
                            thread.heard(answer.position);
                            if let Some(job) = answer.job.filter(job_rests) {
                                return Ok(job);
                            }
                        }
                        Ok(None) => break Status::unavailable("the stream ended before the job did"),
                        Err(status) => break status,
                    }
                }
            }
        };
        thread.broken(broken).await?;
    }
}
