//! The worker's life: register, lease as many tasks as there are free slots, say how they go, and hand what they came to
//! back. A task whose lease is lost is dropped where it stands.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1 as types;
use mms_proto::{ApiError, ErrorReason};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ends::Sessions;
use crate::error::TransferError;
use crate::peers::Peers;
use crate::progress::Progress;
use crate::run::{End, Me, Run, Settings};
use crate::transfers::Transfers;

/// How long one LeaseTasks waits at the scheduler.
const LEASE_WAIT: Duration = Duration::from_secs(10);
/// Pause after a failed call to the scheduler.
const PAUSE: Duration = Duration::from_millis(500);

/// Delta reader features that the reader here applies.
const READER_FEATURES: [&str; 9] = [
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "inCommitTimestamp",
    "domainMetadata",
];

struct Held {
    epoch: pb::Epoch,
    progress: Arc<Progress>,
    drop: CancellationToken,
    wind_down: CancellationToken,
}

/// A worker.
pub struct Worker {
    peers: Peers,
    sessions: Sessions,
    me: Me,
    register: pb::RegisterWorkerRequest,
    settings: Settings,
    slots: Arc<Semaphore>,
    held: Mutex<HashMap<String, Held>>,
    transfers: Arc<Transfers>,
    tasks: TaskTracker,
    /// Take no further tasks.
    draining: CancellationToken,
}

/// What this worker tells of itself.
pub fn registration(
    id: String,
    instance: String,
    pool: String,
    slots: usize,
    endpoint: String,
) -> pb::RegisterWorkerRequest {
    use types::{ReadPath, TargetKind};
    let capabilities = pb::Capabilities {
        steps: vec![pb::TaskStep::Schema as i32, pb::TaskStep::Data as i32, pb::TaskStep::Verification as i32],
        read_paths: vec![ReadPath::Storage as i32],
        target_kinds: vec![TargetKind::Ordinary as i32, TargetKind::AppendDelta as i32],
        reader_features: READER_FEATURES.iter().map(|feature| (*feature).to_owned()).collect(),
        engine: pb::Engine::BuiltIn as i32,
        roles: vec![pb::TaskRole::Single as i32],
    };
    pb::RegisterWorkerRequest {
        worker_id: id,
        instance,
        pool,
        slots: i32::try_from(slots).unwrap_or(1),
        contract_version: 1,
        capabilities: Some(capabilities),
        endpoint,
    }
}

impl Worker {
    /// A worker that is not registered yet.
    pub fn new(
        peers: Peers,
        register: pb::RegisterWorkerRequest,
        settings: Settings,
        transfers: Arc<Transfers>,
        draining: CancellationToken,
    ) -> Arc<Self> {
        let me = Me { worker: format!("workers/{}", register.worker_id), instance: register.instance.clone() };
        let slots = usize::try_from(register.slots).unwrap_or(1);
        Arc::new(Self {
            sessions: Sessions::new(peers.clone(), me.worker.clone()),
            slots: Arc::new(Semaphore::new(slots)),
            held: Mutex::default(),
            tasks: TaskTracker::new(),
            peers,
            me,
            register,
            settings,
            transfers,
            draining,
        })
    }

    /// Works until `stop` is cancelled; then gives its leases back.
    pub async fn work(self: Arc<Self>, stop: CancellationToken) {
        let beating = tokio::spawn(self.clone().beat(stop.clone()));
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.clone().lease() => {}
        }
        for held in self.held.lock().values() {
            held.drop.cancel();
        }
        self.tasks.close();
        self.tasks.wait().await;
        beating.abort();
    }

    /// Tasks in its hands.
    pub fn held(&self) -> usize {
        self.held.lock().len()
    }

    /// Takes no more tasks and lets those at hand stop at their next checkpoint; after `deadline` they are given back as
    /// they are. Answers how many ended by themselves and how many were given back.
    pub async fn drain(&self, deadline: Duration) -> (usize, usize) {
        self.draining.cancel();
        let at_hand = self.held();
        for held in self.held.lock().values() {
            held.wind_down.cancel();
        }
        self.tasks.close();
        let given_back = if tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok() {
            0
        } else {
            let left = self.held();
            for held in self.held.lock().values() {
                held.drop.cancel();
            }
            self.tasks.wait().await;
            left
        };
        (at_hand - given_back.min(at_hand), given_back)
    }

    async fn register(&self) {
        loop {
            match self.peers.register(&self.register).await {
                Ok(answer) => {
                    tracing::info!(worker = answer.worker, "registered");
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "the scheduler does not take this worker; trying again");
                    tokio::time::sleep(PAUSE * 10).await;
                }
            }
        }
    }

    async fn lease(self: Arc<Self>) {
        self.register().await;
        loop {
            let free = tokio::select! {
                () = self.draining.cancelled() => return std::future::pending().await,
                free = self.slots.clone().acquire_owned() => free,
            };
            let Ok(first) = free else { return };
            let mut slots = vec![first];
            while let Ok(more) = self.slots.clone().try_acquire_owned() {
                slots.push(more);
            }
            let request = pb::LeaseTasksRequest {
                worker: self.me.worker.clone(),
                instance: self.me.instance.clone(),
                max_tasks: i32::try_from(slots.len()).unwrap_or(1),
                wait: prost_types::Duration::try_from(LEASE_WAIT).ok(),
            };
            match self.peers.lease(request).await {
                Ok(leases) => {
                    for lease in leases {
                        self.clone().start(lease, slots.pop());
                    }
                }
                Err(error) if unknown(&error) => self.register().await,
                Err(error) => {
                    tracing::debug!(%error, "no lease");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn start(self: Arc<Self>, lease: pb::Lease, slot: Option<tokio::sync::OwnedSemaphorePermit>) {
        let (Some(spec), Some(epoch)) = (lease.task.clone(), lease.epoch) else { return };
        let progress = Arc::new(Progress::default());
        let held = Held {
            epoch,
            progress: progress.clone(),
            drop: CancellationToken::new(),
            wind_down: CancellationToken::new(),
        };
        let (drop_it, wind_down) = (held.drop.clone(), held.wind_down.clone());
        let name = spec.name.clone();
        self.held.lock().insert(name.clone(), held);
        let shown = self.transfers.begin(&spec, epoch, progress.clone());
        let run = Run {
            me: self.me.clone(),
            peers: self.peers.clone(),
            settings: self.settings,
            spec,
            epoch,
            progress,
            wind_down,
        };
        let worker = self.clone();
        self.tasks.spawn(async move {
            let _slot = slot;
            let outcome = tokio::select! {
                () = drop_it.cancelled() => Err((pb::TaskStep::Unspecified, TransferError::GivenUp)),
                outcome = run.attempt(&worker.sessions, &lease) => outcome,
            };
            let error = worker.finish(&run, outcome).await;
            // Only the lease that this attempt had: a newer one of the same task is somebody else's.
            let mut held = worker.held.lock();
            if held.get(&name).is_some_and(|held| held.epoch == epoch) {
                held.remove(&name);
            }
            drop(held);
            worker.transfers.end(&shown, error);
        });
    }

    /// Tells the scheduler how an attempt ended. Answers why it did not do its task.
    async fn finish(&self, run: &Run, outcome: Result<End, (pb::TaskStep, TransferError)>) -> Option<String> {
        match outcome {
            Ok(End::Done) => None,
            Ok(End::WoundDown) => {
                self.release(run).await;
                Some("stopped at a checkpoint".to_owned())
            }
            Err((step, error)) => {
                let text = error.to_string();
                match error.report(step) {
                    Some(failed) => {
                        tracing::warn!(task = run.spec.name, error = text, "the attempt failed");
                        let told = run.report(pb::task_report::Event::Failed(failed), vec![]).await;
                        if let Err(error) = told {
                            tracing::info!(%error, task = run.spec.name, "the failure was not taken");
                        }
                    }
                    // The lease is lost, or this process stops: giving it back is a courtesy.
                    None => self.release(run).await,
                }
                Some(text)
            }
        }
    }

    async fn release(&self, run: &Run) {
        let lease = pb::ReleasedLease { task: run.spec.name.clone(), epoch: Some(run.epoch) };
        let request = pb::ReleaseTasksRequest {
            worker: self.me.worker.clone(),
            instance: self.me.instance.clone(),
            leases: vec![lease],
        };
        if let Err(error) = self.peers.release(request).await {
            tracing::info!(%error, task = run.spec.name, "the lease was not given back; it runs out");
        }
    }

    async fn beat(self: Arc<Self>, stop: CancellationToken) {
        let mut interval = Duration::from_millis(500);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
            }
            let beats: Vec<pb::LeaseBeat> = self
                .held
                .lock()
                .iter()
                .map(|(task, held)| pb::LeaseBeat {
                    task: task.clone(),
                    epoch: Some(held.epoch),
                    progress: Some(held.progress.beat()),
                    checkpoint: bytes::Bytes::new(),
                })
                .collect();
            if beats.is_empty() {
                continue;
            }
            let request = pb::HeartbeatRequest {
                worker: self.me.worker.clone(),
                instance: self.me.instance.clone(),
                beats: beats.clone(),
            };
            match self.peers.beat(request).await {
                Ok(answers) => {
                    for (beat, answer) in beats.iter().zip(answers) {
                        interval = self.obey(beat, &answer).unwrap_or(interval);
                    }
                }
                Err(error) if unknown(&error) => self.register().await,
                Err(error) => tracing::debug!(%error, "the heartbeat was not heard"),
            }
        }
    }

    /// Does what an answer says; answers how often to send heartbeats.
    fn obey(&self, beat: &pb::LeaseBeat, answer: &pb::LeaseAnswer) -> Option<Duration> {
        let held = self.held.lock();
        let ours = held.get(&answer.task).filter(|held| Some(held.epoch) == beat.epoch)?;
        match answer.verdict() {
            pb::LeaseVerdict::StopNow => {
                tracing::info!(task = answer.task, "the lease is lost: the task is dropped");
                ours.drop.cancel();
            }
            pb::LeaseVerdict::StopAtCheckpoint => ours.wind_down.cancel(),
            _ => {}
        }
        let term = answer.expire_after.and_then(|term| Duration::try_from(term).ok())?;
        // A third of the term, but often enough that progress looks alive.
        Some((term / 3).clamp(Duration::from_millis(100), Duration::from_secs(2)))
    }
}

fn unknown(error: &TransferError) -> bool {
    matches!(error, TransferError::Peer { error, .. } if is_unknown(error))
}

fn is_unknown(error: &ApiError) -> bool {
    error.reason == ErrorReason::WorkerUnknown
}
