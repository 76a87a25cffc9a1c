//! Tables in Azure's storage, served by Microsoft's emulator. Every kind of credential moves all tables; every reason
//! for a refusal is reported by check and plan; a credential that expires or is rotated while rows are read costs no
//! attempt.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use mms_proto::ErrorReason;
use mms_proto::registry::v1 as registry;
use mms_proto::registry::v1::data_source_service_client::DataSourceServiceClient;
use mms_proto::registry::v1::network_connection_service_client::NetworkConnectionServiceClient;
use mms_proto::scheduler::v1::{JobSpec, JobState};
use mms_tests::azurite::{ACCOUNT, Azurite, CONTAINER, Span};
use mms_tests::sandbox::Sandbox;
use mms_tests::slow_link::SlowLink;
use mms_tests::suite::{Suite, everything};
use mms_tests::tables::{self, Tables};
use registry::check_data_source_request::Target;
use registry::check_data_source_response::Event;
use serde_json::{Value, json};

/// The secret of the application.
const SECRET: &str = "the-secret-of-the-mover";

/// The emulator with all tables, the suite, and the folder of the workspaces.
struct Stand {
    azurite: Azurite,
    suite: Suite,
    folder: tempfile::TempDir,
    moved: Tables,
}

impl Stand {
    async fn start() -> anyhow::Result<Option<Self>> {
        Self::with(&[]).await
    }

    async fn with(transfer: &[(&str, &str)]) -> anyhow::Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let Some(azurite) = Azurite::start(folder.path()).await? else { return Ok(None) };
        azurite.login.rotate(SECRET);
        let moved = match tables::real_folder() {
            Some(_) => tables::real()?.context("there are some")?,
            None => tables::own(&folder.path().join("own"))?,
        };
        azurite.lake(&moved.delta_root, &folder.path().join("workspace")).await?;
        std::fs::create_dir_all(folder.path().join("secrets"))?;
        let suite = suite(&azurite, folder.path(), transfer).await?;
        Ok(Some(Self { azurite, suite, folder, moved }))
    }

    /// A suite that sends small blocks without compression, so that over a slow link the real tables take longer than a short
    /// signature is valid. None without them.
    async fn slow() -> anyhow::Result<Option<Self>> {
        if tables::real()?.is_none() {
            return Ok(None);
        }
        Self::with(&[("BLOCK_BYTES", "1048576"), ("CODEC", "none")]).await
    }

    /// A sandbox with a project of its own for each source. Its workspace has only logs, and says where the tables are.
    fn sandbox(&self, id: &str, workspace: &str) -> anyhow::Result<Sandbox> {
        let folder = self.folder.path().join(id);
        std::fs::create_dir_all(&folder)?;
        Sandbox::start(&folder, &self.folder.path().join(workspace))
    }

    /// As [`Self::sandbox`], with a workspace that vends credentials valid for `life` seconds.
    fn vending(&self, id: &str, life: u32, more: &[&str]) -> anyhow::Result<Sandbox> {
        let folder = self.folder.path().join(id);
        std::fs::create_dir_all(&folder)?;
        let (file, life) = (folder.join("account.key"), life.to_string());
        std::fs::write(&file, self.azurite.key())?;
        let file = file.display().to_string();
        let options = [&["--vend-account", ACCOUNT, "--vend-key-file", &file, "--vend-life", &life], more].concat();
        Sandbox::start_with(&folder, &self.folder.path().join("workspace"), &options)
    }

    fn secret_file(&self, name: &str, secret: &str) -> anyhow::Result<String> {
        let file = self.folder.path().join("secrets").join(name);
        replace(&file, secret)?;
        Ok(format!("file:{}", file.display()))
    }

    /// Checks a source; returns the steps that did not succeed, by id.
    async fn check(&self, source: &str) -> anyhow::Result<BTreeMap<String, registry::CheckStep>> {
        let request =
            registry::CheckDataSourceRequest { target: Some(Target::Name(source.to_owned())), start_cluster: false };
        let mut client = DataSourceServiceClient::new(self.suite.channel("registry")?);
        let mut stream = client.check_data_source(request).await?.into_inner();
        while let Some(answer) = stream.message().await? {
            if let Some(Event::Report(report)) = answer.event {
                let wrong = report.steps.into_iter().filter(|step| step.state() == registry::CheckState::Failed);
                return Ok(wrong.map(|step| (step.id().as_str_name().to_owned(), step)).collect());
            }
        }
        anyhow::bail!("a check ends with its report")
    }

    /// Creates and starts a source without checking it, because the check would fail.
    async fn source_unchecked(&self, request: &Value) -> anyhow::Result<String> {
        let mut client = DataSourceServiceClient::new(self.suite.channel("registry")?);
        let create: registry::CreateDataSourceRequest = mms_proto::json::from_value(request.clone())?;
        let made = client.create_data_source(create).await?.into_inner();
        let name = made.data_source.context("a data source")?.name;
        client
            .start_data_source(registry::StartDataSourceRequest { name: name.clone(), request_id: String::new() })
            .await?;
        Ok(name)
    }
}

/// Starts a suite whose network connection leads production host names to the emulator.
async fn suite(azurite: &Azurite, folder: &Path, transfer: &[(&str, &str)]) -> anyhow::Result<Suite> {
    let suite = Suite::processes_with(folder, 30, transfer).await?;
    let request = json!({ "network_connection_id": "azure", "network_connection": azurite.network() });
    let request: registry::CreateNetworkConnectionRequest = mms_proto::json::from_value(request)?;
    NetworkConnectionServiceClient::new(suite.channel("registry")?).create_network_connection(request).await?;
    Ok(suite)
}

/// Replaces a secret's file in one step, as rotation does.
fn replace(file: &Path, secret: &str) -> anyhow::Result<()> {
    let next = file.with_extension("next");
    std::fs::write(&next, secret)?;
    Ok(std::fs::rename(next, file)?)
}

fn request(sandbox: &Sandbox, id: &str, storage: Value) -> Value {
    let mut request = sandbox.data_source(id);
    request["data_source"]["network_connection"] = json!("networkConnections/azure");
    request["data_source"]["databricks"]["storage"] = json!([storage]);
    request
}

fn principal(secret: &str) -> Value {
    json!({ "azure_service_principal": { "tenant_id": "tenant", "client_id": "mover", "client_secret": secret } })
}

fn sas(sas: &str) -> Value {
    json!({ "azure_sas": { "sas": sas } })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_arrive_by_every_kind_of_credential() -> anyhow::Result<()> {
    let Some(stand) = Stand::start().await? else { return Ok(()) };
    let whole_account = stand.azurite.account_sas("rwdlac", Span::HOUR)?;
    let container = stand.azurite.container_sas(CONTAINER, "rl", Span::HOUR)?;
    let ways = [
        ("account", sas(&format!("?{whole_account}"))),
        ("container", sas(&container)),
        ("principal", principal(SECRET)),
        ("vended", json!({ "vended": {} })),
    ];
    let kinds = BTreeMap::from([
        ("account", "with a shared access signature,"),
        ("container", "with a shared access signature,"),
        ("principal", "with a service principal,"),
        ("vended", "with a vended shared access signature,"),
    ]);
    for (id, storage) in ways {
        // Each kind has a suite and a target of its own: in one suite, all would have the same target table.
        let (sandbox, suite) =
            (stand.vending(id, 3600, &[])?, suite(&stand.azurite, &stand.folder.path().join(id), &[]).await?);
        let source = Box::pin(suite.source(&request(&sandbox, id, storage))).await?;
        let scan = suite.scanned(&suite.begin_scan(&source).await?).await?;
        anyhow::ensure!(scan.progress.is_some_and(|progress| progress.tables_failed == 0), "{id}: {scan:?}");
        let job = suite.begin_job(&source, everything()).await?;
        let ended = suite.done(&job).await.context(id)?;
        for task in suite.tasks(&ended.name).await? {
            let logs = suite.task_logs(&task.name).await?;
            let told = logs.iter().any(|line| line.message.contains(kinds[id]));
            assert!(told || !logs.iter().any(|line| line.message.contains("reading from storage")), "{id}: {logs:?}");
        }
        stand.moved.compare(&sandbox.project()).context(id)?;
    }
    // The check, the catalog and the worker ask for one token each, however many tables there are.
    let (given, refused) = stand.azurite.login.counts();
    assert!((1..=3).contains(&given) && refused == 0, "{given} tokens for {} tables", stand.moved.cases.len());
    Ok(())
}

/// A source that cannot be read, and what must be reported.
struct KeptOut {
    id: &'static str,
    storage: Value,
    workspace: &'static str,
    /// Part of the message of the failed check step.
    says: &'static str,
    remedy: &'static str,
    /// The reason of the job's tables.
    reason: ErrorReason,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_credential_out_is_told_by_check_and_plan() -> anyhow::Result<()> {
    let Some(stand) = Stand::start().await? else { return Ok(()) };
    // The same tables, but the workspace says that they are in a container that does not exist.
    let elsewhere = stand.folder.path().join("elsewhere");
    tables::copy(&stand.folder.path().join("workspace"), &elsewhere)?;
    for schema in std::fs::read_dir(&elsewhere)? {
        for table in std::fs::read_dir(schema?.path())? {
            let object = table?.path().join("_object.json");
            let text = std::fs::read_to_string(&object)?.replace(&format!("{CONTAINER}@"), "gone@");
            std::fs::write(object, text)?;
        }
    }
    // A signature is parsed when it is given, a reference to a file only when it is used.
    let weak = stand.azurite.container_sas(CONTAINER, "r", Span::HOUR)?;
    let given = request(&stand.sandbox("given", "workspace")?, "given", sas(&weak));
    let refused = stand.source_unchecked(&given).await.expect_err("it may not list").to_string();
    assert!(refused.contains("does not permit List") && !refused.contains("sig="), "{refused}");
    let weak = stand.secret_file("weak", &weak)?;
    let over = stand.azurite.container_sas(CONTAINER, "rl", Span(-7200, -3600))?;
    let foreign = stand.azurite.container_sas("other", "rl", Span::HOUR)?;
    let all = stand.azurite.account_sas("rl", Span::HOUR)?;
    let cases = [
        KeptOut {
            id: "no-list",
            storage: sas(&weak),
            workspace: "workspace",
            says: "does not permit List",
            remedy: "Read and List",
            reason: ErrorReason::StorageDenied,
        },
        KeptOut {
            id: "expired",
            storage: sas(&stand.secret_file("over", &over)?),
            workspace: "workspace",
            says: "has expired",
            remedy: "new signature",
            reason: ErrorReason::CredentialExpired,
        },
        KeptOut {
            id: "foreign",
            storage: sas(&foreign),
            workspace: "workspace",
            says: "AuthorizationFailure",
            remedy: "List as well as Read",
            reason: ErrorReason::StorageDenied,
        },
        KeptOut {
            id: "wrong-secret",
            storage: principal("not-the-secret"),
            workspace: "workspace",
            says: "AADSTS7000215",
            remedy: "client_secret",
            reason: ErrorReason::StorageDenied,
        },
        KeptOut {
            id: "no-container",
            storage: sas(&all),
            workspace: "elsewhere",
            says: "ContainerNotFound",
            remedy: "container or log is not there",
            reason: ErrorReason::SourceFailed,
        },
    ];
    let mut jobs = Vec::new();
    for case in cases {
        let sandbox = stand.sandbox(case.id, case.workspace)?;
        let source = stand.source_unchecked(&request(&sandbox, case.id, case.storage.clone())).await?;
        let wrong = stand.check(&source).await?;
        let step = wrong.get("CHECK_STEP_ID_STORAGE_READABLE").with_context(|| format!("{}: {wrong:?}", case.id))?;
        assert_eq!(wrong.len(), 1, "{}: {wrong:?}", case.id);
        assert!(step.message.contains(case.says) && step.remedy.contains(case.remedy), "{}: {step:?}", case.id);
        assert!(!step.message.contains("sig="), "{step:?}");
        // Scans succeed, because the workspace lists the tables.
        stand.suite.scanned(&stand.suite.begin_scan(&source).await?).await?;
        let job = stand.suite.begin_job(&source, JobSpec { max_attempts: 2, ..everything() }).await?;
        jobs.push((job, source, sandbox, case));
    }
    for (job, _, _, case) in &jobs {
        let ended = stand.suite.once(job, |job| {
            let planning = job.state() == JobState::Planning && job.waiting_for.is_none();
            Ok(!planning && job.state() != JobState::Planning)
        });
        let ended = ended.await.with_context(|| case.id)?;
        assert_eq!(ended.state(), JobState::Failed, "{}: {ended:?}", case.id);
        for table in stand.suite.job_tables(job).await? {
            let reason = table.reason.as_ref().with_context(|| format!("{}: {table:?}", case.id))?;
            assert_eq!(reason.reason(), case.reason, "{}: {reason:?}", case.id);
        }
    }
    // A corrected secret is used by the next plan and the next attempt, without a restart.
    let (_, source, sandbox, _) = jobs.iter().find(|(.., case)| case.id == "wrong-secret").context("it is there")?;
    let mut client = DataSourceServiceClient::new(stand.suite.channel("registry")?);
    let update: registry::UpdateDataSourceRequest = mms_proto::json::from_value(json!({
        "name": source,
        "data_source": {
            "databricks": request(sandbox, "x", principal(SECRET))["data_source"]["databricks"],
        },
        "update_mask": "databricks.storage",
    }))?;
    client.update_data_source(update).await?;
    let job = stand.suite.begin_job(source, everything()).await?;
    stand.suite.done(&job).await?;
    stand.moved.compare(&sandbox.project())
}

/// Seconds for which the signature is valid that expires while rows are read.
const SHORT: i64 = 15;

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_ends_while_rows_are_read_is_renewed_from_its_file() -> anyhow::Result<()> {
    // Small blocks over a slow link, so that files are opened during the whole job.
    let Some(stand) = Stand::slow().await? else { return Ok(()) };
    let sandbox = stand.sandbox("renewed", "workspace")?;
    let secret = stand.secret_file("sas", &stand.azurite.container_sas(CONTAINER, "rl", Span(-60, SHORT))?)?;
    let endpoint = sandbox.told("/project/endpoint");
    let upstream = endpoint.trim_start_matches("http://").split('/').next().unwrap_or_default().parse()?;
    let link = SlowLink::start(upstream, 4e6).await?;
    let mut request = request(&sandbox, "renewed", sas(&secret));
    request["data_source"]["max_compute"]["tunnel_endpoint"] = json!(link.url);
    let source = Box::pin(stand.suite.source(&request)).await?;
    stand.suite.scanned(&stand.suite.begin_scan(&source).await?).await?;
    let job = stand.suite.begin_job(&source, JobSpec { max_attempts: 5, ..everything() }).await?;
    let begun = tokio::time::Instant::now();
    let runs = |job: &mms_proto::scheduler::v1::Job| {
        anyhow::ensure!(job.state() != JobState::Failed, "the signature ended before rows were read: {job:?}");
        Ok(job.state() == JobState::Running)
    };
    stand.suite.once(&job, runs).await?;
    let next = stand.azurite.container_sas(CONTAINER, "rl", Span::HOUR)?;
    replace(&stand.folder.path().join("secrets/sas"), &next)?;
    let ended = stand.suite.done(&job).await?;
    anyhow::ensure!(
        begun.elapsed() > Duration::from_secs(SHORT.unsigned_abs()),
        "it was read before the signature ended"
    );
    for task in stand.suite.tasks(&ended.name).await? {
        let logs = stand.suite.task_logs(&task.name).await?;
        assert!(!logs.iter().any(|line| line.message.contains("expired")), "no attempt was lost: {logs:?}");
    }
    stand.moved.compare(&sandbox.project())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_ended_is_waited_for_and_costs_no_attempt() -> anyhow::Result<()> {
    let Some(stand) = Stand::slow().await? else { return Ok(()) };
    let sandbox = stand.sandbox("ended", "workspace")?;
    let secret = stand.secret_file("ended", &stand.azurite.container_sas(CONTAINER, "rl", Span(-60, SHORT))?)?;
    let endpoint = sandbox.told("/project/endpoint");
    let upstream = endpoint.trim_start_matches("http://").split('/').next().unwrap_or_default().parse()?;
    let link = SlowLink::start(upstream, 4e6).await?;
    let mut request = request(&sandbox, "ended", sas(&secret));
    request["data_source"]["max_compute"]["tunnel_endpoint"] = json!(link.url);
    let source = Box::pin(stand.suite.source(&request)).await?;
    stand.suite.scanned(&stand.suite.begin_scan(&source).await?).await?;
    // With one attempt, a single failure of a task would end the job.
    let job = stand.suite.begin_job(&source, JobSpec { max_attempts: 1, ..everything() }).await?;
    let waits = |job: &mms_proto::scheduler::v1::Job| {
        anyhow::ensure!(!matches!(job.state(), JobState::Failed | JobState::Done), "it did not wait: {job:?}");
        let reason = job.waiting_for.as_ref().map(|waiting| waiting.reason());
        Ok(job.state() == JobState::Running && reason == Some(ErrorReason::CredentialExpired))
    };
    stand.suite.once(&job, waits).await?;
    let next = stand.azurite.container_sas(CONTAINER, "rl", Span::HOUR)?;
    replace(&stand.folder.path().join("secrets/ended"), &next)?;
    let mended = tokio::time::Instant::now();
    stand.suite.once(&job, |job| Ok(job.waiting_for.is_none() || job.state() == JobState::Done)).await?;
    assert!(mended.elapsed() < Duration::from_secs(60), "it goes on within a minute, not {:?}", mended.elapsed());
    stand.suite.done(&job).await?;
    stand.moved.compare(&sandbox.project())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_workspace_does_not_vend_is_told_by_check_and_plan() -> anyhow::Result<()> {
    let Some(stand) = Stand::start().await? else { return Ok(()) };
    let schemas: Vec<String> = std::fs::read_dir(stand.folder.path().join("workspace"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<anyhow::Result<_>>()?;
    let denied: Vec<&str> = schemas.iter().flat_map(|schema| ["--vend-not", schema]).collect();
    let cases = [
        (
            "no-use",
            stand.vending("no-use", 3600, &denied)?,
            ErrorReason::ExternalUseDenied,
            "GRANT EXTERNAL USE SCHEMA",
        ),
        ("off", stand.sandbox("off", "workspace")?, ErrorReason::ExternalAccessOff, "turn on external data access"),
    ];
    for (id, sandbox, reason, remedy) in cases {
        let source = stand.source_unchecked(&request(&sandbox, id, json!({ "vended": {} }))).await?;
        let wrong = stand.check(&source).await?;
        let step = wrong.get("CHECK_STEP_ID_STORAGE_READABLE").with_context(|| format!("{id}: {wrong:?}"))?;
        assert!(wrong.len() == 1 && step.remedy.contains(remedy), "{id}: {wrong:?}");
        stand.suite.scanned(&stand.suite.begin_scan(&source).await?).await?;
        let job = stand.suite.begin_job(&source, JobSpec { max_attempts: 2, ..everything() }).await?;
        let ended = stand.suite.once(&job, |job| Ok(job.state() != JobState::Planning)).await.context(id)?;
        assert_eq!(ended.state(), JobState::Failed, "{id}: {ended:?}");
        for table in stand.suite.job_tables(&job).await? {
            let told = table.reason.as_ref().with_context(|| format!("{id}: {table:?}"))?;
            assert!(told.reason() == reason && told.message.contains(remedy), "{id}: {told:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vended_signature_that_ends_while_rows_are_read_is_renewed() -> anyhow::Result<()> {
    let Some(stand) = Stand::slow().await? else { return Ok(()) };
    let life = 5;
    let sandbox = stand.vending("renewed", life, &[])?;
    let endpoint = sandbox.told("/project/endpoint");
    let upstream = endpoint.trim_start_matches("http://").split('/').next().unwrap_or_default().parse()?;
    let link = SlowLink::start(upstream, 4e6).await?;
    let mut request = request(&sandbox, "renewed", json!({ "vended": {} }));
    request["data_source"]["max_compute"]["tunnel_endpoint"] = json!(link.url);
    let source = Box::pin(stand.suite.source(&request)).await?;
    stand.suite.scanned(&stand.suite.begin_scan(&source).await?).await?;
    let job = stand.suite.begin_job(&source, JobSpec { max_attempts: 5, ..everything() }).await?;
    let ended = stand.suite.done(&job).await?;
    let mut renewed = 0;
    for task in stand.suite.tasks(&ended.name).await? {
        let logs = stand.suite.task_logs(&task.name).await?;
        assert!(!logs.iter().any(|line| line.message.contains("expired")), "no attempt was lost: {logs:?}");
        renewed +=
            logs.iter().filter(|line| line.message.contains("the credential of the storage was renewed")).count();
    }
    anyhow::ensure!(renewed > 0, "no table was read for longer than {life} s");
    stand.moved.compare(&sandbox.project())
}
