//! What deploy/ promises: every example configuration is valid, and the commands and environment of the compose file
//! start a suite that answers over TLS to callers with a token, and to nobody else. The test uses no container engine:
//! paths, host names and ports of the containers are replaced by those of this machine, and nothing else is changed.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use mms_proto::ErrorReason;
use mms_proto::catalog::v1::CreateScanRequest;
use mms_proto::catalog::v1::scan_service_client::ScanServiceClient;
use mms_proto::registry::v1::data_source_service_client::DataSourceServiceClient;
use mms_proto::registry::v1::{CreateDataSourceRequest, StartDataSourceRequest};
use mms_proto::scheduler::v1::job_service_client::JobServiceClient;
use mms_proto::scheduler::v1::worker_service_client::WorkerServiceClient;
use mms_proto::scheduler::v1::{CreateJobRequest, GetJobRequest, Job, JobState, LeaseTasksRequest, ListWorkersRequest};
use mms_server::{Client, ClientConfig};
use mms_tests::compose::{self, Compose};
use mms_tests::peers;
use mms_tests::process::program;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{PATIENCE, SERVICES, everything};
use serde_json::{Value, json};

fn printed(service: &str, file: Option<&Path>) -> anyhow::Result<String> {
    let mut command = Command::new(program(&format!("mms-{service}"))?);
    command.arg("--print-config");
    match file {
        Some(file) => command.arg("--config").arg(file),
        // The one key that has no default.
        None => command.env("MMS_REGISTRY__REGISTRY__ENCRYPTION_KEY_FILE", "/etc/mms/keys/main.key"),
    };
    Ok(String::from_utf8(peers::run(&mut command)?.stdout)?)
}

#[test]
fn every_example_configuration_is_valid_and_shows_the_defaults() -> anyhow::Result<()> {
    for service in SERVICES {
        let file = peers::root().join(format!("deploy/config/{service}.toml"));
        let mut command = Command::new(program(&format!("mms-{service}"))?);
        peers::run(command.arg("--config").arg(&file).arg("--check-config"))?;
        let defaults = printed(service, None)?;
        assert_eq!(printed(service, Some(&file))?, defaults, "{service}.toml changes what it claims to show");

        // The file shows every key, except those that it says are explained in another file.
        let text = std::fs::read_to_string(&file)?;
        let elsewhere = text.contains("are explained in registry.toml");
        let mut section = "";
        for line in defaults.lines() {
            section = line.strip_prefix('[').map_or(section, |name| name.trim_end_matches(']'));
            let of_frame = ["server", "telemetry"].iter().any(|frame| section.starts_with(frame));
            if let Some((key, _)) = line.split_once(" = ")
                && !(elsewhere && of_frame)
            {
                let shown = text.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = ")));
                assert!(shown, "{service}.toml does not show {section}.{key}");
            }
        }
    }
    Ok(())
}

#[test]
fn no_secret_gets_into_an_image_and_no_two_workers_share_a_folder() -> anyhow::Result<()> {
    let ignored = std::fs::read_to_string(peers::root().join(".dockerignore"))?;
    assert!(ignored.lines().any(|line| line == "deploy/secrets"), "make-secrets writes there by default: {ignored}");
    let compose = compose::file()?;
    for service in SERVICES {
        let described = &compose["services"][service];
        let volumes = described["volumes"].as_array().context("volumes")?;
        // The service's own key, and no other.
        let mounted: Vec<_> =
            volumes.iter().filter_map(Value::as_str).filter(|from| from.contains("secrets")).collect();
        assert_eq!(mounted, [format!("./secrets/{service}:/etc/mms:ro")]);
        let demanded = format!("MMS_{}__SERVER__TLS__CLIENT_CA_FILE", service.to_uppercase());
        assert_eq!(described["environment"][demanded], "/etc/mms/ca.crt", "{service} demands a client certificate");
        let state = volumes.iter().filter_map(Value::as_str).find(|volume| volume.ends_with("/var/lib/mms"));
        // A scaled worker gets a folder, and so an id, for each container; a store exists once, so its volume has a
        // name.
        let expected = if service == "transfer" { "/var/lib/mms".into() } else { format!("{service}:/var/lib/mms") };
        assert_eq!(state, Some(expected.as_str()));
        let grace = described["stop_grace_period"].as_str().and_then(|text| text.strip_suffix('s'));
        let grace: u64 = grace.context("a stop_grace_period")?.parse()?;
        assert!(grace > mms_server::FrameConfig::default().shutdown_grace_seconds + 5, "{service} is killed too early");
    }
    Ok(())
}

/// A data source without tables. The processes of this test do not allow tables in local files.
fn lake(ends: &Sandbox) -> Value {
    let mut request = ends.data_source("lake");
    let sas = json!({ "azure_sas": { "sas": "sv=2024-11-04&sp=rl&sig=none" } });
    request["data_source"]["databricks"]["storage"] = json!([sas]);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compose_files_processes_make_a_suite() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let secrets = folder.path().join("secrets");
    peers::run(Command::new(peers::root().join("deploy/make-secrets")).arg(&secrets))?;
    let mut compose = Compose::new(&secrets, folder.path())?;
    for service in SERVICES {
        // Workspace and project of this test are on this machine.
        let upper = service.to_uppercase();
        if service != "scheduler" {
            compose.set(&format!("MMS_{upper}__{upper}__ALLOW_LOOPBACK"), "true");
        }
        compose.begin(service, &[])?;
    }
    let ports = compose.ports.clone();
    let own = secrets.join("administrator");
    let token_file = own.join("token");
    let config = |service: &str| ClientConfig {
        endpoint: format!("https://localhost:{}", ports[service]),
        ca_file: Some(own.join("ca.crt")),
        cert_file: Some(own.join("administrator.crt")),
        key_file: Some(own.join("administrator.key")),
        token_file: Some(token_file.clone()),
        ..ClientConfig::default()
    };
    let channel = |service: &str| Client::new(&config(service), None);

    // The worker has connected to its scheduler, over TLS, with the suite's token.
    let mut client = WorkerServiceClient::new(channel("scheduler")?);
    let until = Instant::now() + PATIENCE;
    loop {
        let workers = client.list_workers(ListWorkersRequest::default()).await;
        if workers.as_ref().is_ok_and(|answer| answer.get_ref().workers.len() == 1) {
            break;
        }
        anyhow::ensure!(Instant::now() < until, "{workers:?}\n{}", compose.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Each service is healthy by the probe of its container.
    for service in SERVICES {
        peers::run(&mut compose.probe(service)?)?;
    }
    // The other services can connect too: catalog and scheduler ask the registry for a data source, and the scheduler
    // asks the catalog for its tables. Nothing was scanned, so there are none.
    let empty = folder.path().join("empty");
    std::fs::create_dir_all(&empty)?;
    let ends = Sandbox::start(folder.path(), &empty)?;
    let mut sources = DataSourceServiceClient::new(channel("registry")?);
    sources.create_data_source(mms_proto::json::from_value::<CreateDataSourceRequest>(lake(&ends))?).await?;
    let (name, request_id) = ("dataSources/lake".to_owned(), String::new());
    sources.start_data_source(StartDataSourceRequest { name: name.clone(), request_id }).await?;
    let scan = CreateScanRequest { parent: name.clone(), ..CreateScanRequest::default() };
    ScanServiceClient::new(channel("catalog")?).create_scan(scan).await?;
    let mut jobs = JobServiceClient::new(channel("scheduler")?);
    let job = Job { spec: Some(everything()), ..Job::default() };
    let request = CreateJobRequest { parent: name, job: Some(job), ..CreateJobRequest::default() };
    let mut job = jobs.create_job(request).await?.into_inner().job.context("a job")?;
    while job.end_time.is_none() {
        anyhow::ensure!(Instant::now() < until, "{job:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let request = GetJobRequest { name: job.name.clone(), ..Default::default() };
        job = jobs.get_job(request).await?.into_inner().job.context("a job")?;
    }
    let reason = job.reason.as_ref().map(|reason| reason.reason());
    anyhow::ensure!((job.state(), reason) == (JobState::Failed, Some(ErrorReason::EmptyScope)), "{job:?}");

    let nobody = ClientConfig { token_file: None, ..config("scheduler") };
    let mut stranger = WorkerServiceClient::new(Client::new(&nobody, None)?);
    let refused = stranger.list_workers(ListWorkersRequest::default()).await;
    assert_eq!(refused.map(drop).map_err(|status| status.code()), Err(tonic::Code::Unauthenticated));
    // The service token is refused with the certificate of a service that may not call here, or of a person.
    let by_another = |name: &str| ClientConfig {
        cert_file: Some(secrets.join(name).join(format!("{name}.crt"))),
        key_file: Some(secrets.join(name).join(format!("{name}.key"))),
        token_file: Some(secrets.join("catalog/service.token")),
        ..config("scheduler")
    };
    for (name, code) in [("catalog", tonic::Code::PermissionDenied), ("administrator", tonic::Code::PermissionDenied)] {
        let mut catalog = WorkerServiceClient::new(Client::new(&by_another(name), None)?);
        let refused = catalog.lease_tasks(LeaseTasksRequest::default()).await;
        assert_eq!(refused.map(drop).map_err(|status| status.code()), Err(code), "{name}");
    }
    let without = ClientConfig { cert_file: None, key_file: None, ..config("scheduler") };
    let refused =
        WorkerServiceClient::new(Client::new(&without, None)?).list_workers(ListWorkersRequest::default()).await;
    assert!(refused.is_err(), "a client certificate is demanded");
    // Renewed certificates are used while all services run.
    peers::run(Command::new(peers::root().join("deploy/make-secrets")).arg("--renew").arg(&secrets))?;
    let mut renewed = WorkerServiceClient::new(channel("scheduler")?);
    renewed.list_workers(ListWorkersRequest::default()).await?;
    SERVICES.into_iter().try_for_each(|service| compose.stop(service))
}
