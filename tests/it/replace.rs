//! Target policy REPLACE, end to end: a table that is as planned is written over in its place, any other is dropped, once a job and
//! not once a task; all rows arrive again.

use anyhow::Context;
use mms_proto::FindingReason;
use mms_proto::scheduler::v1 as scheduler;
use mms_proto::scheduler::v1::job_service_client::JobServiceClient;
use mms_proto::types::v1::{SourceTable, TableOptions, TargetKind, TargetPolicy};
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
async fn what_is_as_planned_stays_in_its_place_and_anything_else_is_dropped_once() -> anyhow::Result<()> {
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
    let second = suite.begin_job(&source, spec.clone()).await?;
    suite.done(&second).await.context("the job that replaces tables by what they are")?;
    let gone = replaced(&suite, &second).await?;
    anyhow::ensure!(gone.is_empty(), "readers never saw them gone: {gone:?}");
    moved.compare(&sandbox.project())?;

    let tables = suite.job_tables(&second).await?;
    let other_kind = |table: &scheduler::JobTable| {
        let (_, name) = table.table.split_once("/schemas/")?;
        let (schema, table) = name.split_once("/tables/")?;
        Some(TableOptions {
            table: Some(SourceTable { schema: schema.to_owned(), table: table.to_owned() }),
            target_kind: TargetKind::Ordinary as i32,
            ..TableOptions::default()
        })
    };
    // Names that are percent-encoded in resources are left alone.
    let plain = tables.iter().filter(|table| !table.table.contains('%'));
    let table_options: Vec<TableOptions> = plain.clone().filter_map(other_kind).collect();
    let mut wanted: Vec<String> = plain.map(|table| table.table.clone()).collect();
    wanted.sort();
    let third = suite.begin_job(&source, scheduler::JobSpec { table_options, ..spec }).await?;
    suite.done(&third).await.context("the job that replaces tables by others")?;
    let replaced = replaced(&suite, &third).await?;
    anyhow::ensure!(replaced == wanted && !wanted.is_empty(), "replaced: {replaced:?}, of {wanted:?}");
    let gaps = suite.job_tables(&third).await?;
    let gap = |table: &&scheduler::JobTable| {
        table.findings.iter().any(|found| found.reason() == FindingReason::ReadersSeeGap)
    };
    anyhow::ensure!(gaps.iter().filter(gap).count() == wanted.len(), "each says that readers see it gone");
    moved.compare(&sandbox.project())
}
