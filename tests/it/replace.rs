//! Target policy REPLACE, end to end: what is there is dropped, once a job and not once a task, and all rows arrive again.

use anyhow::Context;
use mms_proto::scheduler::v1 as scheduler;
use mms_proto::scheduler::v1::job_service_client::JobServiceClient;
use mms_proto::types::v1::TargetPolicy;
use mms_tests::suite::{Suite, everything};
use mms_tests::{sandbox::Sandbox, tables};

/// What the tasks of a job say of their tables, by source table.
async fn replaced(suite: &Suite, job: &str) -> anyhow::Result<Vec<String>> {
    let mut client = JobServiceClient::new(suite.channel("scheduler")?);
    let mut replaced = Vec::new();
    for task in suite.tasks(job).await? {
        let request = scheduler::ListTaskLogsRequest {
            parent: task.name,
            page_size: 1000,
            ..scheduler::ListTaskLogsRequest::default()
        };
        let lines = client.list_task_logs(request).await?.into_inner().logs;
        let drops = lines.iter().filter(|line| line.message.ends_with("dropped and made anew")).count();
        replaced.extend(std::iter::repeat_n(task.table, drops));
    }
    replaced.sort();
    Ok(replaced)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_dropped_once_and_everything_arrives_again() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let moved = tables::own(folder.path())?;
    let suite = Suite::up(folder.path()).await?;
    let sandbox = Sandbox::start(folder.path(), &moved.delta_root)?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let first = suite.begin_job(&source, everything()).await?;
    suite.done(&first).await?;
    anyhow::ensure!(replaced(&suite, &first).await?.is_empty());
    let spec = scheduler::JobSpec { target_policy: TargetPolicy::Replace as i32, force: true, ..everything() };
    let second = suite.begin_job(&source, spec).await?;
    suite.done(&second).await.context("the job that replaces")?;
    let mut all: Vec<String> = suite.job_tables(&second).await?.into_iter().map(|table| table.table).collect();
    all.sort();
    let replaced = replaced(&suite, &second).await?;
    anyhow::ensure!(replaced == all, "replaced: {replaced:?}, of {all:?}");
    moved.compare(&sandbox.project())
}
