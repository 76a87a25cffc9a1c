//! A well-behaved client of another class, and a worker's heartbeats, during each attack: their times compared with a
//! time without attack, the memory that the attack takes, and that no call is answered INTERNAL or wrongly accepted.
//! Then every service is attacked and told to stop.
//!
//! `MMS_HOSTILE_SECONDS` is how long each attack lasts (default 1; from 10 on each attack is made three times, and the
//! p99 of the well-behaved client is judged).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::{join_all, try_join_all};
use mms_proto::registry::v1::ListNetworkConnectionsRequest;
use mms_proto::registry::v1::network_connection_service_client::NetworkConnectionServiceClient;
use mms_proto::scheduler::v1 as scheduler;
use mms_proto::scheduler::v1::worker_service_client::WorkerServiceClient;
use mms_server::{Client, ClientConfig, SuiteToken};
use mms_tests::attack::{Answers, Attack};
use mms_tests::figures::Row;
use mms_tests::process::Process;
use mms_tests::suite::{PATIENCE, SERVICES, Suite};

use crate::hostile::{TOKEN, address, forget_peak, is_long, memory, process, seconds};

/// The services that are attacked: that of the well-behaved client, and that of the heartbeats.
const ATTACKED: [&str; 2] = ["registry", "scheduler"];
/// Most memory that an attack may take in each service, in MiB.
const MOST_MIB: u64 = 300;
/// A heartbeat that takes longer has failed, because the next one is due.
const BEAT_WITHIN: Duration = Duration::from_secs(10);
/// Seconds that calls in flight get to finish; the long form uses the default.
const SHORT_GRACE: u64 = 2;

fn channel(suite: &Suite, service: &str) -> anyhow::Result<Client> {
    Ok(Client::new(&ClientConfig::to(suite.endpoint(service)), Some(&SuiteToken::new(TOKEN)))?)
}

/// Calls all the time as a service of the suite does; returns the p99.
async fn good(suite: &Suite, lasts: Duration) -> anyhow::Result<Duration> {
    let mut client = NetworkConnectionServiceClient::new(channel(suite, "registry")?);
    let (until, mut took) = (Instant::now() + lasts, Vec::new());
    while Instant::now() < until {
        let begun = Instant::now();
        client.list_network_connections(ListNetworkConnectionsRequest::default()).await?;
        took.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    took.sort();
    Ok(took[took.len() * 99 / 100])
}

/// A worker that sends heartbeats.
struct Worker {
    client: WorkerServiceClient<Client>,
    request: scheduler::HeartbeatRequest,
}

impl Worker {
    async fn register(suite: &Suite) -> anyhow::Result<Self> {
        let mut client = WorkerServiceClient::new(channel(suite, "scheduler")?);
        let request = scheduler::RegisterWorkerRequest {
            worker_id: "beating".to_owned(),
            instance: uuid::Uuid::new_v4().to_string(),
            slots: 1,
            contract_version: 1,
            capabilities: Some(scheduler::Capabilities {
                steps: vec![scheduler::TaskStep::Data as i32],
                ..scheduler::Capabilities::default()
            }),
            ..scheduler::RegisterWorkerRequest::default()
        };
        let instance = request.instance.clone();
        client.register_worker(request).await?;
        let worker = "workers/beating".to_owned();
        Ok(Self { client, request: scheduler::HeartbeatRequest { worker, instance, beats: Vec::new() } })
    }

    /// Sends heartbeats all the time; returns how many failed, and how many were sent.
    async fn beat(&mut self, lasts: Duration) -> [u64; 2] {
        let (until, [mut failed, mut all]) = (Instant::now() + lasts, [0, 0]);
        while Instant::now() < until {
            let said = tokio::time::timeout(BEAT_WITHIN, self.client.heartbeat(self.request.clone())).await;
            failed += u64::from(!matches!(said, Ok(Ok(_))));
            all += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        [failed, all]
    }
}

fn targets(suite: &Suite, services: &[&'static str]) -> anyhow::Result<Vec<(&'static str, SocketAddr)>> {
    services.iter().map(|service| Ok((*service, address(suite, service)?))).collect()
}

/// Runs an attack; compares client and heartbeats with a time without it, and measures the memory that it takes.
async fn endured(suite: &Suite, attack: Attack, row: &mut Row) -> anyhow::Result<()> {
    let (lasts, answers, mut worker) =
        (Duration::from_secs(seconds()), Arc::new(Answers::default()), Worker::register(suite).await?);
    let targets = targets(suite, &ATTACKED)?;
    let before: Vec<u64> =
        ATTACKED.iter().map(|service| forget_peak(process(suite, service)?)).collect::<Result<_, _>>()?;
    let (mut tries, mut beats) = (Vec::new(), [0, 0]);
    for _ in 0..if is_long() { 3 } else { 1 } {
        let control = good(suite, lasts / 2).await?;
        let others = async { tokio::join!(good(suite, lasts), worker.beat(lasts)) };
        let attacking = async {
            try_join_all(targets.iter().map(|(service, at)| attack.run(service, *at, &answers))).await?;
            std::future::pending::<anyhow::Result<()>>().await
        };
        let (p99, beaten) = tokio::select! {
            Err(broken) = attacking => return Err(broken),
            both = others => both,
        };
        tries.push([p99?, control]);
        beats = [beats[0] + beaten[0], beats[1] + beaten[1]];
    }
    tries.sort();
    let [p99, control] = tries[tries.len() / 2];
    let mut peak = 0;
    for (service, before) in ATTACKED.iter().zip(before) {
        let most = memory(process(suite, service)?, "VmHWM:")?;
        anyhow::ensure!(most < before + MOST_MIB, "{service}: {before} MiB became {most} MiB");
        peak = peak.max(most);
    }
    let counted = answers.counted();
    row.requests = Some(counted.requests);
    if counted.answered > 0 {
        (row.internal, row.let_in) = (Some(counted.internal), Some(counted.let_in));
    }
    (row.peak_mib, row.p99, row.beats) = (Some(peak), Some([p99, control]), Some(beats));
    anyhow::ensure!(counted.requests > 0 && counted.internal == 0 && counted.let_in == 0, "{counted:?}");
    anyhow::ensure!(beats[0] == 0 && beats[1] > 0, "{} of {} heartbeats failed", beats[0], beats[1]);
    if is_long() {
        let most = (5 * control).max(Duration::from_millis(100));
        anyhow::ensure!(p99 <= most, "p99 {p99:?}, control {control:?}: more than {most:?}");
    }
    Ok(())
}

/// The time that each service takes from SIGTERM to its end while it is attacked.
async fn ended(suite: &mut Suite, attack: Attack) -> anyhow::Result<Vec<Duration>> {
    let grace = if is_long() { 20 } else { SHORT_GRACE };
    let mut attacks = Vec::new();
    for (service, at) in targets(suite, &SERVICES)? {
        let answers = Arc::new(Answers::default());
        let own = Arc::clone(&answers);
        // Answers during the shutdown are not judged.
        let attacking = tokio::spawn(async move { attack.run(service, at, &own).await.is_ok() });
        attacks.push((service, answers, attacking));
    }
    for (service, answers, _) in &attacks {
        let until = Instant::now() + PATIENCE;
        while answers.counted().requests == 0 {
            anyhow::ensure!(Instant::now() < until, "the attack on {service} does not begin");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let stop = |name: &'static str, mut process: Process| async move {
        let told = Instant::now();
        let status = tokio::task::spawn_blocking(move || anyhow::Ok((process.terminate()?, process.log()))).await??;
        anyhow::ensure!(status.0.success(), "{name} ended with {}:\n{}", status.0, status.1);
        let took = told.elapsed();
        // In addition to the grace time, 5 s to close what the service holds.
        anyhow::ensure!(took < Duration::from_secs(grace + 6), "{name}: SIGTERM took {took:?}, grace {grace} s");
        anyhow::Ok(took)
    };
    let mut all = Vec::new();
    for service in SERVICES {
        all.push(stop(service, suite.hand_over(service)?));
    }
    let took = join_all(all).await.into_iter().collect();
    attacks.iter().for_each(|(_, _, attacking)| attacking.abort());
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_client_goes_on_during_every_attack_and_sigterm_ends_each_service() -> anyhow::Result<()> {
    for attack in Attack::ALL {
        let folder = tempfile::tempdir()?;
        let grace = SHORT_GRACE.to_string();
        let settings = [("SERVER__SHUTDOWN_GRACE_SECONDS", grace.as_str())];
        let mut suite = Suite::processes_all_with(folder.path(), if is_long() { &[] } else { &settings }).await?;
        let mut row = Row::default();
        let endured = endured(&suite, attack, &mut row).await;
        let told = format!("{}\n{}", attack.name(), suite.logs());
        let ended = match endured.is_ok() {
            true => ended(&mut suite, attack).await.map(|ends| row.ends = ends),
            false => Ok(()),
        };
        row.print(attack.name());
        endured.and(ended).context(told)?;
    }
    Ok(())
}
