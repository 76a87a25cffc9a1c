//! Which task wrote which target unit from which source version: the last write of each unit, page by page.

use std::collections::BTreeMap;

use mms_proto::scheduler::v1 as scheduler;
use mms_proto::scheduler::v1::lineage_service_client::LineageServiceClient;
use mms_proto::types::v1::{SourceVersion, TargetTable};
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{Suite, everything};
use mms_tests::tables;
use scheduler::{JobSpec, LineageEntry, ListLineageRequest};

/// Small enough that every list takes several pages.
const PAGE: i32 = 3;

async fn lineage(suite: &Suite, parent: &str) -> anyhow::Result<Vec<LineageEntry>> {
    let mut client = LineageServiceClient::new(suite.channel("scheduler")?);
    let mut request =
        ListLineageRequest { parent: parent.to_owned(), page_size: PAGE, ..ListLineageRequest::default() };
    let mut all = Vec::new();
    loop {
        let page = client.list_lineage(request.clone()).await?.into_inner();
        anyhow::ensure!(page.entries.len() <= 3, "{} entries in a page", page.entries.len());
        all.extend(page.entries);
        if page.next_page_token.is_empty() {
            return Ok(all);
        }
        request.page_token = page.next_page_token;
    }
}

/// What was written for one table.
#[derive(Debug, Default, PartialEq)]
struct Written {
    target: Option<TargetTable>,
    version: Option<SourceVersion>,
    units: usize,
    rows: i64,
}

/// Compares units and rows of each table in the job with those in the lineage; all must be of the pinned versions.
async fn agrees(suite: &Suite, job: &str, entries: &[LineageEntry]) -> anyhow::Result<()> {
    let mut told = BTreeMap::new();
    for table in suite.job_tables(job).await? {
        let written = Written {
            target: table.target,
            version: table.version,
            units: usize::try_from(table.unit_count)?,
            rows: table.target_rows.unwrap_or_default(),
        };
        told.insert(table.table, written);
    }
    let mut written: BTreeMap<_, Written> = BTreeMap::new();
    for entry in entries {
        anyhow::ensure!(entry.task.starts_with(&format!("{job}/tasks/")), "{entry:?} is not of {job}");
        anyhow::ensure!(!entry.intent_id.is_empty() && entry.time.is_some(), "{entry:?}");
        let of = written.entry(entry.table.clone()).or_insert_with(|| Written {
            target: entry.target.clone(),
            version: entry.version.clone(),
            ..Written::default()
        });
        anyhow::ensure!((&of.target, &of.version) == (&entry.target, &entry.version), "{entry:?} is not {of:?}");
        of.units += 1;
        of.rows += entry.rows;
    }
    anyhow::ensure!(told == written, "told {told:#?}, written {written:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_unit_tells_who_wrote_it_last() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let own = tables::own(folder.path())?;
    let suite = Suite::up(folder.path()).await?;
    let sandbox = Sandbox::start(folder.path(), &own.delta_root)?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    anyhow::ensure!(lineage(&suite, &source).await?.is_empty(), "nothing was written");

    let mut before = 0;
    for _ in 0..2 {
        let job = suite.begin_job(&source, JobSpec { force: true, ..everything() }).await?;
        suite.done(&job).await?;
        let entries = lineage(&suite, "dataSources/-").await?;
        agrees(&suite, &job, &entries).await?;
        anyhow::ensure!(before == 0 || before == entries.len(), "{before} entries, then {}", entries.len());
        before = entries.len();
    }
    anyhow::ensure!(lineage(&suite, "dataSources/another").await?.is_empty(), "what another source wrote");
    Ok(())
}
