//! The suite under attack: by bodies that never come, by streams of reflection, by masks without end, by connections, and by
//! the largest message of every list of every method. A good client of another class goes on meanwhile, memory stays in
//! proportion, nothing is answered INTERNAL, and SIGTERM ends the process in its time.
//!
//! `MMS_HOSTILE_SECONDS` is how long each attack lasts (default 1; from 10 on, the good client's p99 is judged, too).

#![allow(clippy::print_stdout, reason = "the figures are what a proof shows")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use mms_proto::registry::v1::ListNetworkConnectionsRequest;
use mms_proto::registry::v1::network_connection_service_client::NetworkConnectionServiceClient;
use mms_proto::{Role, descriptor};
use mms_server::{Client, ClientConfig, SuiteToken};
use mms_tests::process::Process;
use mms_tests::raw::Raw;
use mms_tests::suite::{SERVICES, Suite};
use prost_reflect::{FieldDescriptor, Kind};
use tonic::Code;

use crate::wire::{field, lists};

const TOKEN: &str = "the-token-of-the-suite-under-test";
const UPDATE: &str = "/mms.registry.v1.DataSourceService/UpdateDataSource";
const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

fn seconds() -> u64 {
    std::env::var("MMS_HOSTILE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// One line of the table.
#[derive(Default)]
struct Outcome {
    requests: u64,
    internal: u64,
    let_in: u64,
    peak_mib: u64,
    p99: Duration,
    control: Duration,
}

fn table(rows: &BTreeMap<String, Outcome>) {
    println!(
        "{:<34} {:>9} {:>9} {:>7} {:>9} {:>9} {:>9}",
        "attack", "requests", "INTERNAL", "let in", "peak MiB", "p99 ms", "control"
    );
    for (name, row) in rows {
        println!(
            "{name:<34} {:>9} {:>9} {:>7} {:>9} {:>9.1} {:>9.1}",
            row.requests,
            row.internal,
            row.let_in,
            row.peak_mib,
            row.p99.as_secs_f64() * 1e3,
            row.control.as_secs_f64() * 1e3
        );
    }
}

fn memory(process: &Process, key: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).context("no such line")?;
    Ok(line.split_whitespace().next().context("a number")?.parse::<u64>()? / 1024)
}

/// The peak from now on is of what follows.
fn forget_peak(process: &Process) -> anyhow::Result<u64> {
    std::fs::write(format!("/proc/{}/clear_refs", process.id()), "5")?;
    memory(process, "VmRSS:")
}

fn process<'a>(suite: &'a Suite, service: &str) -> anyhow::Result<&'a Process> {
    suite.processes.iter().find(|(name, _)| name == service).map(|(_, process)| process).context("it runs")
}

fn address(suite: &Suite, service: &str) -> anyhow::Result<SocketAddr> {
    Ok(suite.endpoint(service).trim_start_matches("http://").parse()?)
}

/// A service of the suite that calls all the time; its p99.
async fn good(suite: &Suite, lasts: Duration) -> anyhow::Result<Duration> {
    let channel = Client::new(&ClientConfig::to(suite.endpoint("registry")), Some(&SuiteToken::new(TOKEN)))?;
    let mut client = NetworkConnectionServiceClient::new(channel);
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

async fn silent_bodies(at: SocketAddr, row: &mut Outcome) -> anyhow::Result<()> {
    let mut held = Vec::new();
    loop {
        let Ok(mut raw) = Raw::connect(at, "127.0.0.2".parse()?).await else { break };
        for _ in 0..200 {
            match raw.begin(UPDATE, None).await {
                Ok(call) => held.push(call),
                Err(_) => break,
            }
            row.requests += 1;
        }
        held.truncate(20_000);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn reflection(at: SocketAddr, row: &mut Outcome) -> anyhow::Result<()> {
    let mut held = Vec::new();
    for last in (2..250_u8).cycle() {
        let Ok(mut raw) = Raw::connect(at, [127, 0, 0, last].into()).await else { continue };
        for _ in 0..200 {
            match raw.begin(REFLECT, None).await {
                Ok(call) => held.push(call),
                Err(_) => break,
            }
            row.requests += 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn masks(at: SocketAddr, row: &mut Outcome) -> anyhow::Result<()> {
    let request = descriptor::method(UPDATE).context("it is there")?.input.clone();
    let mask = request.get_field_by_name("update_mask").context("a mask")?;
    let message = field(mask.number(), &field(1, &[]).repeat(500_000));
    let mut raw = Raw::connect(at, "127.0.0.2".parse()?).await?;
    loop {
        count(row, raw.call(UPDATE, None, &message).await?, Code::InvalidArgument);
    }
}

async fn connections(at: SocketAddr, row: &mut Outcome) -> anyhow::Result<()> {
    let mut held = Vec::new();
    loop {
        for last in 2..20_u8 {
            if let Ok(raw) = Raw::connect(at, [127, 0, 0, last].into()).await {
                held.push(raw);
            }
            row.requests += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn wrong_tokens(at: SocketAddr, row: &mut Outcome) -> anyhow::Result<()> {
    let mut raw = Raw::connect(at, "127.0.0.2".parse()?).await?;
    for number in 0_u64.. {
        let token = format!("a-token-that-nobody-has-{number}");
        count(
            row,
            raw.call("/mms.registry.v1.SessionService/OpenSession", Some(&token), &[]).await?,
            Code::Unauthenticated,
        );
    }
    Ok(())
}

fn count(row: &mut Outcome, status: tonic::Status, expected: Code) {
    row.requests += 1;
    row.internal += u64::from(matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss));
    row.let_in += u64::from(status.code() == Code::Ok && expected != Code::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_client_goes_on_during_every_attack() -> anyhow::Result<()> {
    let (lasts, mut rows) = (Duration::from_secs(seconds()), BTreeMap::new());
    for name in ["silent bodies", "reflection streams", "masks without end", "connections", "wrong tokens"] {
        let folder = tempfile::tempdir()?;
        let mut suite = Suite::processes(folder.path(), 30).await?;
        let at = address(&suite, "registry")?;
        let before = forget_peak(process(&suite, "registry")?)?;
        let (mut row, mut tries) = (Outcome::default(), Vec::new());
        for _ in 0..if seconds() >= 10 { 3 } else { 1 } {
            let control = good(&suite, lasts / 2).await?;
            let attack = async {
                match name {
                    "silent bodies" => silent_bodies(at, &mut row).await,
                    "reflection streams" => reflection(at, &mut row).await,
                    "masks without end" => masks(at, &mut row).await,
                    "connections" => connections(at, &mut row).await,
                    _ => wrong_tokens(at, &mut row).await,
                }?;
                std::future::pending::<anyhow::Result<Duration>>().await
            };
            let attacked = tokio::select! {
                ended = attack => ended,
                p99 = good(&suite, lasts) => p99,
            };
            tries.push((attacked.with_context(|| format!("{name}\n{}", suite.logs()))?, control));
        }
        tries.sort();
        (row.p99, row.control) = tries[tries.len() / 2];
        row.peak_mib = memory(process(&suite, "registry")?, "VmHWM:")?;
        assert_eq!((row.internal, row.let_in), (0, 0), "{name}");
        assert!(row.peak_mib < before + 300, "{name}: {before} MiB became {} MiB", row.peak_mib);
        if seconds() >= 10 {
            let most = (5 * row.control).max(Duration::from_millis(100));
            assert!(row.p99 <= most, "{name}: p99 {:?}, control {:?}", row.p99, row.control);
        }
        // Asked to end while it goes on.
        let mut last = Outcome::default();
        let attacking = tokio::spawn(async move {
            match name {
                "silent bodies" => silent_bodies(at, &mut last).await,
                "reflection streams" => reflection(at, &mut last).await,
                "masks without end" => masks(at, &mut last).await,
                _ => connections(at, &mut last).await,
            }
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        let begun = Instant::now();
        let stopped = tokio::task::spawn_blocking(move || suite.stop("registry")).await?;
        attacking.abort();
        stopped.with_context(|| name)?;
        // 20 s of grace, and 5 to close.
        assert!(begun.elapsed() < Duration::from_secs(26), "{name}: SIGTERM took {:?}", begun.elapsed());
        rows.insert(name.to_owned(), row);
    }
    table(&rows);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_takes_more_than_eight_times_its_bytes() -> anyhow::Result<()> {
    // Above what the frame lets in without a look at the whole; the proof sends what is nearly the largest message.
    let bytes = if seconds() >= 10 { 15 << 20 } else { 4 << 20 };
    let folder = tempfile::tempdir()?;
    let suite = Suite::processes(folder.path(), 30).await?;
    let mut rows = BTreeMap::new();
    for service in SERVICES {
        let mut row = Outcome::default();
        let mut raw = Raw::connect(address(&suite, service)?, "127.0.0.1".parse()?).await?;
        let methods = descriptor::methods().filter(|method| method.path.starts_with(&format!("/mms.{service}.v1.")));
        for method in methods {
            let mut found = Vec::new();
            lists(&method.input, &mut Vec::new(), &mut found);
            for way in found {
                let list = way.last().context("a list")?;
                let items = match list.kind() {
                    Kind::Message(_) | Kind::String | Kind::Bytes => vec![
                        field(list.number(), &[]).repeat(bytes / 2),
                        field(list.number(), &[0x0A, 0]).repeat(bytes / 4),
                    ],
                    _ => vec![field(list.number(), &vec![1; bytes])],
                };
                for mut message in items {
                    for around in way.iter().rev().skip(1) {
                        message = field(around.number(), &message);
                    }
                    let path = way.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".");
                    let before = forget_peak(process(&suite, service)?)?;
                    // Without a token, whoever is on this machine is ADMIN; services need theirs.
                    let token = (method.least_role == Role::Service).then_some(TOKEN);
                    let status = raw.call(&method.path, token, &message).await;
                    let status = status.with_context(|| format!("{} {path}\n{}", method.path, suite.logs()))?;
                    let took = memory(process(&suite, service)?, "VmHWM:")?.saturating_sub(before);
                    let allowed = 8 * (message.len() as u64 >> 20) + 16;
                    assert!(
                        took <= allowed,
                        "{} {path}: {took} MiB for {} bytes ({status})",
                        method.path,
                        message.len()
                    );
                    row.peak_mib = row.peak_mib.max(took);
                    assert_ne!(status.code(), Code::PermissionDenied, "{} was not tried", method.path);
                    count(&mut row, status, Code::Ok);
                }
            }
        }
        assert_eq!(row.internal, 0, "{service}\n{}", suite.logs());
        rows.insert(format!("amplification, {service} (growth)"), row);
    }
    table(&rows);
    Ok(())
}

/// What is left of a process with few descriptors when somebody holds all the connections it lets in.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_stop_the_store() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut process = few_files(folder.path())?;
    let serves =
        |line: &str| line.split_once("listen=").filter(|_| line.contains("serving")).map(|(_, at)| at.to_owned());
    let at: SocketAddr = process.says(serves).await?.split_whitespace().next().context("an address")?.parse()?;
    let mut client = NetworkConnectionServiceClient::new(Client::new(&ClientConfig::to(format!("http://{at}")), None)?);
    let create = |id: String| mms_proto::registry::v1::CreateNetworkConnectionRequest {
        network_connection_id: id.clone(),
        network_connection: Some(mms_proto::registry::v1::NetworkConnection { display_name: id, ..Default::default() }),
        ..Default::default()
    };
    client.create_network_connection(create("before".into())).await?;
    let (mut held, mut refused) = (Vec::new(), 0);
    for number in 0..600_u32 {
        let stream = tokio::net::TcpSocket::new_v4()?;
        stream.bind(SocketAddr::from(([127, 0, 0, 2 + (number % 100) as u8], 0)))?;
        match stream.connect(at).await {
            Ok(stream) => held.push(stream),
            Err(_) => refused += 1,
        }
    }
    for number in 0..20 {
        client.create_network_connection(create(format!("during{number}"))).await?;
    }
    println!("{} connections offered, {refused} refused by the system; 20 writes meanwhile, 0 failed", held.len());
    anyhow::ensure!(process.terminate()?.success(), "{}", process.log());
    Ok(())
}

fn few_files(folder: &Path) -> anyhow::Result<Process> {
    let key = folder.join("key");
    std::fs::write(&key, "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")?;
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -n 512 && exec \"$@\"", "sh"]).arg(mms_tests::process::program("mms-registry")?);
    command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.join("data"));
    command.env("MMS_REGISTRY__REGISTRY__ENCRYPTION_KEY_FILE", key);
    Process::start("registry", &mut command, folder)
}
