//! A catalog that also has tables that cannot be moved, a view and a foreign table: the ten Delta tables beside them
//! are moved, and the job says what it left out, or fails if the spec asks for that. What the verification compared is
//! listed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use mms_proto::scheduler::v1 as scheduler;
use mms_proto::scheduler::v1::job_service_client::JobServiceClient;
use mms_proto::types::v1::{ValueOrigin, Verdict, VerificationKind};
use mms_proto::{ErrorReason, FindingReason};
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{Suite, everything};
use mms_tests::tables::{self, Tables};
use scheduler::{DecisionReason, JobSpec, JobState, TableDecision, UnsupportedTables};
use serde_json::json;

/// Delta tables beside the view and the foreign table.
const MOVED: usize = 10;

/// Creates ten Delta tables, a view and a foreign table.
fn catalog(folder: &Path) -> anyhow::Result<Tables> {
    let mut moved = tables::own(folder)?;
    let schema = moved.delta_root.join("samples");
    anyhow::ensure!(moved.cases.len() <= MOVED, "{} tables", moved.cases.len());
    let like = moved.cases[0].clone();
    let folders: Vec<_> = std::fs::read_dir(&schema)?.collect::<Result<_, _>>()?;
    let name = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let from = folders.iter().find(|entry| tables::mapped(&name(entry)) == like["table"]).context("a table")?;
    for copy in moved.cases.len()..MOVED {
        tables::copy(&from.path(), &schema.join(format!("copy_{copy}")))?;
        let mut case = like.clone();
        case["table"] = json!(format!("copy_{copy}"));
        moved.cases.push(case);
    }
    let objects = [
        ("a_view", json!({ "table_type": "VIEW", "data_source_format": null, "storage_location": null })),
        (
            "elsewhere",
            json!({ "table_type": "FOREIGN", "data_source_format": "POSTGRESQL_FORMAT", "storage_location": null }),
        ),
    ];
    for (name, object) in objects {
        std::fs::create_dir(schema.join(name))?;
        std::fs::write(schema.join(name).join("_object.json"), object.to_string())?;
    }
    Ok(moved)
}

/// The decisions about the view and the foreign table, by name.
fn others(tables: &[scheduler::JobTable]) -> BTreeMap<&str, (TableDecision, DecisionReason)> {
    let name = |table: &'_ scheduler::JobTable| table.table.ends_with("/a_view") || table.table.ends_with("/elsewhere");
    let found = tables.iter().filter(|table| name(table));
    found
        .map(|table| {
            let last = table.table.rsplit('/').next().unwrap_or_default();
            (last, (table.decision(), table.decision_reason()))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_moved_is_skipped_and_the_rest_is_done() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let moved = catalog(folder.path())?;
    let suite = Suite::up(folder.path()).await?;
    let sandbox = Sandbox::start(folder.path(), &moved.delta_root)?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;

    let job = suite.begin_job(&source, everything()).await?;
    let done = suite.done(&job).await?;
    let reason = done.reason.context("a job that left tables out says so")?;
    anyhow::ensure!(reason.reason() == ErrorReason::TablesSkipped && reason.message.contains('2'), "{reason:?}");
    let progress = done.progress.context("progress")?;
    anyhow::ensure!((progress.tables_done, progress.tables_skipped) == (10, 2), "{progress:?}");
    let tables = suite.job_tables(&job).await?;
    let left = (TableDecision::Skipped, DecisionReason::KindUnsupported);
    anyhow::ensure!(others(&tables) == BTreeMap::from([("a_view", left), ("elsewhere", left)]), "{tables:?}");
    let skipped = tables.iter().filter(|table| table.decision() == TableDecision::Skipped);
    for table in skipped {
        let known = |finding: &mms_proto::types::v1::Finding| finding.reason() == FindingReason::KindUnsupported;
        anyhow::ensure!(table.findings.iter().any(known), "{table:?}");
    }
    moved.compare(&sandbox.project())?;
    compared(&suite, &job, &tables).await?;

    let spec = JobSpec { unsupported_tables: UnsupportedTables::Fail as i32, ..everything() };
    let strict = suite.begin_job(&source, spec).await?;
    let ended = suite.done(&strict).await;
    anyhow::ensure!(ended.is_err(), "{ended:?}");
    let failed = suite.job(&strict).await?;
    let why = failed.reason.clone().unwrap_or_default().reason();
    anyhow::ensure!((failed.state(), why) == (JobState::Failed, ErrorReason::TablesBlocked), "{failed:?}");
    let tables = suite.job_tables(&strict).await?;
    let blocked = (TableDecision::Blocked, DecisionReason::KindUnsupported);
    anyhow::ensure!(others(&tables) == BTreeMap::from([("a_view", blocked), ("elsewhere", blocked)]), "{tables:?}");
    let left = tables.iter().filter(|table| table.decision_reason() == DecisionReason::AtTarget).count();
    anyhow::ensure!(left == MOVED, "{left} of {MOVED} were there already");
    Ok(())
}

/// Makes a table require a reader feature that no reader has; returns its first log file, and the text it had.
fn with_unknown_feature(table: &Path) -> anyhow::Result<(PathBuf, String)> {
    let first = table.join("_delta_log/00000000000000000000.json");
    let before = std::fs::read_to_string(&first)?;
    let features = json!(["aFeatureOfTomorrow"]);
    let protocol = json!({ "protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features,
    } });
    let lines =
        before.lines().map(|line| if line.contains("\"protocol\"") { protocol.to_string() } else { line.to_owned() });
    std::fs::write(&first, lines.collect::<Vec<_>>().join("\n"))?;
    Ok((first, before))
}

/// Creates a partitioned table without a row, and so without a partition.
fn without_partitions(table: &Path) -> anyhow::Result<()> {
    let field = |name: &str| json!({ "name": name, "type": "string", "nullable": true, "metadata": {} });
    let schema = json!({ "type": "struct", "fields": [field("v"), field("p")] }).to_string();
    let protocol = json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } });
    let metadata = json!({ "metaData": {
        "id": "0190b6f5-0000-7000-8000-000000000001", "format": { "provider": "parquet", "options": {} },
        "schemaString": schema, "partitionColumns": ["p"], "configuration": {}, "createdTime": 1_700_000_000_000_u64,
    } });
    std::fs::create_dir_all(table.join("_delta_log"))?;
    Ok(std::fs::write(table.join("_delta_log/00000000000000000000.json"), format!("{protocol}\n{metadata}\n"))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_planned_is_blocked_and_a_retry_plans_it_again() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let moved = tables::own(folder.path())?;
    without_partitions(&moved.delta_root.join("samples/bare"))?;
    let suite = Suite::up(folder.path()).await?;
    let sandbox = Sandbox::start(folder.path(), &moved.delta_root)?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let (log, before) = with_unknown_feature(&moved.delta_root.join("samples/nested"))?;

    let job = suite.begin_job(&source, everything()).await?;
    let ended = suite.done(&job).await;
    anyhow::ensure!(ended.is_err(), "{ended:?}");
    let of = |tables: Vec<scheduler::JobTable>, name: &str| {
        tables.into_iter().find(|table| table.table.ends_with(name)).context("the table")
    };
    let bare = of(suite.job_tables(&job).await?, "/bare")?;
    let found: Vec<_> = bare.findings.iter().map(|finding| finding.reason()).collect();
    anyhow::ensure!(found.contains(&FindingReason::NoPartition), "{bare:?}");
    let table = of(suite.job_tables(&job).await?, "/nested")?;
    let decided = (table.decision(), table.decision_reason());
    anyhow::ensure!(decided == (TableDecision::Blocked, DecisionReason::PlanFailed), "{table:?}");
    let reason = table.reason.context("why")?;
    anyhow::ensure!(reason.reason() == ErrorReason::SourceUnsupported, "{reason:?}");

    std::fs::write(log, before)?;
    let request = scheduler::RetryJobRequest { name: job.clone(), ..scheduler::RetryJobRequest::default() };
    JobServiceClient::new(suite.channel("scheduler")?).retry_job(request).await?;
    suite.done(&job).await.context("the job, tried again")?;
    let table = of(suite.job_tables(&job).await?, "/nested")?;
    let decided = (table.decision(), table.decision_reason());
    anyhow::ensure!(decided == (TableDecision::Move, DecisionReason::Retried), "{table:?}");
    moved.compare(&sandbox.project())
}

/// Checks that every unit was compared once, the log's rows with the target's, and that they add up to those of the
/// tables.
async fn compared(suite: &Suite, job: &str, tables: &[scheduler::JobTable]) -> anyhow::Result<()> {
    let checks = suite.checks(job).await?;
    let units: i64 = tables.iter().map(|table| table.unit_count).sum();
    anyhow::ensure!(i64::try_from(checks.len())? == units, "{} checks of {units} units", checks.len());
    let mut rows = 0;
    for check in &checks {
        let kinds = (check.kind(), check.source_origin(), check.verdict());
        anyhow::ensure!(kinds == (VerificationKind::RowCount, ValueOrigin::Log, Verdict::Equal), "{check:?}");
        anyhow::ensure!(check.source_value == check.target_value && check.task.starts_with(job), "{check:?}");
        anyhow::ensure!(check.source_partitions.is_empty() == check.target_partition.is_empty(), "{check:?}");
        rows += check.target_value.as_deref().context("a value")?.parse::<i64>()?;
    }
    let told: i64 = tables.iter().filter_map(|table| table.target_rows).sum();
    anyhow::ensure!(rows == told && rows > 0, "{rows} compared, {told} told");
    Ok(())
}
