//! Blocks that are refused, cut off, or stored without an answer are sent again within the same attempt, and every row
//! arrives exactly once.

use std::collections::BTreeSet;

use anyhow::Context;
use arrow::array::{Int32Array, Int64Array};
use mms_http::{HttpClient, NetworkConnection};
use mms_maxcompute::name::{ProjectName, SchemaName, TableName};
use mms_maxcompute::table::TableRef;
use mms_maxcompute::{Account, Project, ProjectConfig};
use mms_proto::scheduler::v1::{JobSpec, SchemasScope, job_spec};
use mms_tests::faults::Proxy;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{Suite, everything};
use serde_json::json;

const SCALE: f64 = 0.01;

/// The key of every order line at the target.
async fn lines(sandbox: &Sandbox) -> anyhow::Result<Vec<(i64, i32)>> {
    let [endpoint, project, id, key] = sandbox.project();
    let name = ProjectName::new(project)?;
    let config = ProjectConfig::new(endpoint.parse()?, name.clone(), Account::new(&id, key.into()));
    let project = Project::new(HttpClient::new(&NetworkConnection::default())?, config)?;
    let table = TableRef { project: name, schema: Some(SchemaName::new("tpch")?), table: TableName::new("lineitem")? };
    let tunnel = project.tunnel().await?;
    let mut found = Vec::new();
    for partition in project.partitions(&table).await? {
        for batch in tunnel.create_download(&table, Some(&partition.spec)).await?.read_all().await? {
            let column = |name: &str| batch.column_by_name(name).context("a column");
            let orders = column("l_orderkey")?.as_any().downcast_ref::<Int64Array>().context("bigint")?.clone();
            let numbers = column("l_linenumber")?.as_any().downcast_ref::<Int32Array>().context("int")?.clone();
            found.extend(orders.iter().flatten().zip(numbers.iter().flatten()));
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_does_not_arrive_is_sent_again() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    let tables = mms_sandbox::samples::tpch(&root, SCALE, 1_700_000_000_000)?;
    let rows = tables.iter().find(|table| table.name == "lineitem").context("lineitem")?.rows;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    let endpoint = sandbox.told("/project/endpoint");
    let upstream = endpoint.trim_start_matches("http://").split('/').next().unwrap_or_default().parse()?;
    let proxy = Proxy::start(upstream).await?;
    let suite = Suite::processes_with(folder.path(), 30, &[("BLOCK_BYTES", "1048576")]).await?;
    let mut request = sandbox.data_source("lake");
    request["data_source"]["max_compute"]["tunnel_endpoint"] = json!(proxy.url);
    let source = Box::pin(suite.source(&request)).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    // One attempt: blocks may be sent again, the task may not.
    let scope = job_spec::Scope::Schemas(SchemasScope::default());
    let spec = JobSpec { scope: Some(scope), max_attempts: 1, ..everything() };
    let job = suite.begin_job(&source, spec).await?;
    suite.done(&job).await?;
    let (faults, tries) = proxy.done();
    anyhow::ensure!(faults.len() == 4 && faults.values().all(|count| *count >= 2), "{faults:?}");
    let tables = suite.job_tables(&job).await?;
    anyhow::ensure!(tables.iter().all(|t| t.source_rows == t.target_rows), "{tables:?}");
    let found = lines(&sandbox).await?;
    let apart: BTreeSet<&(i64, i32)> = found.iter().collect();
    anyhow::ensure!(found.len() as u64 == rows, "{} rows of {rows}; {faults:?} in {tries} tries", found.len());
    anyhow::ensure!(apart.len() == found.len(), "{} rows came twice", found.len() - apart.len());
    Ok(())
}
