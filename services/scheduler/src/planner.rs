//! Plans jobs: turns a scope into tables, has each table pinned by the catalog, has its files spooled ([`crate::spool`]), and hands the rest to
//! [`crate::plan`]. A plan that was interrupted goes on with the first table that is not planned.

use catalog::pin_table_response::Part;
use mms_proto::catalog::v1 as catalog;
use mms_proto::error::finding_text;
use mms_proto::registry::v1 as registry;
use mms_proto::scheduler::v1::{DecisionReason, TableDecision, UnsupportedTables};
use mms_proto::types::v1::{MigrationState, Severity};
use mms_proto::{ErrorReason, FindingReason};
use mms_store::{Read, Scope as Rows, Store};
use tokio_util::sync::CancellationToken;

use crate::convert::{delta_from, finding_from, table_options_to, target_from, target_name_from, version_from};
use crate::core::Core;
use crate::error::{Result, SchedulerError};
use crate::key;
use crate::plan;
use crate::record::{self, Job, JobTable, Reason, Spec, Unit};
use crate::scope::{self, Chosen, Scope};
use crate::spool::{self, broken};
use crate::store::{JOB_TABLES, JobKey, TableKey};
use crate::task;

/// Defaults of a data source's settings, as its contract states them.
const MAX_CONCURRENT_TASKS: i32 = 20;
const MAX_PARTITIONS_PER_TASK: i32 = 50;
const MAX_BYTES_PER_TASK: i64 = 5 << 30;
/// Findings by which a table is of a kind that cannot be read: see JobSpec.unsupported_tables.
const OF_KIND: [FindingReason; 3] =
    [FindingReason::KindUnsupported, FindingReason::ShallowCloneUnsupported, FindingReason::FormatUnsupported];
/// Most tables of one job.
const TABLES_MAX: usize = 100_000;
/// Tables of the scope that one commit stores.
const TABLES_AT_ONCE: usize = 5_000;

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
        read.scan(&JOB_TABLES, &Rows::prefix(&(key.0.clone(), key.1.clone())), |key, table| {
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
    let mut scope = Scope::of(&job.spec);
    let mut token = String::new();
    loop {
        let page = core.peers.tables(&key.0, token).await?;
        for table in page.tables {
            let (decision, reason, message) = match scope.choose(&table.source_schema, &table.source_name) {
                Chosen::Taken(reason, message) => (TableDecision::Move, reason, message),
                Chosen::Left(reason, message) => (TableDecision::Excluded, reason, message),
                Chosen::Outside => continue,
            };
            let record = JobTable {
                decision: decision as i32,
                decision_reason: reason as i32,
                decision_message: message,
                ..JobTable::default()
            };
            tables.push((table.source_schema, table.source_name, record));
        }
        if page.next_page_token.is_empty() || tables.len() > TABLES_MAX {
            break;
        }
        token = page.next_page_token;
    }
    let taken = tables.iter().filter(|(_, _, table)| table.decision == TableDecision::Move as i32).count();
    if let Some(reason) = unusable(&scope, taken, tables.len()) {
        let (key, uid, at) = (key.clone(), job.uid.clone(), core.moment());
        return core.store.commit(move |tx| plan::fail(tx, &at, &key, &uid, reason)).await;
    }
    loop {
        let (key, uid) = (key.clone(), job.uid.clone());
        if !core.store.commit(move |tx| plan::unlist(tx, &key, &uid)).await? {
            break;
        }
    }
    while !tables.is_empty() {
        let some = tables.split_off(tables.len().saturating_sub(TABLES_AT_ONCE));
        let (key, uid) = (key.clone(), job.uid.clone());
        if !core.store.commit(move |tx| plan::list(tx, &key, &uid, some)).await? {
            return Ok(());
        }
    }
    let (key, uid) = (key.clone(), job.uid.clone());
    core.store.commit(move |tx| plan::listed(tx, &key, &uid, |job| limits(job, settings))).await
}

/// Why nothing can be planned with a scope, if that is so.
fn unusable(scope: &Scope, taken: usize, listed: usize) -> Option<Reason> {
    let (reason, message) = if listed > TABLES_MAX {
        let text = format!(
            "the scope has more than {TABLES_MAX} tables, {taken} of them to be moved among the first {listed}, and one \
             job looks at {TABLES_MAX}: name schemas or tables, and make several jobs"
        );
        (ErrorReason::ScopeTooLarge, text)
    } else if scope.missing().len() > 0 {
        let names: Vec<String> =
            scope.missing().take(10).map(|table| format!("{}.{}", table.schema, table.table)).collect();
        let text = format!(
            "the job names {}, and no table of that name is in the catalog and in the scope: scan the source, or mend the \
             names",
            names.join(", ")
        );
        (ErrorReason::TableUnknown, text)
    } else if taken == 0 {
        let text = "the scope keeps no table: look at the lists of the job, and at ListTables for what was scanned";
        (ErrorReason::EmptyScope, text.to_owned())
    } else {
        return None;
    };
    Some(Reason { reason: reason as i32, message })
}

/// The data source's settings, with the job's over them. The source's bound of tasks stays beside the job's: it holds
/// over all jobs of the source.
fn limits(job: &mut Job, settings: registry::MigrationSettings) {
    let or = |first: i32, second: i32, default: i32| [first, second, default].into_iter().find(|n| *n > 0).unwrap_or(1);
    let spec = &job.spec;
    job.source_max_concurrent_tasks = or(settings.max_concurrent_tasks, 0, MAX_CONCURRENT_TASKS);
    job.max_concurrent_tasks = or(spec.max_concurrent_tasks, 0, job.source_max_concurrent_tasks);
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
        Ok(Some((table, units))) => store_table(core, key, job, table, units).await,
        Ok(None) => Ok(false),
        Err(error) if error.is_transient() => Err(error),
        Err(error @ SchedulerError::Store(_)) => Err(error),
        Err(error) => {
            // What the catalog refuses for one table is that table's fault, not the job's.
            let reason = reason_of(&error);
            let table = JobTable {
                decision: TableDecision::Blocked as i32,
                decision_reason: DecisionReason::PlanFailed as i32,
                decision_message: reason.message.clone(),
                reason: Some(reason),
                ..JobTable::default()
            };
            store_table(core, key, job, table, Vec::new()).await
        }
    }
}

async fn store_table(core: &Core, key: &TableKey, job: &Job, table: JobTable, units: Vec<Unit>) -> Result<bool> {
    let (own, uid, at) = (key.clone(), job.uid.clone(), core.moment());
    if !core.store.commit(move |tx| plan::table(tx, &at, &own, &uid, table, units)).await? {
        return Ok(false);
    }
    let stored = core.store.read(|read| read.get(&JOB_TABLES, key))?;
    if stored.is_some_and(|table| table.decision != TableDecision::Move as i32) {
        clear_manifest(core, key).await?;
    }
    Ok(true)
}

async fn clear_manifest(core: &Core, key: &TableKey) -> Result<()> {
    loop {
        let own = key.clone();
        if !core.store.commit(move |tx| plan::clear_manifest(tx, &own)).await? {
            return Ok(());
        }
    }
}

/// Has the catalog pin a table, and stores its files unit by unit. `None`: the job is gone or stopped.
async fn spool(core: &Core, key: &TableKey, job: &Job) -> Result<Option<(JobTable, Vec<Unit>)>> {
    clear_manifest(core, key).await?;
    let name = key::table_name(&key.0, &key.2, &key.3)?;
    let mut parts = core
        .peers
        .pin(catalog::PinTableRequest {
            name,
            version: None,
            options: scope::options(&job.spec, &key.2, &key.3).map(table_options_to),
            target_policy: job.spec.target_policy,
        })
        .await?;
    let Some(Part::Table(pinned)) = parts.next().await? else {
        return Err(broken("the catalog sent no plan"));
    };
    let mut table = planned(pinned, decided(core, key)?, &job.spec);
    if table.decision == TableDecision::Move as i32 && !job.spec.force && unchanged(core, key, &table).await? {
        table.decision = TableDecision::Unchanged as i32;
        table.decision_reason = DecisionReason::AtTarget as i32;
        table.decision_message = "this version is at the target already; set force to move it again".to_owned();
    }
    if table.decision != TableDecision::Move as i32 {
        return Ok(Some((table, Vec::new())));
    }
    let Some(units) = spool::units(core, key, &job.uid, &mut parts, &table).await? else { return Ok(None) };
    if units.is_empty() {
        table.findings.push(no_partition_left());
    }
    Ok(Some((table, units)))
}

/// Why the table was chosen.
fn decided(core: &Core, key: &TableKey) -> Result<(i32, String)> {
    let stored = core.store.read(|read| read.get(&JOB_TABLES, key))?.unwrap_or_default();
    Ok((stored.decision_reason, stored.decision_message))
}

/// What the catalog's plan makes of a table that was chosen for a reason.
fn planned(pinned: catalog::PinnedTable, why: (i32, String), spec: &Spec) -> JobTable {
    let plan = pinned.plan.unwrap_or_default();
    let blocker = plan.findings.iter().find(|finding| finding.severity() == Severity::Blocker);
    let message = blocker.map_or_else(
        || "the catalog could not plan it".to_owned(),
        |found| format!("{}: {} {}", finding_text(found.reason()), found.message, found.remedy),
    );
    let of_kind = plan.findings.iter().any(|finding| OF_KIND.contains(&finding.reason()));
    let skips = of_kind && spec.unsupported_tables != UnsupportedTables::Fail as i32;
    let blocked = blocker.is_some() || plan.target.is_none();
    let (decision, (reason, text)) = match (blocked, of_kind, skips) {
        (false, _, _) => (TableDecision::Move, why),
        (true, _, true) => (TableDecision::Skipped, (DecisionReason::KindUnsupported as i32, message.clone())),
        (true, true, false) => (TableDecision::Blocked, (DecisionReason::KindUnsupported as i32, message.clone())),
        (true, false, false) => (TableDecision::Blocked, (DecisionReason::Finding as i32, message.clone())),
    };
    let failed = (decision == TableDecision::Blocked).then_some(ErrorReason::Blocked);
    JobTable {
        decision: decision as i32,
        decision_reason: reason,
        decision_message: text,
        version: Some(version_from(plan.version)),
        target: plan.target.map(target_from),
        findings: plan.findings.into_iter().map(finding_from).collect(),
        reason: failed.map(|reason| Reason { reason: reason as i32, message }),
        source_rows: plan.row_count,
        source_bytes: plan.size_bytes,
        location: pinned.location,
        delta: pinned.format.map(|catalog::pinned_table::Format::Delta(delta)| delta_from(delta)),
        ..JobTable::default()
    }
}

/// A partitioned table without partitions moves no rows, and nothing of the target is dropped for it.
fn no_partition_left() -> record::Finding {
    record::Finding {
        severity: Severity::Note as i32,
        reason: FindingReason::NoPartition as i32,
        message: "the source has no partition at this version; partitions that are at the target stay there".to_owned(),
        remedy: "drop at the target what must not stay".to_owned(),
        ..record::Finding::default()
    }
}

/// Whether the catalog has this very version of this very table as moved to this very place.
async fn unchanged(core: &Core, key: &TableKey, table: &JobTable) -> Result<bool> {
    let stored = core.peers.table(&key::table_name(&key.0, &key.2, &key.3)?).await?;
    Ok(is_at_target(stored, table))
}

/// A state that was set by hand names no place: it is meant for whichever the table has.
fn is_at_target(stored: catalog::Table, table: &JobTable) -> bool {
    let Some(planned) = &table.version else { return false };
    let moved = version_from(stored.migrated_version);
    let same_version = planned.delta.is_some() && moved.delta == planned.delta;
    let same_table = !planned.table_id.is_empty() && moved.table_id == planned.table_id;
    let place = table.target.as_ref().and_then(|target| target.name.as_ref());
    let same_place = match stored.migrated_target.map(target_name_from) {
        Some(at) => place.is_some_and(|place| place.key() == at.key()),
        None => true,
    };
    same_version && same_table && same_place && stored.state == MigrationState::Done as i32
}

fn reason_of(error: &SchedulerError) -> Reason {
    match error {
        SchedulerError::Peer { error, .. } => {
            // A far end that says no reason of ours is no fault of this service.
            let reason = if error.reason == ErrorReason::Unspecified { ErrorReason::Internal } else { error.reason };
            Reason { reason: reason as i32, message: error.message.clone() }
        }
        other => Reason { reason: ErrorReason::Internal as i32, message: other.to_string() },
    }
}

#[cfg(test)]
#[path = "planner_tests.rs"]
mod tests;
