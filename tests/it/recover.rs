//! A service whose disk fails, and one whose store is damaged, as an operator meets them.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::Context;
use mms_proto::registry::v1::network_connection_service_client::NetworkConnectionServiceClient;
use mms_proto::registry::v1::{
    CreateNetworkConnectionRequest, GetNetworkConnectionRequest, ListNetworkConnectionsRequest, NetworkConnection,
};
use mms_server::{Client, ClientConfig};
use mms_tests::peers;
use mms_tests::process::{Process, program};
use mms_tests::sandbox::free_port;
use mms_tests::suite::PATIENCE;

fn registry(folder: &Path, port: u16) -> anyhow::Result<Command> {
    let mut command = Command::new(program("mms-registry")?);
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--data-dir"]).arg(folder.join("data"));
    command.env("MMS_REGISTRY__REGISTRY__ENCRYPTION_KEY_FILE", folder.join("key"));
    Ok(command)
}

async fn client(port: u16, process: &mut Process) -> anyhow::Result<NetworkConnectionServiceClient<Client>> {
    let client = Client::new(&ClientConfig::to(format!("http://127.0.0.1:{port}")), None)?;
    let mut client = NetworkConnectionServiceClient::new(client);
    let until = Instant::now() + PATIENCE;
    while client.list_network_connections(ListNetworkConnectionsRequest::default()).await.is_err() {
        anyhow::ensure!(process.runs() && Instant::now() < until, "the registry does not answer\n{}", process.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(client)
}

fn create(id: &str) -> CreateNetworkConnectionRequest {
    CreateNetworkConnectionRequest {
        network_connection_id: id.into(),
        network_connection: Some(NetworkConnection { display_name: id.into(), ..NetworkConnection::default() }),
        request_id: format!("create-{id}"),
        ..CreateNetworkConnectionRequest::default()
    }
}

fn get(id: &str) -> GetNetworkConnectionRequest {
    GetNetworkConnectionRequest { name: format!("networkConnections/{id}") }
}

fn write_key(folder: &Path) -> anyhow::Result<()> {
    let key = folder.join("key");
    std::fs::write(&key, "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")?;
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_ends_the_process_and_nothing_refused_is_shown_again() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (folder, port) = (folder.path(), free_port()?);
    write_key(folder)?;
    let (shim, fail) = (folder.join("shim.so"), folder.join("fail"));
    let source = peers::root().join("crates/store/tests/fdatasync.c");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&shim, &source]).arg("-ldl").output();
    if compiled.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        println!("SKIPPED a_disk_that_fails_ends_the_process_and_nothing_refused_is_shown_again: no C compiler");
        return Ok(());
    }
    assert!(compiled?.status.success());

    let mut command = registry(folder, port)?;
    command.env("LD_PRELOAD", &shim).env("MMS_SYNC_FAIL", &fail);
    let mut process = Process::start("first", &mut command, folder)?;
    let mut networks = client(port, &mut process).await?;
    networks.create_network_connection(create("kept")).await?;
    std::fs::write(&fail, "")?;
    let refused = networks.create_network_connection(create("refused")).await;
    assert_eq!(refused.map(drop).map_err(|status| status.code()), Err(tonic::Code::Unavailable));
    // From now on the process is on its way out; whoever still reaches it is not told what was refused.
    assert!(networks.create_network_connection(create("refused")).await.is_err(), "a replay acknowledged it");
    assert!(networks.get_network_connection(get("refused")).await.is_err(), "nobody knows whether it is there");
    let until = Instant::now() + PATIENCE;
    while process.runs() {
        anyhow::ensure!(Instant::now() < until, "the registry goes on\n{}", process.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(process.wait()?.code(), Some(1), "{}", process.log());
    assert!(process.log().contains("task store: store stopped"), "{}", process.log());

    std::fs::remove_file(&fail)?;
    let mut process = Process::start("second", &mut registry(folder, port)?, folder)?;
    let mut networks = client(port, &mut process).await?;
    networks.get_network_connection(get("kept")).await?;
    // Whatever the disk has of it: the same request makes it, or finds it.
    networks.create_network_connection(create("refused")).await?;
    anyhow::ensure!(process.terminate()?.success(), "{}", process.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_restored_only_when_asked_for() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (folder, port) = (folder.path(), free_port()?);
    write_key(folder)?;
    let mut process = Process::start("first", &mut registry(folder, port)?, folder)?;
    let mut networks = client(port, &mut process).await?;
    networks.create_network_connection(create("kept")).await?;
    // A clean end exports.
    anyhow::ensure!(process.terminate()?.success(), "{}", process.log());

    let db = folder.join("data/store/sled/db");
    let length = usize::try_from(std::fs::metadata(&db).with_context(|| db.display().to_string())?.len())?;
    std::fs::write(&db, vec![0x5A; length])?;
    let Output { status, stderr, .. } = registry(folder, port)?.output()?;
    let errors = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("store is corrupt") && errors.contains("--recover newest-export"), "{errors}");

    let mut process = Process::start("second", registry(folder, port)?.args(["--recover", "newest-export"]), folder)?;
    let mut networks = client(port, &mut process).await?;
    let kept = networks.get_network_connection(get("kept")).await?.into_inner().network_connection.unwrap_or_default();
    assert_eq!(kept.display_name, "kept");
    assert!(folder.join("data/store/sled.broken/db").exists(), "the damaged one is evidence");
    anyhow::ensure!(process.terminate()?.success(), "{}", process.log());
    Ok(())
}
