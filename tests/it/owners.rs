//! Ownership of target tables when two suites have a data source with the same id: neither takes the other's tables for
//! its own. What REPLACE, ADOPT and FAIL_IF_EXISTS find and report.

use anyhow::Context;
use mms_proto::FindingReason;
use mms_proto::registry::v1 as registry;
use mms_proto::registry::v1::data_source_service_client::DataSourceServiceClient;
use mms_proto::scheduler::v1 as scheduler;
use mms_proto::types::v1::{Finding, Severity, TargetPolicy};
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{Suite, everything};
use mms_tests::tables;

fn under(policy: TargetPolicy) -> scheduler::JobSpec {
    scheduler::JobSpec { target_policy: policy as i32, force: true, ..everything() }
}

/// Creates and scans a data source; returns its name and uid.
async fn scanned(suite: &Suite, sandbox: &Sandbox) -> anyhow::Result<(String, String)> {
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let mut client = DataSourceServiceClient::new(suite.channel("registry")?);
    let request = registry::GetDataSourceRequest { name: source.clone() };
    let answer = client.get_data_source(request).await?.into_inner();
    Ok((source, answer.data_source.context("a data source")?.uid))
}

/// For each table of the job, the finding of its plan about the target.
async fn found(suite: &Suite, job: &str) -> anyhow::Result<Vec<(String, Option<Finding>)>> {
    let about = [FindingReason::TargetDiffers, FindingReason::TargetAdopted];
    let tables = suite.job_tables(job).await?.into_iter();
    Ok(tables
        .map(|table| (table.table, table.findings.into_iter().find(|finding| about.contains(&finding.reason()))))
        .collect())
}

/// Checks that every table of the job has this finding, and that it names the owner of the target.
async fn all_find(
    suite: &Suite,
    job: &str,
    reason: FindingReason,
    severity: Severity,
    owner: &str,
) -> anyhow::Result<()> {
    let all = found(suite, job).await?;
    anyhow::ensure!(all.len() > 1, "{all:?}");
    for (table, finding) in all {
        let finding = finding.with_context(|| format!("{table}: nothing was found"))?;
        anyhow::ensure!(finding.reason() == reason && finding.severity() == severity, "{table}: {finding:?}");
        anyhow::ensure!(finding.message.contains(&format!("`{owner}/")), "{table}: {finding:?}, of {owner}");
    }
    Ok(())
}

/// Checks that a job moves nothing, because each of its tables is blocked by the existing one.
async fn refused(suite: &Suite, source: &str, policy: TargetPolicy, owner: &str) -> anyhow::Result<()> {
    let job = suite.begin_job(source, under(policy)).await?;
    let ended = suite.done(&job).await;
    anyhow::ensure!(ended.is_err(), "{policy:?}: {ended:?}");
    all_find(suite, &job, FindingReason::TargetDiffers, Severity::Blocker, owner).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_suites_with_one_data_source_id_never_own_each_others_tables() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let moved = tables::own(folder.path())?;
    let sandbox = Sandbox::start(folder.path(), &moved.delta_root)?;
    let one = Suite::up(&folder.path().join("one")).await?;
    let other = Suite::up(&folder.path().join("other")).await?;
    let (source, uid) = scanned(&one, &sandbox).await?;
    let (same, other_uid) = scanned(&other, &sandbox).await?;
    anyhow::ensure!(source == same && uid != other_uid, "{source} {uid}, {same} {other_uid}");
    let first = one.begin_job(&source, everything()).await?;
    one.done(&first).await?;

    refused(&other, &source, TargetPolicy::CreateOrOwn, &uid).await?;
    refused(&other, &source, TargetPolicy::FailIfExists, &uid).await?;
    moved.compare(&sandbox.project())?;

    let adopting = other.begin_job(&source, under(TargetPolicy::Adopt)).await?;
    other.done(&adopting).await.context("the job that takes over")?;
    all_find(&other, &adopting, FindingReason::TargetAdopted, Severity::Note, &uid).await?;
    refused(&one, &source, TargetPolicy::CreateOrOwn, &other_uid).await?;
    moved.compare(&sandbox.project())?;

    let replacing = one.begin_job(&source, under(TargetPolicy::Replace)).await?;
    one.done(&replacing).await.context("the job that replaces")?;
    // The tables fit, so they are overwritten in place.
    all_find(&one, &replacing, FindingReason::TargetAdopted, Severity::Note, &other_uid).await?;
    refused(&other, &source, TargetPolicy::CreateOrOwn, &uid).await?;

    // A suite's own tables need no policy, and have no finding.
    let again = one.begin_job(&source, under(TargetPolicy::CreateOrOwn)).await?;
    one.done(&again).await.context("a job over its own tables")?;
    anyhow::ensure!(found(&one, &again).await?.iter().all(|(_, finding)| finding.is_none()));
    moved.compare(&sandbox.project())
}
