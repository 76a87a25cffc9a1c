//! Every process of the suite and the sandbox is killed in every phase of a migration, and every row still arrives
//! exactly once. `MMS_KILLS` is the number of kills, `MMS_KILL_SEED` repeats their delays.
//!
//! A kill counts for a phase only if the scan, plan or task is seen in that phase after the kill; and the scan or job
//! must have ended later than every kill that counts.

#![allow(clippy::print_stdout, reason = "the proof prints its kills")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use mms_proto::catalog::v1::ScanState;
use mms_proto::scheduler::v1::{JobSpec, JobState, TaskState};
use mms_proto::transfer::v1::{Transfer, TransferStep};
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{PATIENCE, Suite, everything};
use mms_tests::tables;

/// The phase in which a process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Scan,
    Plan,
    Schema,
    Data,
    Commit,
}

const PHASES: [Phase; 5] = [Phase::Scan, Phase::Plan, Phase::Schema, Phase::Data, Phase::Commit];

impl Phase {
    /// The processes to kill in this phase, in turn; `worker` is the one whose task is in the phase.
    fn victims(self) -> &'static [&'static str] {
        match self {
            Self::Scan => &["catalog", "sandbox", "registry"],
            Self::Plan => &["scheduler", "catalog", "registry", "sandbox"],
            Self::Schema | Self::Commit => &["worker", "scheduler", "sandbox", "worker", "registry", "catalog"],
            Self::Data => &["worker", "sandbox", "worker", "scheduler", "registry", "catalog"],
        }
    }

    /// Longest delay between seeing the phase and the kill, in ms. A phase that lasts only milliseconds is hit at once.
    fn delay_ms(self) -> u64 {
        match self {
            Self::Scan | Self::Plan => 20,
            Self::Schema | Self::Commit => 0,
            Self::Data => 300,
        }
    }

    /// The state that the scheduler shows for a task in this phase.
    fn task_state(self) -> TaskState {
        if self == Self::Schema { TaskState::SchemaDoing } else { TaskState::DataDoing }
    }
}

struct Ground {
    suite: Suite,
    sandbox: Sandbox,
    source: String,
    /// The table for kills in DATA: its upload takes a while.
    large: &'static str,
    random: fastrand::Rng,
    wanted: usize,
    counted: BTreeMap<Phase, usize>,
    /// Kills that came too late for their phase.
    late: usize,
    /// Kills of workers so far; every second one also deletes the worker's data folder.
    workers: usize,
}

impl Ground {
    fn counted(&self, phase: Phase) -> usize {
        self.counted.get(&phase).copied().unwrap_or(0)
    }

    fn total(&self) -> usize {
        self.counted.values().sum()
    }

    /// Whether a kill in this phase is wanted now; all phases get the same number.
    fn wants(&self, phase: Phase) -> bool {
        let least = PHASES.iter().map(|phase| self.counted(*phase)).min().unwrap_or(0);
        self.total() < self.wanted && self.counted(phase) == least
    }

    async fn delay(&mut self, phase: Phase) -> Duration {
        let delay = Duration::from_millis(self.random.u64(0..=phase.delay_ms()));
        tokio::time::sleep(delay).await;
        delay
    }

    /// Kills the victim whose turn it is; returns its name, and when it was dead.
    fn kill(&mut self, phase: Phase, worker: &str) -> anyhow::Result<(String, SystemTime)> {
        let turn = phase.victims()[self.counted(phase) % phase.victims().len()];
        let victim = if turn == "worker" { worker } else { turn };
        if victim == "sandbox" {
            self.sandbox.kill()?;
        } else {
            let forget = turn == "worker" && self.workers.is_multiple_of(2);
            self.workers += usize::from(turn == "worker");
            self.suite.kill(victim, forget)?;
        }
        Ok((victim.to_owned(), SystemTime::now()))
    }

    async fn restart(&mut self, victim: &str) -> anyhow::Result<()> {
        if victim == "sandbox" { self.sandbox.restart() } else { self.suite.restart(victim).await }
    }

    fn count(&mut self, phase: Phase, victim: &str, delay: Duration, hit: bool) {
        let verdict = if hit { "" } else { ": too late, not counted" };
        println!("{victim} killed in {phase:?} after {} ms{verdict}", delay.as_millis());
        if hit {
            *self.counted.entry(phase).or_default() += 1;
        } else {
            self.late += 1;
        }
    }

    async fn scan(&mut self) -> anyhow::Result<()> {
        let name = self.suite.begin_scan(&self.source).await?;
        let mut killed = None;
        if self.wants(Phase::Scan) {
            let delay = self.delay(Phase::Scan).await;
            let (victim, at) = self.kill(Phase::Scan, "")?;
            self.restart(&victim).await?;
            killed = Some((victim, at, delay));
        }
        let scan = self.suite.scanned(&name).await?;
        if let Some((victim, at, delay)) = killed {
            let hit = later(scan.end_time.as_ref(), at)?;
            self.count(Phase::Scan, &victim, delay, hit);
        }
        if scan.state() == ScanState::Done {
            return Ok(());
        }
        // What the scan could not read while a process was away, the next scan reads.
        let again = self.suite.begin_scan(&self.source).await?;
        let again = self.suite.scanned(&again).await?;
        anyhow::ensure!(again.state() == ScanState::Done, "{again:?}");
        Ok(())
    }

    /// A transfer that is in this phase now, with its worker.
    async fn at(&self, phase: Phase) -> Option<(String, Transfer)> {
        self.suite.transfers().await.into_iter().find(|(_, transfer)| {
            let step = match transfer.step() {
                TransferStep::Schema => Phase::Schema,
                TransferStep::Commit => Phase::Commit,
                // Some of its rows were read, and more are to come.
                TransferStep::Data if transfer.table.ends_with(self.large) && transfer.rows_read > 0 => Phase::Data,
                _ => return false,
            };
            transfer.end_time.is_none() && step == phase
        })
    }

    /// Kills in this phase if a task is in it, and still is after the delay. Returns the moment if the kill counts.
    async fn in_task(&mut self, phase: Phase) -> anyhow::Result<Option<SystemTime>> {
        let Some(found) = self.at(phase).await else { return Ok(None) };
        let delay = self.delay(phase).await;
        let now = if delay.is_zero() { Some(found.clone()) } else { self.at(phase).await };
        let Some((worker, transfer)) = now.filter(|(_, now)| now.name == found.1.name) else { return Ok(None) };
        let (victim, at) = self.kill(phase, &worker)?;
        if victim == "scheduler" {
            self.restart(&victim).await?;
        }
        let task = self.suite.task(&transfer.task).await?;
        let hit = task.state() == phase.task_state() && task.attempt == transfer.attempt;
        if victim != "scheduler" {
            self.restart(&victim).await?;
        }
        self.count(phase, &victim, delay, hit);
        Ok(hit.then_some(at))
    }

    async fn in_plan(&mut self, job: &str) -> anyhow::Result<Option<SystemTime>> {
        let delay = self.delay(Phase::Plan).await;
        let (victim, at) = self.kill(Phase::Plan, "")?;
        if victim == "scheduler" {
            self.restart(&victim).await?;
        }
        let hit = self.suite.job(job).await?.state() == JobState::Planning;
        if victim != "scheduler" {
            self.restart(&victim).await?;
        }
        self.count(Phase::Plan, &victim, delay, hit);
        Ok(hit.then_some(at))
    }

    /// The number of open intents that later attempts resolved, by the workers' logs.
    fn resolved(&self) -> usize {
        let workers = self.suite.processes.iter().filter(|(name, _)| name.starts_with("transfer"));
        workers.map(|(_, process)| process.whole_log().lines().filter(resolves).count()).sum()
    }

    async fn migrate(&mut self) -> anyhow::Result<()> {
        let spec = JobSpec { force: true, ..everything() };
        let job = self.suite.begin_job(&self.source, spec).await?;
        let until = Instant::now() + PATIENCE;
        let mut last = None;
        loop {
            let state = self.suite.job(&job).await?.state();
            let mut killed = None;
            match state {
                JobState::Planning if self.wants(Phase::Plan) => killed = self.in_plan(&job).await?,
                JobState::Planning | JobState::Waiting | JobState::Running => {
                    for phase in [Phase::Commit, Phase::Data, Phase::Schema] {
                        if killed.is_none() && self.wants(phase) {
                            killed = self.in_task(phase).await?;
                        }
                    }
                }
                _ => break,
            }
            last = killed.or(last);
            anyhow::ensure!(Instant::now() < until, "the job does not end\n{}", self.suite.logs());
            if killed.is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let done = self.suite.done(&job).await?;
        if let Some(at) = last {
            anyhow::ensure!(later(done.end_time.as_ref(), at)?, "a kill that counted came after the end: {done:?}");
        }
        Ok(())
    }
}

fn resolves(line: &&str) -> bool {
    line.contains(" resolved ") && line.contains("intent=")
}

/// Whether a scan or job ended after this moment.
fn later(end: Option<&prost_types::Timestamp>, moment: SystemTime) -> anyhow::Result<bool> {
    Ok(SystemTime::try_from(*end.context("it has ended")?)? > moment)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_lost_or_doubled() -> anyhow::Result<()> {
    let wanted = number("MMS_KILLS").and_then(|kills| usize::try_from(kills).ok()).unwrap_or(5);
    let seed = number("MMS_KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("MMS_KILL_SEED={seed}");
    let folder = tempfile::tempdir()?;
    let (moved, large) = tables::own_and_large(folder.path())?;
    let sandbox = Sandbox::start(folder.path(), &moved.delta_root)?;
    let mut suite = Suite::processes(folder.path(), 2).await?;
    suite.start("transfer", "transfer-2").await?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let mut ground = Ground {
        suite,
        sandbox,
        source,
        large,
        random: fastrand::Rng::with_seed(seed),
        wanted,
        counted: BTreeMap::new(),
        late: 0,
        workers: 0,
    };
    let mut rounds = 0;
    while ground.total() < wanted || rounds == 0 {
        rounds += 1;
        anyhow::ensure!(rounds <= 10 + 3 * wanted, "some phase cannot be hit: {:?}", ground.counted);
        ground.scan().await?;
        ground.migrate().await?;
        moved.compare(&ground.sandbox.project()).with_context(|| format!("round {rounds}"))?;
        println!("round {rounds}: every row of {} tables is there once", moved.cases.len());
    }
    let (total, late, workers) = (ground.total(), ground.late, ground.workers);
    println!("{total} kills in {rounds} rounds, and {late} too late: {:?}", ground.counted);
    println!("{} open intents were resolved by successors", ground.resolved());
    println!("{workers} kills of workers, {} of them with their data folder", workers.div_ceil(2));
    let least = wanted / PHASES.len();
    assert!(PHASES.iter().all(|phase| ground.counted(*phase) >= least), "{:?}", ground.counted);
    Ok(())
}
