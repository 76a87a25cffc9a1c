//! Single requests and connections that are expensive: the largest message for every list of every method takes memory
//! in proportion to its bytes, and a client that holds all connections of a process does not stop its store. Attacks
//! that last are in `hostile_attacks`.

#![allow(clippy::print_stdout, reason = "the figures are what a proof shows")]

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use mms_proto::registry::v1::network_connection_service_client::NetworkConnectionServiceClient;
use mms_proto::{Role, descriptor};
use mms_server::{Client, ClientConfig};
use mms_tests::attack::Answers;
use mms_tests::figures::Row;
use mms_tests::process::Process;
use mms_tests::raw::Raw;
use mms_tests::suite::{SERVICES, Suite};
use mms_tests::wire::{field, lists};
use prost_reflect::{FieldDescriptor, Kind};
use tonic::Code;

/// The token of the suite's services.
pub const TOKEN: &str = "the-token-of-the-suite-under-test";

/// How many seconds an attack lasts.
pub fn seconds() -> u64 {
    std::env::var("MMS_HOSTILE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Whether this is the long proof rather than the usual test.
pub fn is_long() -> bool {
    seconds() >= 10
}

/// A value in MiB of what the system reports about a process.
pub fn memory(process: &Process, key: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).context("no such line")?;
    Ok(line.split_whitespace().next().context("a number")?.parse::<u64>()? / 1024)
}

/// Resets the peak of a process's memory; returns its present memory in MiB.
pub fn forget_peak(process: &Process) -> anyhow::Result<u64> {
    std::fs::write(format!("/proc/{}/clear_refs", process.id()), "5")?;
    memory(process, "VmRSS:")
}

/// The process of a service.
pub fn process<'a>(suite: &'a Suite, service: &str) -> anyhow::Result<&'a Process> {
    suite.processes.iter().find(|(name, _)| name == service).map(|(_, process)| process).context("it runs")
}

/// Where a service listens.
pub fn address(suite: &Suite, service: &str) -> anyhow::Result<SocketAddr> {
    Ok(suite.endpoint(service).trim_start_matches("http://").parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_takes_more_than_eight_times_its_bytes() -> anyhow::Result<()> {
    // The usual test sends more than the bound allows without regard to size; the proof sends nearly the largest
    // message.
    let bytes = if is_long() { 15 << 20 } else { 4 << 20 };
    let folder = tempfile::tempdir()?;
    let suite = Suite::processes(folder.path(), 30).await?;
    for service in SERVICES {
        let (answers, mut most, mut peak) = (Answers::default(), 0, 0);
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
                    // Without a token, a caller on this machine is ADMIN; services need their token.
                    let token = (method.least_role == Role::Service).then_some(TOKEN);
                    let status = raw.call(&method.path, token, &message).await;
                    let status = status.with_context(|| format!("{} {path}\n{}", method.path, suite.logs()))?;
                    let held = memory(process(&suite, service)?, "VmHWM:")?;
                    let took = held.saturating_sub(before);
                    let allowed = 8 * (message.len() as u64 >> 20) + 16;
                    assert!(
                        took <= allowed,
                        "{} {path}: {took} MiB for {} bytes ({status})",
                        method.path,
                        message.len()
                    );
                    (most, peak) = (most.max(took), peak.max(held));
                    assert_ne!(status.code(), Code::PermissionDenied, "{} was not tried", method.path);
                    answers.take(&status, true);
                }
            }
        }
        let counted = answers.counted();
        let outcome = format!("at most {most} MiB more for messages of {} MiB", bytes >> 20);
        let row = Row {
            requests: Some(counted.requests),
            internal: Some(counted.internal),
            peak_mib: Some(peak),
            outcome,
            ..Row::default()
        };
        row.print(&format!("largest lists, {service}"));
        assert_eq!(counted.internal, 0, "{service}\n{}", suite.logs());
    }
    Ok(())
}

/// A process with few file descriptors still writes while somebody holds all the connections it accepts.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_stop_the_store() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut process = few_files(folder.path())?;
    let at = serving(&mut process).await?;
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
    let outcome = format!("{} refused by the system; 0 of 20 writes failed meanwhile", refused);
    Row { requests: Some(600), outcome, ..Row::default() }.print("connections, 512 files allowed");
    anyhow::ensure!(process.terminate()?.success(), "{}", process.log());
    Ok(())
}

/// The address that a process logs when it serves.
async fn serving(process: &mut Process) -> anyhow::Result<SocketAddr> {
    let serves =
        |line: &str| line.split_once("listen=").filter(|_| line.contains("serving")).map(|(_, at)| at.to_owned());
    Ok(process.says(serves).await?.split_whitespace().next().context("an address")?.parse()?)
}

/// A process that cannot accept connections pauses between its tries, and accepts again when it can.
#[tokio::test]
async fn who_cannot_accept_waits_before_the_next_try() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut process = few_files(folder.path())?;
    let at = serving(&mut process).await?;
    let id = process.id().to_string();
    let limit = |files: usize| {
        let mut command = std::process::Command::new("prlimit");
        command.args(["--pid", &id, &format!("--nofile={files}:512")]).status()
    };
    let open = std::fs::read_dir(format!("/proc/{id}/fd"))?.count();
    match limit(open + 2) {
        Ok(status) => anyhow::ensure!(status.success(), "prlimit ended with {status}"),
        Err(error) => {
            println!("SKIPPED who_cannot_accept_waits_before_the_next_try: no prlimit: {error}");
            return Ok(());
        }
    }
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(tokio::net::TcpStream::connect(at).await?);
    }
    for pause in ["pause_ms=10", "pause_ms=20", "pause_ms=40", "pause_ms=80"] {
        process.says(|line| (line.contains("could not be accepted") && line.contains(pause)).then_some(())).await?;
    }
    drop(held);
    anyhow::ensure!(limit(512)?.success(), "it gets its files back");
    let mut client = NetworkConnectionServiceClient::new(Client::new(&ClientConfig::to(format!("http://{at}")), None)?);
    client.list_network_connections(mms_proto::registry::v1::ListNetworkConnectionsRequest::default()).await?;
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
