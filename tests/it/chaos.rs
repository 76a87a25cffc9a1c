//! Everything at once: while jobs run, processes are killed, or paused beyond their leases; the ways to the target and
//! to the scheduler are shut; somebody drops the table or a partition; and rival jobs with other policies want the same
//! table. After each round the ids of all rows are compared. `MMS_CHAOS` is the number of rounds, `MMS_CHAOS_SEED`
//! repeats a run.

#![allow(clippy::print_stdout, reason = "the proof prints its rounds")]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use mms_proto::scheduler::v1 as pb;
use mms_proto::scheduler::v1::job_service_client::JobServiceClient;
use mms_proto::types::v1::TargetPolicy;
use mms_tests::gate::Gate;
use mms_tests::outsider::Outsider;
use mms_tests::parts::Parts;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{PATIENCE, Suite, everything};
use pb::{JobSpec, JobState};
use serde_json::json;

const PARTITIONS: usize = 12;
/// Leases are short, so that a pause beyond a lease is short too.
const LEASE_SECONDS: u64 = 2;

/// A disturbance of the suite or of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    KillWorker,
    KillService,
    PauseWorker,
    ShutTarget,
    ShutScheduler,
    DropTable,
    DropPartition,
    Rival,
    StopAndStart,
}

const ACTS: [Act; 9] = [
    Act::KillWorker,
    Act::KillService,
    Act::PauseWorker,
    Act::ShutTarget,
    Act::ShutScheduler,
    Act::DropTable,
    Act::DropPartition,
    Act::Rival,
    Act::StopAndStart,
];

struct Ground {
    suite: Suite,
    _sandbox: Sandbox,
    outsider: Outsider,
    target: Gate,
    scheduler: Gate,
    source: String,
    parts: Parts,
    random: fastrand::Rng,
    done: BTreeMap<Act, usize>,
    /// When somebody last changed the target.
    touched: Option<SystemTime>,
    jobs: Vec<String>,
}

impl Ground {
    async fn job(&mut self) -> anyhow::Result<()> {
        let policy = if self.random.bool() { TargetPolicy::Replace } else { TargetPolicy::CreateOrOwn };
        let spec = JobSpec {
            target_policy: policy as i32,
            max_partitions_per_task: self.random.i32(1..=3),
            max_concurrent_tasks: self.random.i32(1..=3),
            force: true,
            ..everything()
        };
        let job = self.suite.begin_job(&self.source, spec).await?;
        self.jobs.push(job);
        Ok(())
    }

    fn signal(&self, name: &str, signal: &str) -> anyhow::Result<()> {
        let found = self.suite.processes.iter().find(|(known, _)| known == name).context("it runs")?;
        let id = found.1.id().to_string();
        let status = Command::new("sh").args(["-c", "kill -\"$1\" \"$2\"", "sh", signal, &id]).status()?;
        anyhow::ensure!(status.success(), "{name} takes no signal");
        Ok(())
    }

    async fn wait(&self, ms: std::ops::Range<u64>) {
        let ms = self.random.clone().u64(ms);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    async fn act(&mut self, act: Act) -> anyhow::Result<()> {
        match act {
            Act::KillWorker => {
                self.suite.kill("transfer", self.random.bool())?;
                self.suite.restart("transfer").await?;
            }
            Act::KillService => {
                let name = ["scheduler", "catalog", "registry"][self.random.usize(..3)];
                self.suite.kill(name, false)?;
                self.suite.restart(name).await?;
            }
            Act::PauseWorker => {
                self.signal("transfer", "STOP")?;
                tokio::time::sleep(Duration::from_millis(LEASE_SECONDS * 1_000 + 700)).await;
                self.signal("transfer", "CONT")?;
            }
            Act::ShutTarget => {
                self.target.shut();
                self.wait(100..1_500).await;
                self.target.open();
            }
            Act::ShutScheduler => {
                self.scheduler.shut();
                self.wait(100..LEASE_SECONDS * 1_500).await;
                self.scheduler.open();
            }
            Act::DropTable => {
                let sql = format!("DROP TABLE IF EXISTS {};", self.outsider.table("s", "parts"));
                self.outsider.run(&sql).await?;
                self.touched = Some(SystemTime::now());
            }
            Act::DropPartition => {
                let part = self.random.usize(..PARTITIONS);
                let table = self.outsider.table("s", "parts");
                // The table may not exist at the moment.
                drop(
                    self.outsider
                        .run(&format!("ALTER TABLE {table} DROP IF EXISTS PARTITION (`pt`='p{part:02}');"))
                        .await,
                );
                self.touched = Some(SystemTime::now());
            }
            Act::Rival => self.job().await?,
            Act::StopAndStart => {
                let mut client = JobServiceClient::new(self.suite.channel("scheduler")?);
                let name = self.jobs[0].clone();
                // The job may have ended or be stopped by then, which is as good.
                drop(client.stop_job(pb::StopJobRequest { name: name.clone() }).await);
                self.wait(20..300).await;
                drop(client.start_job(pb::StartJobRequest { name, ..pb::StartJobRequest::default() }).await);
            }
        }
        *self.done.entry(act).or_default() += 1;
        Ok(())
    }

    /// Brings every job to DONE: starts stopped ones, retries failed ones. Returns when the last of them ended.
    async fn all_done(&mut self) -> anyhow::Result<SystemTime> {
        let until = Instant::now() + PATIENCE;
        let mut client = JobServiceClient::new(self.suite.channel("scheduler")?);
        loop {
            let mut ends = Vec::new();
            for name in self.jobs.clone() {
                let job = self.suite.job(&name).await?;
                match job.state() {
                    JobState::Done => ends.push(SystemTime::try_from(job.end_time.context("it has ended")?)?),
                    JobState::Failed => {
                        drop(client.retry_job(pb::RetryJobRequest { name, ..pb::RetryJobRequest::default() }).await);
                    }
                    JobState::Stopped => {
                        drop(client.start_job(pb::StartJobRequest { name, ..pb::StartJobRequest::default() }).await);
                    }
                    _ => {}
                }
            }
            if ends.len() == self.jobs.len() {
                return ends.into_iter().max().context("a job");
            }
            if Instant::now() > until {
                let mut shown = Vec::new();
                for name in &self.jobs {
                    shown.push(format!("{:?}\n{:?}", self.suite.job(name).await?, self.suite.tasks(name).await?));
                }
                anyhow::bail!("the jobs do not end:\n{}\n{}", shown.join("\n"), self.suite.logs());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn compare(&self) -> anyhow::Result<()> {
        let found = self.outsider.ids("s", "parts").await?;
        let wanted: Vec<i64> = (0..i64::try_from(self.parts.rows())?).collect();
        let lost = wanted.iter().filter(|id| found.binary_search(id).is_err()).count();
        let doubled = found.windows(2).filter(|pair| pair[0] == pair[1]).count();
        anyhow::ensure!(found == wanted, "{lost} rows are lost, {doubled} doubled, of {}", wanted.len());
        Ok(())
    }

    async fn round(&mut self, number: usize) -> anyhow::Result<bool> {
        self.jobs.clear();
        self.touched = None;
        if number % 10 == 9 {
            self.parts.append(0..PARTITIONS)?;
        }
        self.job().await?;
        let mut acts = Vec::new();
        for _ in 0..self.random.usize(1..=4) {
            self.wait(0..400).await;
            self.random.u8(..);
            let act = ACTS[self.random.usize(..ACTS.len())];
            if act == Act::Rival && self.jobs.len() > 1 {
                continue;
            }
            acts.push(act);
            self.act(act).await?;
        }
        let ended = self.all_done().await?;
        // What changed the target after the last job ended is only seen by the next job.
        let late = self.touched.is_some_and(|touched| touched >= ended);
        if late {
            let next = self.suite.begin_job(&self.source, everything()).await?;
            self.suite.done(&next).await?;
        }
        self.compare().await.with_context(|| format!("round {number}: {acts:?}"))?;
        Ok(late)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_lost_or_doubled_whatever_happens() -> anyhow::Result<()> {
    let rounds: usize = std::env::var("MMS_CHAOS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let seed: u64 = std::env::var("MMS_CHAOS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    let parts = Parts::create(&root, PARTITIONS)?;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    let (target, scheduler) = (Gate::start().await?, Gate::start().await?);
    target.lead_to(&sandbox.told("/project/endpoint"))?;
    let settings = [("SCHEDULER__ENDPOINT", scheduler.url.as_str())];
    let suite = Suite::processes_with(folder.path(), LEASE_SECONDS, &settings).await?;
    scheduler.lead_to(&suite.endpoint("scheduler"))?;
    let mut request = sandbox.data_source("lake");
    let endpoint = &mut request["data_source"]["max_compute"]["endpoint"];
    *endpoint = json!(format!("{}/api", target.url));
    let source = Box::pin(suite.source(&request)).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let outsider = Outsider::at(&sandbox)?;
    let random = fastrand::Rng::with_seed(seed);
    let (done, touched, jobs) = (BTreeMap::new(), None, Vec::new());
    let mut ground =
        Ground { suite, _sandbox: sandbox, outsider, target, scheduler, source, parts, random, done, touched, jobs };
    let (start, mut late) = (Instant::now(), 0);
    for number in 0..rounds {
        late += usize::from(ground.round(number).await?);
        if number % 10 == 9 {
            println!("{} rounds in {} s", number + 1, start.elapsed().as_secs());
        }
    }
    let acts: usize = ground.done.values().sum();
    println!("{rounds} rounds with {acts} acts in {} s: lost 0, doubled 0", start.elapsed().as_secs());
    println!("{late} rounds had an outsider who came after the end; the next job wrote what was missing");
    for (act, count) in &ground.done {
        println!("{count:>6}  {act:?}");
    }
    Ok(())
}
