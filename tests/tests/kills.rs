//! Every process of the suite and the sandbox is killed at every phase of a migration, and every row still arrives exactly
//! once. `MMS_KILLS` is the number of kills; each happens while a scan or job is not over.

#![allow(clippy::print_stdout, reason = "the proof prints its kills")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mms_proto::scheduler::v1::{JobSpec, JobState, TaskState};
use mms_proto::transfer::v1::TransferStep;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{PATIENCE, Suite, everything};
use mms_tests::tables;

/// When a process is killed.
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
    /// Who takes part in it.
    fn victims(self) -> &'static [&'static str] {
        match self {
            Self::Scan => &["catalog", "registry", "sandbox"],
            Self::Plan => &["scheduler", "catalog", "registry"],
            Self::Schema => &["worker", "scheduler", "sandbox"],
            Self::Data => &["worker", "sandbox", "scheduler", "registry"],
            Self::Commit => &["worker", "scheduler", "worker"],
        }
    }
}

struct Killer {
    wanted: usize,
    done: BTreeMap<Phase, usize>,
    /// Worker kills so far: every second one also loses its data folder.
    workers: usize,
}

impl Killer {
    fn total(&self) -> usize {
        self.done.values().sum()
    }

    /// The phase that was hit least often and is at hand.
    fn next(&self, at_hand: &[Phase]) -> Option<Phase> {
        let least = PHASES.iter().map(|phase| self.done.get(phase).copied().unwrap_or(0)).min().unwrap_or(0);
        let hit = |phase: &Phase| self.done.get(phase).copied().unwrap_or(0);
        (self.total() < self.wanted).then(|| at_hand.iter().find(|phase| hit(phase) == least).copied()).flatten()
    }

    fn kill(
        &mut self,
        phase: Phase,
        busy: Option<&str>,
        suite: &mut Suite,
        sandbox: &mut Sandbox,
    ) -> anyhow::Result<()> {
        let hit = self.done.entry(phase).or_default();
        let victim = phase.victims()[*hit % phase.victims().len()];
        *hit += 1;
        match victim {
            "sandbox" => sandbox.kill_and_restart()?,
            "worker" => {
                let worker = busy.unwrap_or(if self.workers.is_multiple_of(2) { "transfer" } else { "transfer-2" });
                suite.kill_and_restart(worker, self.workers.is_multiple_of(2))?;
                self.workers += 1;
            }
            service => suite.kill_and_restart(service, false)?,
        }
        println!("kill {:2}: {victim} in {phase:?}", self.total());
        Ok(())
    }
}

/// The phases that a job is in, and a worker that is at work on the last of them.
async fn at_hand(suite: &Suite, job: &str) -> anyhow::Result<Option<(Vec<Phase>, Option<String>)>> {
    let state = suite.job(job).await?.state();
    match state {
        JobState::Planning => return Ok(Some((vec![Phase::Plan], None))),
        JobState::Waiting | JobState::Running => {}
        _ => return Ok(None),
    }
    let mut phases = Vec::new();
    let mut busy = None;
    for (worker, transfer) in suite.transfers().await.into_iter().filter(|(_, t)| t.end_time.is_none()) {
        let phase = match transfer.step() {
            TransferStep::Commit => Phase::Commit,
            TransferStep::Data => Phase::Data,
            TransferStep::Schema => Phase::Schema,
            _ => continue,
        };
        if phase == Phase::Commit || busy.is_none() {
            busy = Some(worker);
        }
        phases.push(phase);
    }
    let tasks = suite.tasks(job).await?;
    let any = |state: TaskState| tasks.iter().any(|task| task.state() == state);
    for (state, phase) in [(TaskState::SchemaDoing, Phase::Schema), (TaskState::DataDoing, Phase::Data)] {
        if any(state) && !phases.contains(&phase) {
            phases.push(phase);
        }
    }
    Ok(Some((phases, busy)))
}

async fn scan(killer: &mut Killer, suite: &mut Suite, sandbox: &mut Sandbox, source: &str) -> anyhow::Result<()> {
    let name = suite.begin_scan(source).await?;
    if killer.next(&[Phase::Scan]).is_some() && suite.scan(&name).await?.end_time.is_none() {
        killer.kill(Phase::Scan, None, suite, sandbox)?;
    }
    suite.scanned(&name).await?;
    Ok(())
}

async fn migrate(killer: &mut Killer, suite: &mut Suite, sandbox: &mut Sandbox, source: &str) -> anyhow::Result<()> {
    let job = suite.begin_job(source, JobSpec { force: true, ..everything() }).await?;
    let until = Instant::now() + PATIENCE;
    while let Some((phases, busy)) = at_hand(suite, &job).await? {
        anyhow::ensure!(Instant::now() < until, "the job does not end\n{}", suite.logs());
        match killer.next(&phases) {
            Some(phase) => killer.kill(phase, busy.as_deref(), suite, sandbox)?,
            None => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
    suite.done(&job).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_lost_or_doubled() -> anyhow::Result<()> {
    let wanted = std::env::var("MMS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let folder = tempfile::tempdir()?;
    let moved = tables::own(folder.path())?;
    let mut sandbox = Sandbox::start(folder.path(), &moved.delta_root)?;
    let mut suite = Suite::processes(folder.path(), 2).await?;
    suite.start("transfer", "transfer-2")?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let mut killer = Killer { wanted, done: BTreeMap::new(), workers: 0 };
    let mut rounds = 0;
    while killer.total() < wanted || rounds == 0 {
        rounds += 1;
        anyhow::ensure!(rounds <= 10 + 3 * wanted, "some phase cannot be hit: {:?}", killer.done);
        scan(&mut killer, &mut suite, &mut sandbox, &source).await?;
        migrate(&mut killer, &mut suite, &mut sandbox, &source).await?;
        moved.compare(&sandbox.project())?;
    }
    println!("{} kills in {rounds} rounds: {:?}", killer.total(), killer.done);
    let least = wanted / PHASES.len();
    assert!(PHASES.iter().all(|phase| killer.done.get(phase).copied().unwrap_or(0) >= least), "{:?}", killer.done);
    Ok(())
}
