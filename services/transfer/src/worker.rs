//! The worker's life: register, lease as many tasks as there are free slots, say how they go, and hand what they came to
//! back. A task whose lease is lost, or may have run out, is dropped where it stands.

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
/// Pause after a failed call to the scheduler.
const PAUSE: Duration = Duration::from_millis(500);

/// A lease's term before the scheduler has said it.
const TERM: Duration = Duration::from_secs(30);

struct Held {
    epoch: pb::Epoch,
    term: Arc<Term>,
    progress: Arc<Progress>,
    pace: Arc<Pace>,
    drop: CancellationToken,
    wind_down: CancellationToken,
}

/// A worker.
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
    /// Take no further tasks.
    draining: CancellationToken,
    /// No LeaseTasks is under way any more, and none will be.
    leased_last: CancellationToken,
    /// How long leases last.
    lease_term: Mutex<Duration>,
    /// Attempts that ended by themselves so far, and those that were given up or given back.
    ended: AtomicUsize,
    given_up: AtomicUsize,
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
    /// A worker that is not registered yet.
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

    /// Works until `stop` is cancelled; then gives its leases back.
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

    /// Takes no more tasks and lets those at hand stop at their next checkpoint; after `deadline` they are given back as
    /// they are. Answers how many ended by themselves and how many were given back.
    pub async fn drain(&self, deadline: Duration) -> (usize, usize) {
        let (ended, given_up) = (self.ended.load(Relaxed), self.given_up.load(Relaxed));
        self.draining.cancel();
        self.each_held(|held| held.wind_down.cancel());
        let gone = async {
            // A call that was under way may still have begun some, as long as it had not heard of this.
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

    /// Tasks that it has at hand.
    pub fn at_hand(&self) -> u64 {
        self.held.lock().len() as u64
    }

    /// What goes to far ends and comes from them.
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
                    tracing::error!(%error, "the scheduler does not take this worker; trying again");
                    tokio::time::sleep(PAUSE * 10).await;
                }
            }
        }
    }

    async fn lease(self: Arc<Self>) {
        // Between two calls a drain ends it; the answer to one that is under way is waited for.
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

    /// Asks for tasks and begins those that come. False: there is to be no next time.
    async fn lease_once(self: Arc<Self>, slot: OwnedSemaphorePermit) -> bool {
        let mut slots = vec![slot];
        while let Ok(more) = self.slots.clone().try_acquire_owned() {
            slots.push(more);
        }
        // A lease counts from here: a longer wait would leave too little of it.
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
                tracing::debug!(%error, "no lease");
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
            // This process had the task before, and has not heard yet that it lost it.
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
                    tracing::info!(task = run.spec.name, "the lease may have run out: the task is dropped");
                    Err((pb::TaskStep::Unspecified, lost))
                }),
            };
            let ending = worker.finish(&run, outcome, &term).await;
            worker.counters.ended(&ending);
            let counter = if matches!(ending, Ending::GivenUp(_)) { &worker.given_up } else { &worker.ended };
            counter.fetch_add(1, Relaxed);
            // Only the lease that this attempt had: a newer one of the same task is somebody else's.
            let mut held = worker.held.lock();
            if held.get(&name).is_some_and(|held| held.epoch == epoch) {
                held.remove(&name);
            }
            drop(held);
            worker.transfers.end(&shown, ending);
        });
    }

    /// Tells the scheduler how an attempt ended.
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
                    // The lease is lost, or this process stops: giving it back is a courtesy.
                    self.release(run.spec.name.clone(), Some(run.epoch)).await;
                    return Ending::GivenUp(text);
                };
                tracing::warn!(task = run.spec.name, error = text, "the attempt failed");
                let told = term.run(run.report(Report::failed(failed))).await;
                if let Err(error) = told.and_then(|told| told) {
                    tracing::info!(%error, task = run.spec.name, "the failure was not taken");
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
            tracing::info!(%error, task, "the lease was not given back; it runs out");
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
                Err(error) => tracing::debug!(%error, "the heartbeat was not heard"),
            }
        }
    }

    /// Does what an answer says; answers how often to send heartbeats.
    fn obey(&self, beat: &pb::LeaseBeat, answer: &pb::LeaseAnswer, sent: Instant) -> Option<Duration> {
        let held = self.held.lock();
        let ours = held.get(&answer.task).filter(|held| Some(held.epoch) == beat.epoch)?;
        match answer.verdict() {
            pb::LeaseVerdict::StopNow => {
                tracing::info!(task = answer.task, "the lease is lost: the task is dropped");
                ours.drop.cancel();
                return None;
            }
            pb::LeaseVerdict::StopAtCheckpoint => ours.wind_down.cancel(),
            _ => {}
        }
        ours.pace.bound(answer.limits.as_ref());
        let term = answer.expire_after.and_then(|term| Duration::try_from(term).ok())?;
        ours.term.prolong(sent, term);
        // A third of the term, but often enough that progress looks alive.
        Some((term / 3).clamp(Duration::from_millis(100), Duration::from_secs(2)))
    }
}

fn unknown(error: &TransferError) -> bool {
    matches!(error, TransferError::Peer(peer) if peer.error.reason == ErrorReason::WorkerUnknown)
}
