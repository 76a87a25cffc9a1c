//! Plans jobs: turns a scope into tables, has each table pinned by the catalog, spools its files, and hands the rest to
//! [`crate::plan`]. A plan that was interrupted goes on with the first table that is not planned.

use catalog::pin_table_response::Part;
use mms_proto::catalog::v1 as catalog;
use mms_proto::registry::v1 as registry;
use mms_proto::scheduler::v1::TableDecision;
use mms_proto::types::v1::{MigrationState, Severity};
use mms_store::{Read, Scope, Store};
use tokio_util::sync::CancellationToken;

use crate::convert::{file_from, finding_from, target_from, value_from, version_from, version_to};
use crate::core::Core;
use crate::error::{Result, SchedulerError};
use crate::key;
use crate::peers::Pinned;
use crate::plan;
use crate::record::{self, Job, JobTable, ManifestChunk, Reason, Unit};
use crate::scope::{Chosen, choose};
use crate::store::{JOB_TABLES, JobKey, MANIFESTS, TableKey};
use crate::task;

/// Defaults of a data source's settings, as its contract states them.
const MAX_CONCURRENT_TASKS: i32 = 20;
const MAX_PARTITIONS_PER_TASK: i32 = 50;
const MAX_BYTES_PER_TASK: i64 = 5 << 30;
/// Most tables of one job.
const TABLES_MAX: usize = 100_000;

/// Plans every job that is to be planned, until the token is cancelled.
pub async fn run(core: Core, stop: CancellationToken) {
    let mut changes = core.store.subscribe();
    let mut failures = 0;
    loop {
        changes.mark_unchanged();
        let pause = match plan_all(&core, &stop).await {
            Ok(()) => {
                failures = 0;
                None
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(%error, failures, "planning is interrupted and tried again");
                Some(task::backoff(failures.min(6), core.random()))
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            changed = changes.changed(), if pause.is_none() => if changed.is_err() { return },
        }
    }
}

async fn plan_all(core: &Core, stop: &CancellationToken) -> Result<()> {
    let mut first_error = None;
    for (key, job) in core.store.read(|read| plan::planning(read))? {
        if stop.is_cancelled() {
            return Ok(());
        }
        // One job whose source does not answer must not hold up the others.
        match plan_job(core, stop, &key, &job).await {
            Ok(()) => {}
            Err(error) if error.is_transient() => first_error = first_error.or(Some(error)),
            Err(error) => {
                let reason = reason_of(&error);
                let (key, uid, at) = (key, job.uid, core.moment());
                core.store.commit(move |tx| plan::fail(tx, &at, &key, &uid, reason)).await?;
            }
        }
    }
    first_error.map_or(Ok(()), Err)
}

async fn plan_job(core: &Core, stop: &CancellationToken, key: &JobKey, job: &Job) -> Result<()> {
    let used = core.peers.acquire(&key.0, &key::job_name(key)).await?;
    if !job.scope_listed {
        let settings = used.data_source.and_then(|source| source.settings).unwrap_or_default();
        list(core, key, job, settings).await?;
    }
    for table_key in unplanned(&core.store, key)? {
        if stop.is_cancelled() {
            return Ok(());
        }
        core.peers.acquire(&key.0, &key::job_name(key)).await?;
        if !plan_table(core, &table_key, job).await? {
            return Ok(());
        }
    }
    let (key, uid, at) = (key.clone(), job.uid.clone(), core.moment());
    core.store.commit(move |tx| plan::finish(tx, &at, &key, &uid)).await
}

fn unplanned(store: &Store, key: &JobKey) -> Result<Vec<TableKey>> {
    let mut tables = Vec::new();
    store.read(|read| {
        read.scan(&JOB_TABLES, &Scope::prefix(&(key.0.clone(), key.1.clone())), |key, table| {
            if table.decision == TableDecision::Move as i32 && !table.planned {
                tables.push(key);
            }
            std::ops::ControlFlow::Continue(())
        })
    })?;
    Ok(tables)
}

/// Turns the scope into tables.
async fn list(core: &Core, key: &JobKey, job: &Job, settings: registry::MigrationSettings) -> Result<()> {
    let mut tables = Vec::new();
    let mut token = String::new();
    loop {
        let page = core.peers.tables(&key.0, token).await?;
        for table in page.tables {
            let (decision, reason) = match choose(&job.spec, &table.source_schema, &table.source_name) {
                Chosen::Taken(reason) => (TableDecision::Move, reason),
                Chosen::Left(reason) => (TableDecision::Excluded, reason),
                Chosen::Outside => continue,
            };
            let record = JobTable { decision: decision as i32, decision_reason: reason, ..JobTable::default() };
            tables.push((table.source_schema, table.source_name, record));
        }
        if page.next_page_token.is_empty() || tables.len() > TABLES_MAX {
            break;
        }
        token = page.next_page_token;
    }
    let taken = tables.iter().filter(|(_, _, table)| table.decision == TableDecision::Move as i32).count();
    let missing: Vec<&String> = job.spec.tables.iter().filter(|name| !listed(&tables, name)).collect();
    if taken == 0 || taken > TABLES_MAX || !missing.is_empty() {
        let reason = Reason { reason: "EMPTY_SCOPE".to_owned(), message: scope_message(taken, &missing) };
        let (key, uid, at) = (key.clone(), job.uid.clone(), core.moment());
        return core.store.commit(move |tx| plan::fail(tx, &at, &key, &uid, reason)).await;
    }
    let (key, uid) = (key.clone(), job.uid.clone());
    core.store.commit(move |tx| plan::list(tx, &key, &uid, tables, |job| limits(job, settings))).await?;
    Ok(())
}

fn listed(tables: &[(String, String, JobTable)], name: &str) -> bool {
    tables.iter().any(|(schema, table, _)| name == format!("{schema}.{table}"))
}

fn scope_message(taken: usize, missing: &[&String]) -> String {
    if taken > TABLES_MAX {
        return format!("the scope has {taken} tables, and one job takes {TABLES_MAX}: make several jobs");
    }
    match missing {
        [] => {
            "the scope keeps no table: look at the lists of the job, and at ListTables for what was scanned".to_owned()
        }
        missing => {
            let names = missing.iter().take(10).map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            format!("not in the catalog: {names}; scan the source, and write them as schema.table")
        }
    }
}

/// The data source's settings, with the job's over them.
fn limits(job: &mut Job, settings: registry::MigrationSettings) {
    let or = |first: i32, second: i32, default: i32| [first, second, default].into_iter().find(|n| *n > 0).unwrap_or(1);
    let spec = &job.spec;
    job.max_concurrent_tasks = or(spec.max_concurrent_tasks, settings.max_concurrent_tasks, MAX_CONCURRENT_TASKS);
    job.max_partitions_per_task =
        or(spec.max_partitions_per_task, settings.max_partitions_per_task, MAX_PARTITIONS_PER_TASK);
    let bytes = [spec.max_bytes_per_task, settings.max_bytes_per_task, MAX_BYTES_PER_TASK];
    job.max_bytes_per_task = bytes.into_iter().find(|n| *n > 0).unwrap_or(MAX_BYTES_PER_TASK);
    job.sql_parameters = settings.sql_parameters.into_iter().chain(spec.sql_parameters.clone()).collect();
    job.tunnel_quota.clone_from(&spec.tunnel_quota);
}

/// Plans one table. False: the job is gone or stopped.
async fn plan_table(core: &Core, key: &TableKey, job: &Job) -> Result<bool> {
    match spool(core, key, job).await {
        Ok((table, units)) => store_table(core, key, job, table, units).await,
        Err(error) if error.is_transient() => Err(error),
        Err(error @ SchedulerError::Store(_)) => Err(error),
        Err(error) => {
            // What the catalog refuses for one table is that table's fault, not the job's.
            let reason = reason_of(&error);
            let table = JobTable {
                decision: TableDecision::Blocked as i32,
                decision_reason: reason.message.clone(),
                reason: Some(reason),
                ..JobTable::default()
            };
            store_table(core, key, job, table, Vec::new()).await
        }
    }
}

async fn store_table(core: &Core, key: &TableKey, job: &Job, table: JobTable, units: Vec<Unit>) -> Result<bool> {
    let (key, uid, at) = (key.clone(), job.uid.clone(), core.moment());
    core.store.commit(move |tx| plan::table(tx, &at, &key, &uid, table, units)).await
}

/// Has the catalog pin a table, and stores its files unit by unit.
async fn spool(core: &Core, key: &TableKey, job: &Job) -> Result<(JobTable, Vec<Unit>)> {
    let clear = key.clone();
    core.store.commit(move |tx| plan::clear_manifest(tx, &clear)).await?;
    let name = key::table_name(&key.0, &key.2, &key.3)?;
    let target = job.spec.table_mapping.get(&format!("{}.{}", key.2, key.3));
    let mut parts = core
        .peers
        .pin(catalog::PinTableRequest {
            name,
            version: None,
            target: target.map(crate::convert::target_name_to),
            column_mapping: job.spec.column_mapping.clone().into_iter().collect(),
        })
        .await?;
    let Some(Part::Table(pinned)) = parts.next().await? else {
        return Err(broken("the catalog sent no plan"));
    };
    let mut table = planned(pinned, &decided(core, key)?);
    if table.decision == TableDecision::Move as i32 && !job.spec.force && unchanged(core, key, &table).await? {
        table.decision = TableDecision::Unchanged as i32;
        table.decision_reason = "this version is at the target already; set force to move it again".to_owned();
    }
    if table.decision != TableDecision::Move as i32 {
        return Ok((table, Vec::new()));
    }
    let units = spool_units(core, key, &mut parts, &table).await?;
    Ok((table, units))
}

fn broken(text: &str) -> SchedulerError {
    SchedulerError::Peer { service: "catalog", error: Box::new(mms_proto::ApiError::internal(text)) }
}

fn decided(core: &Core, key: &TableKey) -> Result<String> {
    Ok(core.store.read(|read| read.get(&JOB_TABLES, key))?.map(|table| table.decision_reason).unwrap_or_default())
}

fn planned(pinned: catalog::PinnedTable, why: &str) -> JobTable {
    let plan = pinned.plan.unwrap_or_default();
    let blocked = plan.findings.iter().any(|finding| finding.severity() == Severity::Blocker) || plan.target.is_none();
    let reason = blocked.then(|| {
        let blocker = plan.findings.iter().find(|finding| finding.severity() == Severity::Blocker);
        let message = blocker.map_or_else(
            || "the catalog could not plan it".to_owned(),
            |finding| format!("{}: {} {}", finding.reason, finding.message, finding.remedy),
        );
        Reason { reason: "BLOCKED".to_owned(), message }
    });
    let decision = if blocked { TableDecision::Blocked } else { TableDecision::Move };
    JobTable {
        decision: decision as i32,
        decision_reason: reason.as_ref().map_or_else(|| why.to_owned(), |reason| reason.message.clone()),
        version: Some(version_from(plan.version)),
        target: plan.target.map(target_from),
        findings: plan.findings.into_iter().map(finding_from).collect(),
        reason,
        source_rows: plan.row_count,
        source_bytes: plan.size_bytes,
        location: pinned.location,
        shape_json: pinned.shape_json,
        reader_features: pinned.reader_features,
        ..JobTable::default()
    }
}

/// Whether the catalog has this very version of the table as moved.
async fn unchanged(core: &Core, key: &TableKey, table: &JobTable) -> Result<bool> {
    let stored = core.peers.table(&key::table_name(&key.0, &key.2, &key.3)?).await?;
    let same = table.version.as_ref().map(version_to).is_some_and(|now| {
        stored.migrated_version.is_some_and(|moved| version_from(Some(moved)).delta == version_from(Some(now)).delta)
    });
    Ok(same && stored.state == MigrationState::Done as i32)
}

async fn spool_units(core: &Core, key: &TableKey, parts: &mut Pinned, table: &JobTable) -> Result<Vec<Unit>> {
    let mut units: Vec<Unit> = Vec::new();
    let mut chunk = 0;
    loop {
        let files = match parts.next().await? {
            Some(Part::Files(files)) => files,
            Some(Part::End(end)) => {
                whole(&units, end)?;
                break;
            }
            Some(Part::Table(_)) => return Err(broken("the catalog sent two plans of one table")),
            None => return Err(broken("the catalog's files broke off")),
        };
        let partition: Vec<record::PartitionValue> = files.target_partition.into_iter().map(value_from).collect();
        if units.last().is_none_or(|unit| unit.partition != partition) {
            chunk = 0;
            let number = u32::try_from(units.len()).map_err(|_| broken("more target units than can be counted"))?;
            units.push(Unit { number, partition, source_rows: Some(0), ..Unit::default() });
        }
        let Some(unit) = units.last_mut() else { continue };
        if !files.source_partition.is_empty() && !unit.source_partitions.contains(&files.source_partition) {
            unit.source_partitions.push(files.source_partition);
        }
        let files: Vec<record::SourceFile> = files.files.into_iter().map(file_from).collect();
        for file in &files {
            unit.file_count += 1;
            unit.source_bytes += file.size_bytes;
            unit.source_rows = unit.source_rows.zip(file.row_count).map(|(sum, rows)| sum + rows);
        }
        let at = (key.0.clone(), key.1.clone(), (key.2.clone(), key.3.clone()), unit.number, chunk);
        chunk += 1;
        core.store.commit(move |tx| tx.put(&MANIFESTS, &at, &ManifestChunk { files })).await?;
    }
    let partitioned = table.target.as_ref().is_some_and(|target| target.columns.iter().any(|column| column.partition));
    if units.is_empty() && !partitioned {
        // An empty table is one unit without files: what was at the target before must go.
        units.push(Unit { source_rows: Some(0), ..Unit::default() });
    }
    Ok(units)
}

/// Whether all files came that the catalog sent.
fn whole(units: &[Unit], end: catalog::PinEnd) -> Result<()> {
    let files: i64 = units.iter().map(|unit| i64::from(unit.file_count)).sum();
    let bytes: i64 = units.iter().map(|unit| unit.source_bytes).sum();
    if (files, bytes) == (end.file_count, end.size_bytes) {
        return Ok(());
    }
    Err(broken(&format!(
        "the catalog sent {} files of {} bytes, and {files} of {bytes} arrived",
        end.file_count, end.size_bytes
    )))
}

fn reason_of(error: &SchedulerError) -> Reason {
    match error {
        SchedulerError::Peer { error, .. } => {
            Reason { reason: mms_proto::error::reason_text(error.reason).to_owned(), message: error.message.clone() }
        }
        other => Reason { reason: "INTERNAL".to_owned(), message: other.to_string() },
    }
}
