//! A service whose disk fails or is full, whose store is damaged, or whose key is lost, as an operator experiences it.

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
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

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
    // From now on the process is ending; a caller that still reaches it must not see the refused request.
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
    // Whether or not the disk has the refused one, the same request creates it or finds it.
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
    // A clean end writes an export.
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

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_key_is_named_and_what_it_wraps_can_be_given_up() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (folder, port) = (folder.path(), free_port()?);
    write_key(folder)?;
    let mut process = Process::start("first", &mut registry(folder, port)?, folder)?;
    let mut networks = client(port, &mut process).await?;
    networks.create_network_connection(create("kept")).await?;
    let secret = NetworkConnection {
        display_name: "secret".into(),
        proxy_url: "http://proxy.example:3128".into(),
        proxy_authorization: "me:a-password-of-the-proxy".into(),
        ..NetworkConnection::default()
    };
    let request = CreateNetworkConnectionRequest { network_connection: Some(secret), ..create("secret") };
    networks.create_network_connection(request).await?;
    anyhow::ensure!(process.terminate()?.success(), "{}", process.log());

    std::fs::write(folder.join("key"), "OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEwOTg=")?;
    let Output { status, stderr, .. } = registry(folder, port)?.output()?;
    let errors = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("\"main\" is not the one") && errors.contains("1 sets of secrets"), "{errors}");

    let mut second = registry(folder, port)?;
    second.env("MMS_REGISTRY__REGISTRY__ENCRYPTION_KEY_ID", "second");
    let Output { status, stderr, .. } = second.output()?;
    let errors = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("\"main\" is not configured") && errors.contains("lost_encryption_keys"), "{errors}");

    second.env("MMS_REGISTRY__REGISTRY__LOST_ENCRYPTION_KEYS", "[\"main\"]");
    let mut process = Process::start("second", &mut second, folder)?;
    let mut networks = client(port, &mut process).await?;
    networks.get_network_connection(get("kept")).await?;
    assert!(process.log().contains("networkConnections/secret"), "{}", process.log());
    anyhow::ensure!(process.terminate()?.success(), "{}", process.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_says_so_and_writing_resumes_by_itself() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (folder, port) = (folder.path(), free_port()?);
    write_key(folder)?;
    let disk = folder.join("disk");
    std::fs::create_dir(&disk)?;
    let script = "mount -t tmpfs -o size=80m none \"$1\" && echo ready && exec sleep 600";
    let mut command = Command::new("unshare");
    command.args(["-Urm", "sh", "-c", script, "sh"]).arg(&disk);
    let holder = match Process::start("disk", &mut command, folder) {
        Ok(mut holder) => holder.says(|line| line.contains("ready").then_some(())).await.map(|()| holder),
        Err(error) => Err(error),
    };
    let holder = match holder {
        Ok(holder) => holder,
        Err(error) => {
            println!("SKIPPED a_full_disk_refuses_writes: no mount namespace: {error:#}");
            return Ok(());
        }
    };
    let filler =
        Path::new("/proc").join(holder.id().to_string()).join("root").join(disk.strip_prefix("/")?).join("filler");
    let start = |name: &str| {
        let mut command = Command::new("nsenter");
        command.args(["--preserve-credentials", "-U", "-m", "-t", &holder.id().to_string(), "--"]);
        command.arg(program("mms-registry")?).args(["--listen", &format!("127.0.0.1:{port}"), "--data-dir"]);
        command.arg(disk.join("data")).env("MMS_REGISTRY__REGISTRY__ENCRYPTION_KEY_FILE", folder.join("key"));
        Process::start(name, &mut command, folder)
    };
    let refused = |answer: Result<tonic::Response<_>, tonic::Status>| {
        let status = answer.map(|_: tonic::Response<mms_proto::registry::v1::CreateNetworkConnectionResponse>| ());
        let error = status.map_err(|status| mms_proto::ApiError::from_status(&status)).expect_err("the disk is full");
        assert_eq!((error.code, error.reason), (tonic::Code::ResourceExhausted, mms_proto::ErrorReason::StorageFull));
        for told in ["the disk of the registry's store is full", "nothing was written", "operator must free space"] {
            assert!(error.message.contains(told), "{error:?}");
        }
    };

    let mut process = start("first")?;
    let mut networks = client(port, &mut process).await?;
    networks.create_network_connection(create("kept")).await?;
    std::fs::write(&filler, vec![7; 50 << 20])?;
    refused(networks.create_network_connection(create("refused")).await);
    networks.get_network_connection(get("kept")).await?;
    let mut health = HealthClient::new(Client::new(&ClientConfig::to(format!("http://127.0.0.1:{port}")), None)?);
    let until = Instant::now() + PATIENCE;
    let mut ask = async |part: &str| {
        let answer = health.check(HealthCheckRequest { service: part.to_owned() }).await?;
        anyhow::Ok(answer.get_ref().status())
    };
    while ask("mms.store").await? != ServingStatus::NotServing {
        anyhow::ensure!(Instant::now() < until, "health does not say it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ask("").await?, ServingStatus::Serving);

    // With not a byte left, the service still ends cleanly and starts again.
    let mut rest = std::fs::OpenOptions::new().append(true).open(&filler)?;
    while std::io::Write::write_all(&mut rest, &[7; 4096]).is_ok() {}
    anyhow::ensure!(process.terminate()?.success(), "{}", process.log());
    let mut process = start("second")?;
    let mut networks = client(port, &mut process).await?;
    networks.get_network_connection(get("kept")).await?;
    refused(networks.create_network_connection(create("refused")).await);

    drop(rest);
    std::fs::remove_file(&filler)?;
    let until = Instant::now() + PATIENCE;
    while networks.create_network_connection(create("refused")).await.is_err() {
        anyhow::ensure!(Instant::now() < until, "writing does not resume\n{}", process.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::ensure!(process.terminate()?.success(), "{}", process.log());
    Ok(())
}
