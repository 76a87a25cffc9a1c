//! Migrating again: a table that is at its target already is skipped, and every other one is moved: if only its table
//! was created, if it has another target now, or if the source created it anew. One request makes one job, however
//! often it is sent.

use std::path::Path;

use anyhow::Context;
use mms_proto::catalog::v1 as catalog;
use mms_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mms_proto::scheduler::v1 as scheduler;
use mms_proto::scheduler::v1::job_service_client::JobServiceClient;
use mms_proto::types::v1::{MigrationState, SourceTable, TableOptions, TargetTable};
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{Suite, everything};
use mms_tests::tables;
use scheduler::{JobSpec, TableDecision};

/// Runs a job to its end, and returns the decision about each table.
async fn run(suite: &Suite, source: &str, spec: JobSpec) -> anyhow::Result<Vec<(String, TableDecision)>> {
    let job = suite.begin_job(source, spec).await?;
    suite.done(&job).await?;
    let tables = suite.job_tables(&job).await?;
    for table in tables.iter().filter(|table| table.decision() == TableDecision::Move && table.target_rows.is_some()) {
        anyhow::ensure!(table.source_rows.is_none() || table.source_rows == table.target_rows, "{table:?}");
    }
    Ok(tables.into_iter().map(|table| (table.table.clone(), table.decision())).collect())
}

fn moved(decisions: &[(String, TableDecision)]) -> Vec<&str> {
    let moved = decisions.iter().filter(|(_, decision)| *decision == TableDecision::Move);
    moved.map(|(table, _)| table.as_str()).collect()
}

/// Sends one request several times at once; returns the one job that it must have made.
async fn one_job(suite: &Suite, source: &str, spec: JobSpec) -> anyhow::Result<String> {
    let request = scheduler::CreateJobRequest {
        parent: source.to_owned(),
        job: Some(scheduler::Job { spec: Some(spec), ..scheduler::Job::default() }),
        request_id: "only-one".to_owned(),
        ..scheduler::CreateJobRequest::default()
    };
    let client = JobServiceClient::new(suite.channel("scheduler")?);
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, request) = (client.clone(), request.clone());
            tokio::spawn(async move { client.create_job(request).await })
        })
        .collect();
    let mut names = std::collections::BTreeSet::new();
    for call in calls {
        names.insert(call.await??.into_inner().job.context("a job")?.name);
    }
    anyhow::ensure!(names.len() == 1, "one request made {names:?}");
    names.into_iter().next().context("a name")
}

async fn send_elsewhere(suite: &Suite, table: &str) -> anyhow::Result<catalog::Table> {
    let target = TargetTable { table: "somewhere_else".to_owned(), ..TargetTable::default() };
    let request = catalog::UpdateTableRequest {
        name: table.to_owned(),
        table: Some(catalog::Table { target: Some(target), ..catalog::Table::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["target.table".to_owned()] }),
    };
    let answer = CatalogServiceClient::new(suite.channel("catalog")?).update_table(request).await?;
    answer.into_inner().table.context("a table")
}

/// Gives a table another id, as when a source drops it and creates it again under its old name.
fn make_anew(folder: &Path) -> anyhow::Result<()> {
    let first = folder.join("_delta_log/00000000000000000000.json");
    let mut lines = String::new();
    for line in std::fs::read_to_string(&first)?.lines() {
        let mut action: serde_json::Value = serde_json::from_str(line)?;
        if let Some(id) = action.pointer_mut("/metaData/id") {
            *id = "11111111-2222-3333-4444-555555555555".into();
        }
        lines += &format!("{action}\n");
    }
    Ok(std::fs::write(&first, lines)?)
}

/// The number of tables that WatchJob reports of a job that has ended.
async fn watched(suite: &Suite, job: &str) -> anyhow::Result<usize> {
    let request = scheduler::WatchJobRequest { name: job.to_owned(), ..Default::default() };
    let mut stream = JobServiceClient::new(suite.channel("scheduler")?).watch_job(request).await?.into_inner();
    let mut tables = 0;
    while let Some(answer) = stream.message().await? {
        tables += answer.tables.len();
    }
    Ok(tables)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_at_its_place_is_moved_and_nothing_else() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let own = tables::own(folder.path())?;
    let suite = Suite::up(folder.path()).await?;
    let sandbox = Sandbox::start(folder.path(), &own.delta_root)?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;

    let schema_only = JobSpec { content: scheduler::MigrationContent::SchemaOnly as i32, ..everything() };
    let job = one_job(&suite, &source, schema_only).await?;
    suite.done(&job).await?;
    let all = suite.job_tables(&job).await?.len();
    anyhow::ensure!(watched(&suite, &job).await? == all, "the watch tells of each table");

    let first = Box::pin(run(&suite, &source, everything())).await?;
    anyhow::ensure!(moved(&first).len() == all, "tables that were only made are moved: {first:?}");
    let second = Box::pin(run(&suite, &source, everything())).await?;
    anyhow::ensure!(moved(&second).is_empty(), "all of it is there: {second:?}");

    let name = first.first().context("a table")?.0.clone();
    let table = send_elsewhere(&suite, &name).await?;
    anyhow::ensure!(table.state() == MigrationState::Init, "{table:?}");
    let third = Box::pin(run(&suite, &source, everything())).await?;
    anyhow::ensure!(moved(&third) == [name.as_str()], "what goes elsewhere is moved: {third:?}");

    make_anew(&own.delta_root.join(&table.source_schema).join(&table.source_name))?;
    let fourth = Box::pin(run(&suite, &source, everything())).await?;
    anyhow::ensure!(moved(&fourth) == [name.as_str()], "what was made anew is moved: {fourth:?}");

    // The job takes the whole catalog, and its spec gives this one table another target. The case of names does not
    // matter.
    let options = TableOptions {
        table: Some(SourceTable {
            schema: table.source_schema.to_uppercase(),
            table: table.source_name.to_uppercase(),
        }),
        target: Some(TargetTable { table: "of_one_job".to_owned(), ..TargetTable::default() }),
        ..TableOptions::default()
    };
    let spec = JobSpec { table_options: vec![options], ..everything() };
    let fifth = Box::pin(run(&suite, &source, spec)).await?;
    anyhow::ensure!(moved(&fifth) == [name.as_str()], "what one job sends elsewhere is moved: {fifth:?}");
    Ok(())
}
