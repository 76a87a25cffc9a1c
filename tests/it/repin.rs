//! A pinned version whose files are gone cannot be moved any more. A retry that pins the newest version moves that one,
//! after its new plan was approved, and says so; a retry without that fails again.

use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use mms_proto::ErrorReason;
use mms_proto::scheduler::v1 as pb;
use mms_proto::scheduler::v1::job_service_client::JobServiceClient;
use mms_sandbox::samples::{DeltaWriter, TableSpec};
use mms_server::Client;
use mms_tests::outsider::Outsider;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{Suite, everything};
use pb::{DecisionReason, JobState};

fn rows(ids: std::ops::Range<i64>) -> Result<RecordBatch, ArrowError> {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    RecordBatch::try_from_iter_with_nullable([("id", ids, true)])
}

struct Ground {
    suite: Suite,
    client: JobServiceClient<Client>,
    job: String,
}

impl Ground {
    /// Approves the plan that waits for review, with the etag as read.
    async fn approve(&mut self) -> anyhow::Result<()> {
        let job = self.suite.until(&self.job, JobState::PendingReview).await?;
        let request = pb::ApproveJobRequest { name: self.job.clone(), etag: job.etag, ..Default::default() };
        self.client.approve_job(request).await?;
        Ok(())
    }

    async fn retry(&mut self, repin: bool) -> anyhow::Result<()> {
        let request = pb::RetryJobRequest { name: self.job.clone(), repin, ..Default::default() };
        self.client.retry_job(request).await?;
        Ok(())
    }

    async fn table(&self) -> anyhow::Result<pb::JobTable> {
        self.suite.job_tables(&self.job).await?.pop().context("a table")
    }

    /// Checks that the job fails because the source has changed.
    async fn fails(&self) -> anyhow::Result<()> {
        self.suite.until(&self.job, JobState::Failed).await?;
        let reason = self.table().await?.reason.unwrap_or_default();
        anyhow::ensure!(reason.reason() == ErrorReason::SourceChanged, "{reason:?}");
        anyhow::ensure!(reason.message.contains("repin"), "{reason:?}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_moves_its_newest_version_when_asked_to() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    let at = root.join("s/gone");
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    let mut table = DeltaWriter::create(&at, TableSpec::new(schema, 1_700_000_000_000))?;
    table.append([rows(0..10)])?;
    let suite = Suite::up(folder.path()).await?;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let mut client = JobServiceClient::new(suite.channel("scheduler")?);
    let request = pb::CreateJobRequest {
        parent: source,
        job: Some(pb::Job { spec: Some(everything()), ..Default::default() }),
        review: true,
        ..Default::default()
    };
    let job = client.create_job(request).await?.into_inner().job.context("a job")?.name;
    let mut ground = Ground { suite, client, job };
    ground.suite.until(&ground.job, JobState::PendingReview).await?;

    // The source gets a new version, and the files of the earlier ones are cleaned up.
    let old: Vec<_> = std::fs::read_dir(&at)?.collect::<Result<_, _>>()?;
    table.overwrite(rows(100..105)?)?;
    for file in
        old.iter().map(std::fs::DirEntry::path).filter(|path| path.extension().is_some_and(|end| end == "parquet"))
    {
        std::fs::remove_file(file)?;
    }
    ground.approve().await?;
    ground.fails().await?;
    ground.retry(false).await?;
    ground.fails().await?;
    ground.retry(true).await?;
    ground.approve().await?;
    ground.suite.done(&ground.job).await?;
    let moved = ground.table().await?;
    anyhow::ensure!(moved.decision_reason() == DecisionReason::Retried, "{moved:?}");
    anyhow::ensure!(moved.decision_message.contains("newest version") && moved.target_rows == Some(5), "{moved:?}");
    let progress = ground.suite.job(&ground.job).await?.progress.unwrap_or_default();
    anyhow::ensure!((progress.tasks_total, progress.tasks_done, progress.rows_total) == (1, 1, 5), "{progress:?}");
    anyhow::ensure!(Outsider::at(&sandbox)?.count("s", "gone").await? == 5);
    Ok(())
}
