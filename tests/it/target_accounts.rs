//! MaxCompute accounts that expire while rows are moved: a temporary access key and a bearer token, each given by
//! reference. The account that the reference has by then is used within the same attempt, so no attempt is lost.

use std::path::Path;

use mms_maxcompute::Account;
use mms_proto::registry::v1 as registry;
use mms_proto::registry::v1::data_source_service_client::DataSourceServiceClient;
use mms_proto::scheduler::v1::{Job, JobSpec, JobState};
use mms_tests::outsider::Outsider;
use mms_tests::parts::Parts;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{Suite, everything};
use registry::check_data_source_request::Target;
use registry::check_data_source_response::Event;
use serde_json::{Value, json};

/// Partitions of the table, each moved by one task.
const PARTITIONS: usize = 12;

/// Replaces a file in one step, as rotation does.
fn replace(file: &Path, text: &str) -> anyhow::Result<()> {
    let next = file.with_extension("next");
    std::fs::write(&next, text)?;
    Ok(std::fs::rename(next, file)?)
}

/// A project that accepts only the present token, and a suite.
struct Stand {
    folder: tempfile::TempDir,
    suite: Suite,
    sandbox: Sandbox,
    rows: usize,
}

impl Stand {
    async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let root = folder.path().join("delta-root");
        let rows = Parts::create(&root, PARTITIONS)?.rows();
        let accepted = folder.path().join("accepted");
        std::fs::write(&accepted, "the-token-of-today")?;
        std::fs::create_dir_all(folder.path().join("secrets"))?;
        std::fs::write(folder.path().join("secrets/token"), "the-token-of-today")?;
        let flags = ["--token-file", &accepted.display().to_string()];
        let sandbox = Sandbox::start_with(folder.path(), &root, &flags)?;
        let suite = Suite::processes(folder.path(), 30).await?;
        Ok(Self { folder, suite, sandbox, rows })
    }

    fn token_file(&self) -> String {
        format!("file:{}", self.folder.path().join("secrets/token").display())
    }

    fn request(&self, account: &Value) -> anyhow::Result<Value> {
        let mut request = self.sandbox.data_source("lake");
        request["data_source"]["settings"]["max_partitions_per_task"] = json!(1);
        let target = request["data_source"]["max_compute"].as_object_mut();
        let target = target.ok_or_else(|| anyhow::anyhow!("no target"))?;
        target.remove("access_key");
        target.extend(account.as_object().cloned().unwrap_or_default());
        Ok(request)
    }

    /// Moves everything, and rotates the token once some rows have arrived.
    async fn moved_through_a_rotation(&self, account: &Value) -> anyhow::Result<()> {
        let suite = &self.suite;
        let source = Box::pin(suite.source(&self.request(account)?)).await?;
        suite.scanned(&suite.begin_scan(&source).await?).await?;
        let job = suite.begin_job(&source, JobSpec { max_attempts: 1, ..everything() }).await?;
        let some = |job: &Job| {
            anyhow::ensure!(job.state() != JobState::Done, "it was moved before the token ended");
            Ok(job.progress.as_ref().is_some_and(|progress| progress.rows_done > 0))
        };
        suite.once(&job, some).await?;
        replace(&self.folder.path().join("secrets/token"), "the-token-of-tomorrow")?;
        replace(&self.folder.path().join("accepted"), "the-token-of-tomorrow")?;
        suite.done(&job).await?;
        let renewed = suite.processes.iter().filter(|(name, _)| name == "transfer");
        let logs: String = renewed.map(|(_, process)| process.whole_log()).collect();
        anyhow::ensure!(logs.contains("the account was renewed"), "nothing was refused\n{logs}");
        let reader = Account::bearer("the-token-of-tomorrow".into());
        let found = Outsider::with(&self.sandbox, |config| config.account = reader)?.ids("s", "parts").await?;
        let wanted: Vec<i64> = (0..i64::try_from(self.rows)?).collect();
        anyhow::ensure!(found == wanted, "{} rows of {}", found.len(), self.rows);
        Ok(())
    }

    /// The step of a check that connects to the project.
    async fn reached(&self, account: &Value) -> anyhow::Result<registry::CheckStep> {
        let request: registry::CreateDataSourceRequest = mms_proto::json::from_value(self.request(account)?)?;
        let target = request.data_source.map(Target::DataSource);
        let request = registry::CheckDataSourceRequest { target, start_cluster: false };
        let mut client = DataSourceServiceClient::new(self.suite.channel("registry")?);
        let mut steps = client.check_data_source(request).await?.into_inner();
        while let Some(answer) = steps.message().await? {
            if let Some(Event::Step(step)) = answer.event
                && step.id() == registry::CheckStepId::ProjectReachable
                && step.state() != registry::CheckState::Running
            {
                return Ok(step);
            }
        }
        anyhow::bail!("the project was not looked at")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_key_that_ends_is_renewed_from_its_reference() -> anyhow::Result<()> {
    let stand = Stand::start().await?;
    let key = |token: &str| {
        json!({ "access_key": {
            "access_key_id": stand.sandbox.told("/project/access_id"),
            "access_key_secret": stand.sandbox.told("/project/access_key"),
            "security_token": token,
        } })
    };
    let step = stand.reached(&key("the-token-of-yesterday")).await?;
    anyhow::ensure!(
        step.state() == registry::CheckState::Failed && step.message.contains("security token"),
        "{step:?}"
    );
    stand.moved_through_a_rotation(&key(&stand.token_file())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_is_let_in_and_renewed_from_its_reference() -> anyhow::Result<()> {
    let stand = Stand::start().await?;
    let bearer = |token: &str| json!({ "bearer_token": { "token": token } });
    let step = stand.reached(&bearer("a-token-of-nobody")).await?;
    anyhow::ensure!(step.state() == registry::CheckState::Failed && step.message.contains("bearer"), "{step:?}");
    stand.moved_through_a_rotation(&bearer(&stand.token_file())).await
}
