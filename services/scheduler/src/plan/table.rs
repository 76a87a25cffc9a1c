//! Plans one table of a job: the catalog pins it, [`super::spool`] stores its files, and [`super::tasks`] stores its
//! tasks. What is left of an interrupted plan of the table is dropped first. An error that concerns this table alone
//! blocks the table, never the job.

use catalog::pin_table_response::Part;
use mms_proto::catalog::v1 as catalog;
use mms_proto::error::finding_text;
use mms_proto::scheduler::v1::{DecisionReason, IncrementalMode, TableDecision, UnsupportedTables};
use mms_proto::types::v1::{MigrationState, Severity};
use mms_proto::{ErrorReason, FindingReason};
use mms_server::PeerError;
use mms_store::{Read, Scope as Rows, StoreError};
use tokio::sync::Mutex;

use super::known::{self, Known};
use super::tasks::{self, Piece, PieceBounds, Stored};
use super::{parts, scope, spool};
use crate::convert::{
    delta_from, finding_from, gone_from, table_options_to, target_from, target_name_from, told, version_from,
};
use crate::error::{Result, SchedulerError};
use crate::key::TableKey;
use crate::name;
use crate::peers::broken;
use crate::record::{Finding, Job, Reason, Spec, TablePlan, Unit};
use crate::scheduler::Scheduler;
use crate::store::{JOB_TABLES, MANIFESTS};
use crate::window;

/// Findings that say that a table is of a kind that cannot be read. `JobSpec.unsupported_tables` decides what follows.
const OF_KIND: [FindingReason; 3] =
    [FindingReason::KindUnsupported, FindingReason::ShallowCloneUnsupported, FindingReason::FormatUnsupported];

/// Plans one table. Returns false if the job was deleted or is no longer PLANNING.
pub async fn plan(scheduler: &Scheduler, storing: &Mutex<()>, key: &TableKey, job: &Job) -> Result<bool> {
    if !drop_tasks(scheduler, key, job).await? {
        return Ok(false);
    }
    match pin(scheduler, key, job).await {
        Ok(Some((plan, units))) => store(scheduler, storing, key, job, plan, units).await,
        Ok(None) => Ok(false),
        Err(error) if error.is_transient() => Err(error),
        Err(error @ SchedulerError::Store(_)) if !is_too_large(&error) => Err(error),
        // What the catalog rejects for one table is a fault of that table, not of the job.
        Err(error) => block(scheduler, storing, key, job, &error).await,
    }
}

/// Whether the plan of a table exceeds what the store accepts in one commit. A retry would fail in the same way.
fn is_too_large(error: &SchedulerError) -> bool {
    use StoreError::{TransactionTooLarge, ValueTooLarge};
    matches!(error, SchedulerError::Store(ValueTooLarge { .. } | TransactionTooLarge { .. }))
}

/// Stores that a table cannot be planned, with the error as its reason. Returns as [`plan`] does.
pub async fn block(
    scheduler: &Scheduler,
    storing: &Mutex<()>,
    key: &TableKey,
    job: &Job,
    error: &SchedulerError,
) -> Result<bool> {
    let reason = reason_of(error);
    let plan = TablePlan::new(TableDecision::Blocked, DecisionReason::PlanFailed, &*reason.message);
    store(scheduler, storing, key, job, TablePlan { reason: Some(reason), ..plan }, Vec::new()).await
}

/// Stores a planned table piece by piece. `storing` is held meanwhile, because the task numbers of a table are
/// consecutive. Returns as [`plan`] does.
async fn store(
    scheduler: &Scheduler,
    storing: &Mutex<()>,
    key: &TableKey,
    job: &Job,
    plan: TablePlan,
    units: Vec<Unit>,
) -> Result<bool> {
    let _turn = storing.lock().await;
    let (count, moves) = (units.len(), plan.moves());
    let pieces = if moves { tasks::pieces(job, units, PieceBounds::default()) } else { vec![Vec::new()] };
    let last = pieces.len().saturating_sub(1);
    for (number, tasks) in pieces.into_iter().enumerate() {
        let piece = Piece { plan: plan.clone(), tasks, last: (number == last).then_some(count) };
        match store_piece(scheduler, key, job, piece).await? {
            Stored::Yes => {}
            Stored::Gone => return Ok(false),
            Stored::Refused(plan) => {
                let whole = Piece { plan: *plan, tasks: Vec::new(), last: Some(0) };
                if !drop_tasks(scheduler, key, job).await?
                    || matches!(store_piece(scheduler, key, job, whole).await?, Stored::Gone)
                {
                    return Ok(false);
                }
                break;
            }
        }
    }
    let stored = scheduler.store.read(|read| read.get(&JOB_TABLES, key))?;
    if stored.is_some_and(|table| !table.plan.moves()) {
        clear_manifest(scheduler, key).await?;
    }
    Ok(true)
}

async fn store_piece(scheduler: &Scheduler, key: &TableKey, job: &Job, piece: Piece) -> Result<Stored> {
    let (own, uid, at) = (key.clone(), job.uid().to_owned(), scheduler.moment());
    // Not durable at once: after a crash the table is planned again.
    scheduler.store.commit_soon(move |tx| tasks::store(tx, &at, &own, &uid, piece)).await
}

/// Drops the tasks that an earlier plan of the table left. Returns as [`plan`] does.
async fn drop_tasks(scheduler: &Scheduler, key: &TableKey, job: &Job) -> Result<bool> {
    if scheduler.store.read(|read| read.get(&JOB_TABLES, key))?.is_some_and(|table| table.task_count == 0) {
        return Ok(true);
    }
    loop {
        let (own, uid, at) = (key.clone(), job.uid().to_owned(), scheduler.moment());
        match scheduler.store.commit_soon(move |tx| tasks::drop_some(tx, &at, &own, &uid)).await? {
            None => return Ok(false),
            Some(0) => return Ok(true),
            Some(_) => {}
        }
    }
}

async fn clear_manifest(scheduler: &Scheduler, key: &TableKey) -> Result<()> {
    if scheduler.store.read(|read| read.page(&MANIFESTS, &Rows::prefix(key), None, 1))?.items.is_empty() {
        return Ok(());
    }
    loop {
        let own = key.clone();
        if !scheduler.store.commit_soon(move |tx| tasks::clear_manifest(tx, &own)).await? {
            return Ok(());
        }
    }
}

/// Has the catalog pin a table, and stores its files unit by unit. Returns None if the job was deleted or is no longer
/// PLANNING.
async fn pin(scheduler: &Scheduler, key: &TableKey, job: &Job) -> Result<Option<(TablePlan, Vec<Unit>)>> {
    clear_manifest(scheduler, key).await?;
    let spec = job.spec();
    let marks = spec.incremental == IncrementalMode::ChangedUnits && spec.moves_rows() && !spec.force;
    let names = marks || spec.drops_gone();
    let mut parts = scheduler
        .peers
        .pin(catalog::PinTableRequest {
            name: name::source_table_name(key)?,
            version: None,
            options: scope::options(spec, &key.schema, &key.table).map(table_options_to),
            target_policy: spec.target_policy.number(),
            partitions: parts::of(spec, &key.schema, &key.table),
            unchanged_units: if marks { catalog::UnchangedUnits::Marked } else { catalog::UnchangedUnits::default() }
                .into(),
            gone_partitions: if names { catalog::GonePartitions::Named } else { catalog::GonePartitions::default() }
                .into(),
        })
        .await?;
    let Some(Part::Table(pinned)) = parts.next().await? else {
        return Err(broken("the catalog sent no plan"));
    };
    let untouched = pinned.target_unchanged;
    let mut plan = planned(pinned, decided(scheduler, key)?, spec)?;
    plan.of_part = parts::takes_part(spec, &key.schema, &key.table);
    let compares = spec.only_verifies() || !plan.gone.is_empty();
    if plan.moves() && !spec.force && !compares && unchanged(scheduler, key, &plan).await? {
        let (reason, text) = if untouched {
            plan.decision = TableDecision::Unchanged.into();
            (DecisionReason::AtTarget, "this version is at the target already; set force to move it again")
        } else {
            let text = "this version was moved there, but the target was deleted or changed since: it is moved again";
            (DecisionReason::TargetChanged, text)
        };
        (plan.decision_reason, plan.decision_message) = (reason.into(), text.to_owned());
    }
    if !plan.moves() {
        return Ok(Some((plan, Vec::new())));
    }
    let Some(mut units) = spool::units(scheduler, key, job.uid(), &mut parts, &plan).await? else { return Ok(None) };
    let marked = units.iter().filter(|unit| unit.at_target).count();
    scheduler.store.read(|read| Known::of(read, &plan)?.judge(read, &mut units))?;
    plan.findings.extend(known::doubted(marked - units.iter().filter(|unit| unit.at_target).count()));
    if units.is_empty() {
        plan.findings.push(no_partition_left());
    }
    let moved: Vec<Unit> = units.iter().filter(|unit| !unit.at_target).cloned().collect();
    plan.findings.extend(window::finding(job, scheduler.moment().now_ms, &moved));
    Ok(Some((plan, units)))
}

/// Why the scope took the table.
fn decided(scheduler: &Scheduler, key: &TableKey) -> Result<(DecisionReason, String)> {
    let stored = scheduler.store.read(|read| read.get(&JOB_TABLES, key))?.unwrap_or_default().into_plan();
    Ok((*stored.decision_reason, stored.decision_message))
}

/// Turns the catalog's plan of a table into a decision. `why` is the reason why the scope took it.
fn planned(pinned: catalog::PinnedTable, why: (DecisionReason, String), spec: &Spec) -> Result<TablePlan> {
    let plan = pinned.plan.unwrap_or_default();
    let findings = plan.findings.into_iter().map(finding_from).collect::<Result<Vec<_>>>()?;
    let blocker = findings.iter().find(|finding| finding.severity == Severity::Blocker);
    let message = blocker.map_or_else(
        || "the catalog could not plan it".to_owned(),
        |found| format!("{}: {} {}", finding_text(*found.reason), found.message, found.remedy),
    );
    let of_kind = findings.iter().any(|finding| OF_KIND.contains(&*finding.reason));
    let skips = of_kind && spec.unsupported_tables != UnsupportedTables::Fail;
    let blocked = blocker.is_some() || plan.target.is_none();
    let (decision, (reason, text)) = match (blocked, of_kind, skips) {
        (false, _, _) => (TableDecision::Move, why),
        (true, _, true) => (TableDecision::Skipped, (DecisionReason::KindUnsupported, message.clone())),
        (true, true, false) => (TableDecision::Blocked, (DecisionReason::KindUnsupported, message.clone())),
        (true, false, false) => (TableDecision::Blocked, (DecisionReason::Finding, message.clone())),
    };
    let failed = (decision == TableDecision::Blocked).then_some(ErrorReason::Blocked);
    let delta = pinned.format.map(|catalog::pinned_table::Format::Delta(delta)| delta_from(delta));
    Ok(TablePlan {
        version: Some(version_from(plan.version)),
        target: plan.target.map(target_from).transpose()?,
        findings,
        reason: failed.map(|reason| Reason::new(reason, message)),
        source_rows: plan.row_count,
        source_bytes: plan.size_bytes,
        location: pinned.location,
        read_path: told(pinned.read_path)?,
        rules_digest: pinned.rules_digest.to_vec(),
        gone: if spec.drops_gone() { pinned.gone.into_iter().map(gone_from).collect() } else { Vec::new() },
        delta: delta.transpose()?,
        ..TablePlan::new(decision, reason, text)
    })
}

/// The note for a partitioned table without partitions: no rows are moved, and nothing at the target is dropped.
fn no_partition_left() -> Finding {
    Finding {
        severity: Severity::Note.into(),
        reason: FindingReason::NoPartition.into(),
        message: "the source has no partition at this version; partitions that are at the target stay there".to_owned(),
        remedy: "drop at the target what must not stay".to_owned(),
        ..Finding::default()
    }
}

/// Whether the catalog records that this version of this table was migrated to this target.
async fn unchanged(scheduler: &Scheduler, key: &TableKey, plan: &TablePlan) -> Result<bool> {
    let stored = scheduler.peers.table(&name::source_table_name(key)?).await?;
    Ok(is_at_target(stored, plan))
}

/// Whether a table's migration status matches its plan. A status that was set by hand names no target and matches any.
fn is_at_target(stored: catalog::Table, plan: &TablePlan) -> bool {
    let Some(planned) = &plan.version else { return false };
    let is_done = stored.state() == MigrationState::Done;
    let moved = version_from(stored.migrated_version);
    let same_version = planned.delta.is_some() && moved.delta == planned.delta;
    let same_table = !planned.table_id.is_empty() && moved.table_id == planned.table_id;
    let same_place = match stored.migrated_target.map(target_name_from) {
        Some(at) => plan.target_name().is_some_and(|place| place.key() == at.key()),
        None => true,
    };
    same_version && same_table && same_place && is_done
}

/// Turns an error of planning into the reason that a job or a table shows.
pub fn reason_of(error: &SchedulerError) -> Reason {
    match error {
        SchedulerError::Peer(PeerError { error, .. }) => {
            // An error without one of our reasons comes from the source or the target: INTERNAL stands for it.
            let reason = if error.reason == ErrorReason::Unspecified { ErrorReason::Internal } else { error.reason };
            Reason::new(reason, &*error.message)
        }
        SchedulerError::ScanNotDone { .. } => Reason::new(ErrorReason::SourceFailed, error.to_string()),
        large if is_too_large(large) => {
            let text =
                format!("the plan of this table is larger than one commit can store ({large}): move it in parts");
            Reason::new(ErrorReason::TooLarge, text)
        }
        other => Reason::new(ErrorReason::Internal, other.to_string()),
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
