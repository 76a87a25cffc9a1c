//! The worker's life: registers, leases as many tasks as there are free slots, sends heartbeats, and reports each task's
//! result. An attempt whose lease is lost, or may have expired, is dropped at once: it must never act after its lease.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use mms_http::Traffic;
use mms_proto::ErrorReason;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1 as types;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::context::{Me, Report, Run, Settings};
use crate::counters::Counters;
use crate::ends::Sessions;
use crate::error::TransferError;
use crate::pace::Pace;
use crate::peers::Peers;
use crate::progress::Progress;
use crate::run::{self, End};
use crate::term::Term;
use crate::transfers::{Ending, Transfers};

/// How long one LeaseTasks waits at the scheduler.
const LEASE_WAIT: Duration = Duration::from_secs(10);
/// Pause after a failed call to the scheduler; ten times as long after a rejected registration.
const PAUSE: Duration = Duration::from_millis(500);

/// Lease term that is assumed until the scheduler has answered the registration.
const TERM: Duration = Duration::from_secs(30);

struct Held {
    epoch: pb::Epoch,
    term: Arc<Term>,
    progress: Arc<Progress>,
    pace: Arc<Pace>,
    drop: CancellationToken,
    wind_down: CancellationToken,
}

pub struct Worker {
    peers: Peers,
    sessions: Arc<Sessions>,
    me: Me,
    register: pb::RegisterWorkerRequest,
    settings: Settings,
    counters: Counters,
    slots: Arc<Semaphore>,
    held: Mutex<HashMap<String, Held>>,
    transfers: Arc<Transfers>,
    tasks: TaskTracker,
    /// Cancelled when a drain begins: no further tasks are leased.
    draining: CancellationToken,
    /// Cancelled when no LeaseTasks is under way any more and none will follow.
    leased_last: CancellationToken,
    /// Lease term that the scheduler gave with the registration.
    lease_term: Mutex<Duration>,
    /// Attempts that ended by themselves (done or failed), and those that were given up or released.
    ended: AtomicUsize,
    given_up: AtomicUsize,
}

/// How this worker introduces itself to the scheduler.
pub fn registration(
    id: String,
    instance: String,
    pool: String,
    slots: usize,
    endpoint: String,
) -> pb::RegisterWorkerRequest {
    use types::{ReadPath, TargetKind};
    let capabilities = pb::Capabilities {
        steps: [pb::TaskStep::Schema, pb::TaskStep::Data, pb::TaskStep::Verification, pb::TaskStep::Look]
            .map(|step| step as i32)
            .into(),
        read_paths: vec![ReadPath::Storage as i32, ReadPath::Jdbc as i32],
        target_kinds: vec![TargetKind::Ordinary as i32, TargetKind::AppendDelta as i32],
        reader_features: mms_delta::READER_FEATURES.iter().map(|feature| (*feature).to_owned()).collect(),
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
    /// A worker that has not registered yet.
    pub fn new(
        peers: Peers,
        register: pb::RegisterWorkerRequest,
        settings: Settings,
        counters: Counters,
        transfers: Arc<Transfers>,
        draining: CancellationToken,
    ) -> Arc<Self> {
        let me = Me { worker: format!("workers/{}", register.worker_id), instance: register.instance.clone() };
        let slots = usize::try_from(register.slots).unwrap_or(1);
        Arc::new(Self {
            sessions: Arc::new(Sessions::new(peers.registry(), me.worker.clone())),
            slots: Arc::new(Semaphore::new(slots)),
            held: Mutex::default(),
            tasks: TaskTracker::new(),
            peers,
            me,
            register,
            settings,
            counters,
            transfers,
            draining,
            leased_last: CancellationToken::new(),
            lease_term: Mutex::new(TERM),
            ended: AtomicUsize::new(0),
            given_up: AtomicUsize::new(0),
        })
    }

    /// Works until `stop` is cancelled; then drops its attempts and releases their leases.
    pub async fn work(self: Arc<Self>, stop: CancellationToken) {
        let beating = tokio::spawn(self.clone().beat(stop.clone()));
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.clone().lease() => {}
            () = self.sessions.keep_house() => {}
        }
        self.leased_last.cancel();
        self.each_held(|held| held.drop.cancel());
        self.tasks.close();
        self.tasks.wait().await;
        self.sessions.close_all().await;
        beating.abort();
    }

    /// Leases no more tasks and lets the running ones stop at their next checkpoint; after `deadline` their leases are
    /// released where they stand. Returns how many attempts ended by themselves and how many were given up.
    pub async fn drain(&self, deadline: Duration) -> (usize, usize) {
        let (ended, given_up) = (self.ended.load(Relaxed), self.given_up.load(Relaxed));
        self.draining.cancel();
        self.each_held(|held| held.wind_down.cancel());
        let gone = async {
            // A LeaseTasks that was under way when the drain began may have started tasks meanwhile.
            self.leased_last.cancelled().await;
            self.each_held(|held| held.wind_down.cancel());
            self.tasks.close();
            self.tasks.wait().await;
        };
        if tokio::time::timeout(deadline, gone).await.is_err() {
            self.each_held(|held| held.drop.cancel());
            self.leased_last.cancelled().await;
            self.each_held(|held| held.drop.cancel());
            self.tasks.close();
            self.tasks.wait().await;
        }
        (self.ended.load(Relaxed) - ended, self.given_up.load(Relaxed) - given_up)
    }

    /// Number of leases that this worker holds.
    pub fn at_hand(&self) -> u64 {
        self.held.lock().len() as u64
    }

    /// Counters of the traffic with sources and targets.
    pub fn traffic(&self) -> &Traffic {
        self.sessions.traffic()
    }

    fn each_held(&self, act: impl Fn(&Held)) {
        self.held.lock().values().for_each(act);
    }

    async fn register(&self) {
        loop {
            match self.peers.register(&self.register).await {
                Ok(answer) => {
                    tracing::info!(worker = answer.worker, "registered");
                    if let Some(term) = answer.lease_term.and_then(|term| Duration::try_from(term).ok()) {
                        *self.lease_term.lock() = term;
                    }
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "the scheduler rejected the registration of this worker; next attempt in 5 s");
                    tokio::time::sleep(PAUSE * 10).await;
                }
            }
        }
    }

    async fn lease(self: Arc<Self>) {
        // A drain ends this loop between two calls only: an answer under way may bring leases, which have to be released.
        let registered = self.draining.run_until_cancelled(self.register()).await;
        let mut next = registered.is_some();
        while next {
            next = match self.draining.run_until_cancelled(self.slots.clone().acquire_owned()).await {
                Some(Ok(slot)) => self.clone().lease_once(slot).await,
                Some(Err(_)) | None => false,
            };
        }
        self.leased_last.cancel();
        std::future::pending().await
    }

    /// Asks for tasks and starts those that it gets. False when no further call may follow.
    async fn lease_once(self: Arc<Self>, slot: OwnedSemaphorePermit) -> bool {
        let mut slots = vec![slot];
        while let Ok(more) = self.slots.clone().try_acquire_owned() {
            slots.push(more);
        }
        // A lease counts from this moment, so a wait of more than a third of the term would leave too little of it.
        let part = *self.lease_term.lock() / 3;
        let (sent, wait) = (Instant::now(), LEASE_WAIT.min(part));
        let request = pb::LeaseTasksRequest {
            worker: self.me.worker.clone(),
            instance: self.me.instance.clone(),
            max_tasks: i32::try_from(slots.len()).unwrap_or(1),
            wait: prost_types::Duration::try_from(wait).ok(),
        };
        let asked = self.peers.lease(request, wait + part.max(PAUSE * 4)).await;
        let draining = self.draining.is_cancelled();
        match asked {
            Ok(leases) if draining => {
                for lease in leases {
                    let task = lease.task.unwrap_or_default().name;
                    self.release(task, lease.epoch).await;
                }
            }
            Ok(leases) => {
                for lease in leases {
                    self.clone().start(lease, sent, slots.pop());
                }
            }
            Err(_) if draining => {}
            Err(error) => {
                tracing::debug!(%error, "LeaseTasks failed; asking again");
                tokio::time::sleep(PAUSE).await;
                if unknown(&error) {
                    self.draining.run_until_cancelled(self.register()).await;
                }
            }
        }
        !draining
    }

    fn start(self: Arc<Self>, lease: pb::Lease, sent: Instant, slot: Option<OwnedSemaphorePermit>) {
        let (Some(spec), Some(epoch)) = (lease.task.clone(), lease.epoch) else { return };
        let progress = Arc::new(Progress::default());
        let pace = Arc::new(Pace::new(lease.limits.as_ref()));
        let lasts = lease.expire_after.and_then(|term| Duration::try_from(term).ok()).unwrap_or(TERM);
        let term = Arc::new(Term::new(sent, lasts));
        let held = Held {
            epoch,
            term: term.clone(),
            progress: progress.clone(),
            pace: pace.clone(),
            drop: CancellationToken::new(),
            wind_down: CancellationToken::new(),
        };
        let (drop_it, wind_down) = (held.drop.clone(), held.wind_down.clone());
        let name = spec.name.clone();
        if let Some(before) = self.held.lock().insert(name.clone(), held) {
            // This process held an earlier lease of the task and has not heard yet that it lost it.
            before.drop.cancel();
        }
        let shown = self.transfers.begin(&spec, epoch, progress.clone());
        let run = Run {
            me: self.me.clone(),
            peers: self.peers.clone(),
            settings: self.settings.clone(),
            counters: self.counters.clone(),
            spec,
            epoch,
            progress,
            pace,
            wind_down,
        };
        let worker = self.clone();
        self.tasks.spawn(async move {
            let _slot = slot;
            let outcome = tokio::select! {
                () = drop_it.cancelled() => Err((pb::TaskStep::Unspecified, TransferError::GivenUp)),
                outcome = term.run(run::attempt(&run, &worker.sessions, &lease)) => outcome.unwrap_or_else(|lost| {
                    tracing::info!(task = run.spec.name, "the lease may have expired: the attempt is dropped");
                    Err((pb::TaskStep::Unspecified, lost))
                }),
            };
            let ending = worker.finish(&run, outcome, &term).await;
            worker.counters.ended(&ending);
            let counter = if matches!(ending, Ending::GivenUp(_)) { &worker.given_up } else { &worker.ended };
            counter.fetch_add(1, Relaxed);
            // Only this attempt's own lease is removed: a newer one of the same task belongs to another attempt.
            let mut held = worker.held.lock();
            if held.get(&name).is_some_and(|held| held.epoch == epoch) {
                held.remove(&name);
            }
            drop(held);
            worker.transfers.end(&shown, ending);
        });
    }

    /// Reports to the scheduler how an attempt ended.
    async fn finish(&self, run: &Run, outcome: Result<End, (pb::TaskStep, TransferError)>, term: &Term) -> Ending {
        match outcome {
            Ok(End::Done | End::Later) => Ending::Done,
            Ok(End::WoundDown) => {
                self.release(run.spec.name.clone(), Some(run.epoch)).await;
                Ending::GivenUp("stopped at a checkpoint".to_owned())
            }
            Err((step, error)) => {
                let text = error.to_string();
                let Some(failed) = error.report(step) else {
                    // The lease is lost, or this process stops: releasing it only saves the scheduler the wait until it
                    // expires.
                    self.release(run.spec.name.clone(), Some(run.epoch)).await;
                    return Ending::GivenUp(text);
                };
                tracing::warn!(task = run.spec.name, error = text, "the attempt failed");
                let told = term.run(run.report(Report::failed(failed))).await;
                if let Err(error) = told.and_then(|told| told) {
                    tracing::info!(%error, task = run.spec.name, "the scheduler did not accept the failure report");
                }
                Ending::Failed(text)
            }
        }
    }

    async fn release(&self, task: String, epoch: Option<pb::Epoch>) {
        let request = pb::ReleaseTasksRequest {
            worker: self.me.worker.clone(),
            instance: self.me.instance.clone(),
            leases: vec![pb::ReleasedLease { task: task.clone(), epoch }],
        };
        if let Err(error) = self.peers.release(request).await {
            tracing::info!(%error, task, "the lease could not be released; it will expire");
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
            let (sent, limit) = (Instant::now(), *self.lease_term.lock() / 3);
            match self.peers.beat(request, limit.max(PAUSE)).await {
                Ok(answers) => {
                    for (beat, answer) in beats.iter().zip(answers) {
                        interval = self.obey(beat, &answer, sent).unwrap_or(interval);
                    }
                }
                Err(error) if unknown(&error) => self.register().await,
                Err(error) => tracing::debug!(%error, "a heartbeat failed; the next one follows"),
            }
        }
    }

    /// Applies the scheduler's answer to one lease. Returns the interval of the next heartbeats.
    fn obey(&self, beat: &pb::LeaseBeat, answer: &pb::LeaseAnswer, sent: Instant) -> Option<Duration> {
        let held = self.held.lock();
        let ours = held.get(&answer.task).filter(|held| Some(held.epoch) == beat.epoch)?;
        match answer.verdict() {
            pb::LeaseVerdict::StopNow => {
                tracing::info!(task = answer.task, "the scheduler ended the lease: the attempt is dropped");
                ours.drop.cancel();
                return None;
            }
            pb::LeaseVerdict::StopAtCheckpoint => ours.wind_down.cancel(),
            _ => {}
        }
        ours.pace.bound(answer.limits.as_ref());
        let term = answer.expire_after.and_then(|term| Duration::try_from(term).ok())?;
        ours.term.prolong(sent, term);
        // A third of the term, and often enough that the progress that people see moves.
        Some((term / 3).clamp(Duration::from_millis(100), Duration::from_secs(2)))
    }
}

fn unknown(error: &TransferError) -> bool {
    matches!(error, TransferError::Peer(peer) if peer.error.reason == ErrorReason::WorkerUnknown)
}
