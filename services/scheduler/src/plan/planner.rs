//! Plans jobs: turns a scope into tables, has each table pinned by the catalog, has its files spooled ([`super::spool`]),
//! and hands the rest to [`super::tasks`]. A plan that was interrupted goes on with the first table that is not planned.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use catalog::pin_table_response::Part;
use futures::{StreamExt, stream};
use mms_proto::catalog::v1 as catalog;
use mms_proto::error::finding_text;
use mms_proto::registry::v1 as registry;
use mms_proto::scheduler::v1::{DecisionReason, TableDecision, UnsupportedTables};
use mms_proto::types::v1::{MigrationState, Severity};
use mms_proto::{ErrorReason, FindingReason};
use mms_store::{Read, Scope as Rows, Store, StoreError};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::scope::{self, Chosen, Scope};
use super::spool;
use super::tasks::{self, Piece, PieceBounds, Stored};
use crate::convert::{delta_from, finding_from, table_options_to, target_from, target_name_from, version_from};
use crate::error::{Result, SchedulerError};
use crate::key::{JobKey, TableKey};
use crate::name;
use crate::peers::broken;
use crate::record::{Finding, Job, Limits, Reason, Spec, TablePlan, Unit, backoff};
use crate::scheduler::Scheduler;
use crate::store::{JOB_TABLES, JOBS, MANIFESTS};

/// Defaults of a data source's settings, as its contract states them.
const MAX_CONCURRENT_TASKS: i32 = 20;
const MAX_PARTITIONS_PER_TASK: i32 = 50;
const MAX_BYTES_PER_TASK: i64 = 5 << 30;
/// Findings by which a table is of a kind that cannot be read: see JobSpec.unsupported_tables.
const OF_KIND: [FindingReason; 3] =
    [FindingReason::KindUnsupported, FindingReason::ShallowCloneUnsupported, FindingReason::FormatUnsupported];
/// Most tables of one job.
const TABLES_MAX: usize = 100_000;
/// Jobs that are planned at once.
const JOBS_AT_ONCE: usize = 32;
/// Tables of one source that are planned at once.
const TABLES_AT_A_TIME: usize = 4;
/// Tables of the scope that one commit stores.
const TABLES_AT_ONCE: usize = 5_000;

/// Plans every job that is to be planned, each beside the others, until the token is cancelled.
pub async fn run(scheduler: Scheduler, stop: CancellationToken) {
    let mut changes = scheduler.store.subscribe();
    let mut lanes = Lanes::default();
    let mut plans = JoinSet::new();
    let mut busy: HashSet<JobKey> = HashSet::new();
    let mut resting: HashMap<JobKey, Rest> = HashMap::new();
    loop {
        changes.mark_unchanged();
        match scheduler.store.read(|read| tasks::planning(read)) {
            Err(error) => tracing::error!(%error, "the jobs that are to be planned could not be read"),
            Ok(jobs) => {
                resting.retain(|key, _| jobs.iter().any(|(job, _)| job == key));
                let now = Instant::now();
                for (key, job) in jobs {
                    let rests = resting.get(&key).is_some_and(|rest| rest.until > now);
                    if !rests && busy.len() < JOBS_AT_ONCE && busy.insert(key.clone()) {
                        let (scheduler, lane, stop) = (scheduler.clone(), lanes.of(&key), stop.clone());
                        plans.spawn(async move { (plan_once(&scheduler, &lane, &stop, &key, &job).await, key) });
                    }
                }
            }
        }
        let wake = resting.iter().filter(|(key, _)| !busy.contains(*key)).map(|(_, rest)| rest.until).min();
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            Some(ended) = plans.join_next() => match ended {
                Ok((outcome, key)) => {
                    busy.remove(&key);
                    rest(&scheduler, &mut resting, key, outcome);
                }
                Err(broken) if broken.is_panic() => std::panic::resume_unwind(broken.into_panic()),
                Err(_) => {}
            },
        }
    }
}

/// A job whose plan was interrupted waits.
struct Rest {
    failures: i32,
    until: Instant,
}

fn rest(scheduler: &Scheduler, resting: &mut HashMap<JobKey, Rest>, key: JobKey, outcome: Result<()>) {
    let Err(error) = outcome else {
        resting.remove(&key);
        return;
    };
    let failures = resting.get(&key).map_or(0, |rest| rest.failures) + 1;
    tracing::warn!(%error, failures, job = name::job_name(&key), "planning is interrupted and tried again");
    let until = Instant::now() + backoff(failures.min(6), scheduler.random());
    resting.insert(key, Rest { failures, until });
}

/// How many tables of each source are planned at once, over all its jobs: each has its log read by the catalog.
#[derive(Default)]
struct Lanes(HashMap<String, Arc<Semaphore>>);

impl Lanes {
    fn of(&mut self, job: &JobKey) -> Arc<Semaphore> {
        self.0.retain(|_, lane| Arc::strong_count(lane) > 1);
        let lane = self.0.entry(job.data_source.clone()).or_insert_with(|| Arc::new(Semaphore::new(TABLES_AT_A_TIME)));
        Arc::clone(lane)
    }
}

/// Plans what is not planned of a job. An error is one to try again after.
async fn plan_once(
    scheduler: &Scheduler,
    lane: &Semaphore,
    stop: &CancellationToken,
    key: &JobKey,
    job: &Job,
) -> Result<()> {
    match plan_job(scheduler, lane, stop, key, job).await {
        Ok(()) => Ok(()),
        // A job whose source was stopped by force is stopped too, by whoever holds the uses of sources.
        Err(error)
            if error.is_transient() || error.is_source_stopped() || matches!(error, SchedulerError::Store(_)) =>
        {
            scheduler.waits.job(key, reason_of(&error));
            Err(error)
        }
        Err(error) => {
            scheduler.waits.over(key);
            let (key, uid, at) = (key.clone(), job.uid().to_owned(), scheduler.moment());
            scheduler.store.commit(move |tx| tasks::fail(tx, &at, &key, &uid, reason_of(&error))).await
        }
    }
}

async fn plan_job(
    scheduler: &Scheduler,
    lane: &Semaphore,
    stop: &CancellationToken,
    key: &JobKey,
    job: &Job,
) -> Result<()> {
    if !job.scope_listed {
        let used = scheduler.peers.acquire(&key.data_source, &name::job_name(key)).await?;
        let settings = used.data_source.and_then(|source| source.settings).unwrap_or_default();
        list(scheduler, key, job, settings).await?;
    }
    // As it is with its limits.
    let Some(job) = &scheduler.store.read(|read| read.get(&JOBS, key))?.filter(|now| now.uid() == job.uid()) else {
        return Ok(());
    };
    let storing = Mutex::new(());
    let tables = unplanned(&scheduler.store, key)?;
    let plan = |table| {
        let storing = &storing;
        async move {
            let _place = lane.acquire().await;
            if stop.is_cancelled() { Ok(false) } else { plan_or_wait(scheduler, storing, &table, job).await }
        }
    };
    let mut plans = stream::iter(tables).map(plan).buffer_unordered(TABLES_AT_A_TIME);
    let mut first_error = None;
    while let Some(planned) = plans.next().await {
        match planned {
            Ok(true) => {}
            Ok(false) => {
                scheduler.waits.over(key);
                return Ok(());
            }
            // The tables beside it are not its fault.
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    if let Some(error) = first_error {
        return Err(error);
    }
    scheduler.waits.over(key);
    let (key, uid, at) = (key.clone(), job.uid().to_owned(), scheduler.moment());
    scheduler.store.commit(move |tx| tasks::finish(tx, &at, &key, &uid)).await
}

/// Plans a table, or blocks it if its ends did not answer for long. False: the job is gone or stopped.
async fn plan_or_wait(scheduler: &Scheduler, storing: &Mutex<()>, key: &TableKey, job: &Job) -> Result<bool> {
    match plan_table(scheduler, storing, key, job).await {
        Err(error) if error.is_transient() && scheduler.waits.table(key, reason_of(&error)) => {
            block_table(scheduler, storing, key, job, &error).await
        }
        planned => planned,
    }
}

fn unplanned(store: &Store, key: &JobKey) -> Result<Vec<TableKey>> {
    let mut tables = Vec::new();
    store.read(|read| {
        read.scan(&JOB_TABLES, &Rows::prefix(key), |key, table| {
            if table.plan.moves() && !table.planned {
                tables.push(key);
            }
            std::ops::ControlFlow::Continue(())
        })
    })?;
    Ok(tables)
}

/// Turns the scope into tables.
async fn list(scheduler: &Scheduler, key: &JobKey, job: &Job, settings: registry::MigrationSettings) -> Result<()> {
    let mut tables = Vec::new();
    let mut scope = Scope::of(job.spec());
    let mut token = String::new();
    loop {
        let page = scheduler.peers.tables(&key.data_source, token).await?;
        for table in page.tables {
            let (decision, reason, message) = match scope.choose(&table.source_schema, &table.source_name) {
                Chosen::Taken(reason, message) => (TableDecision::Move, reason, message),
                Chosen::Left(reason, message) => (TableDecision::Excluded, reason, message),
                Chosen::Outside => continue,
            };
            tables.push((table.source_schema, table.source_name, TablePlan::new(decision, reason, message)));
        }
        if page.next_page_token.is_empty() || tables.len() > TABLES_MAX {
            break;
        }
        token = page.next_page_token;
    }
    let taken = tables.iter().filter(|(_, _, table)| table.moves()).count();
    if let Some(reason) = unusable(&scope, taken, tables.len()) {
        let (key, uid, at) = (key.clone(), job.uid().to_owned(), scheduler.moment());
        return scheduler.store.commit(move |tx| tasks::fail(tx, &at, &key, &uid, reason)).await;
    }
    loop {
        let (key, uid, at) = (key.clone(), job.uid().to_owned(), scheduler.moment());
        if !scheduler.store.commit(move |tx| tasks::unlist(tx, &at, &key, &uid)).await? {
            break;
        }
    }
    while !tables.is_empty() {
        let some = tables.split_off(tables.len().saturating_sub(TABLES_AT_ONCE));
        let (key, uid, at) = (key.clone(), job.uid().to_owned(), scheduler.moment());
        if !scheduler.store.commit(move |tx| tasks::list(tx, &at, &key, &uid, some)).await? {
            return Ok(());
        }
    }
    let (key, uid, at) = (key.clone(), job.uid().to_owned(), scheduler.moment());
    let limits = limits(job.spec(), settings);
    scheduler.store.commit(move |tx| tasks::listed(tx, &at, &key, &uid, limits)).await
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
    Some(Reason::new(reason, message))
}

/// The data source's settings, with the job's over them. The source's bound of tasks stays beside the job's: it holds
/// over all jobs of the source.
fn limits(spec: &Spec, settings: registry::MigrationSettings) -> Limits {
    let or = |first: i32, second: i32, default: i32| [first, second, default].into_iter().find(|n| *n > 0).unwrap_or(1);
    let source_max_concurrent_tasks = or(settings.max_concurrent_tasks, 0, MAX_CONCURRENT_TASKS);
    let bytes = [spec.max_bytes_per_task, settings.max_bytes_per_task, MAX_BYTES_PER_TASK];
    Limits {
        source_max_concurrent_tasks,
        max_concurrent_tasks: or(spec.max_concurrent_tasks, 0, source_max_concurrent_tasks),
        max_partitions_per_task: or(
            spec.max_partitions_per_task,
            settings.max_partitions_per_task,
            MAX_PARTITIONS_PER_TASK,
        ),
        max_bytes_per_task: bytes.into_iter().find(|n| *n > 0).unwrap_or(MAX_BYTES_PER_TASK),
        sql_parameters: settings.sql_parameters.into_iter().chain(spec.sql_parameters.clone()).collect(),
        tunnel_quota: spec.tunnel_quota.clone(),
    }
}

/// Plans one table. False: the job is gone or stopped.
async fn plan_table(scheduler: &Scheduler, storing: &Mutex<()>, key: &TableKey, job: &Job) -> Result<bool> {
    if !drop_tasks(scheduler, key, job).await? {
        return Ok(false);
    }
    match spool(scheduler, key, job).await {
        Ok(Some((plan, units))) => store_table(scheduler, storing, key, job, plan, units).await,
        Ok(None) => Ok(false),
        Err(error) if error.is_transient() => Err(error),
        Err(error @ SchedulerError::Store(_)) if !is_too_large(&error) => Err(error),
        // What the catalog refuses for one table is that table's fault, not the job's.
        Err(error) => block_table(scheduler, storing, key, job, &error).await,
    }
}

/// Whether the plan of a table is more than the store takes at once: it always will be.
fn is_too_large(error: &SchedulerError) -> bool {
    use StoreError::{TransactionTooLarge, ValueTooLarge};
    matches!(error, SchedulerError::Store(ValueTooLarge { .. } | TransactionTooLarge { .. }))
}

async fn block_table(
    scheduler: &Scheduler,
    storing: &Mutex<()>,
    key: &TableKey,
    job: &Job,
    error: &SchedulerError,
) -> Result<bool> {
    let reason = reason_of(error);
    let plan = TablePlan::new(TableDecision::Blocked, DecisionReason::PlanFailed, &*reason.message);
    store_table(scheduler, storing, key, job, TablePlan { reason: Some(reason), ..plan }, Vec::new()).await
}

/// `storing` is held meanwhile: the tasks of a table follow each other.
async fn store_table(
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
    scheduler.store.commit(move |tx| tasks::store(tx, &at, &own, &uid, piece)).await
}

/// Drops what is left of an earlier plan of a table. False: the job is gone or stopped.
async fn drop_tasks(scheduler: &Scheduler, key: &TableKey, job: &Job) -> Result<bool> {
    if scheduler.store.read(|read| read.get(&JOB_TABLES, key))?.is_some_and(|table| table.task_count == 0) {
        return Ok(true);
    }
    loop {
        let (own, uid, at) = (key.clone(), job.uid().to_owned(), scheduler.moment());
        match scheduler.store.commit(move |tx| tasks::drop_some(tx, &at, &own, &uid)).await? {
            None => return Ok(false),
            Some(0) => return Ok(true),
            Some(_) => {}
        }
    }
}

async fn clear_manifest(scheduler: &Scheduler, key: &TableKey) -> Result<()> {
    // A commit waits for the disk.
    if scheduler.store.read(|read| read.page(&MANIFESTS, &Rows::prefix(key), None, 1))?.items.is_empty() {
        return Ok(());
    }
    loop {
        let own = key.clone();
        if !scheduler.store.commit(move |tx| tasks::clear_manifest(tx, &own)).await? {
            return Ok(());
        }
    }
}

/// Has the catalog pin a table, and stores its files unit by unit. `None`: the job is gone or stopped.
async fn spool(scheduler: &Scheduler, key: &TableKey, job: &Job) -> Result<Option<(TablePlan, Vec<Unit>)>> {
    clear_manifest(scheduler, key).await?;
    let spec = job.spec();
    let mut parts = scheduler
        .peers
        .pin(catalog::PinTableRequest {
            name: name::source_table_name(key)?,
            version: None,
            options: scope::options(spec, &key.schema, &key.table).map(table_options_to),
            target_policy: spec.target_policy.number(),
        })
        .await?;
    let Some(Part::Table(pinned)) = parts.next().await? else {
        return Err(broken("the catalog sent no plan"));
    };
    let untouched = pinned.target_unchanged;
    let mut plan = planned(pinned, decided(scheduler, key)?, spec)?;
    if plan.moves() && !spec.force && unchanged(scheduler, key, &plan).await? {
        let (reason, text) = if untouched {
            plan.decision = TableDecision::Unchanged.into();
            (DecisionReason::AtTarget, "this version is at the target already; set force to move it again")
        } else {
            let text = "this version was moved there, but the target is gone or was changed since: it is moved again";
            (DecisionReason::TargetChanged, text)
        };
        (plan.decision_reason, plan.decision_message) = (reason.into(), text.to_owned());
    }
    if !plan.moves() {
        return Ok(Some((plan, Vec::new())));
    }
    let Some(units) = spool::units(scheduler, key, job.uid(), &mut parts, &plan).await? else { return Ok(None) };
    if units.is_empty() {
        plan.findings.push(no_partition_left());
    }
    Ok(Some((plan, units)))
}

/// Why the table was chosen.
fn decided(scheduler: &Scheduler, key: &TableKey) -> Result<(DecisionReason, String)> {
    let stored = scheduler.store.read(|read| read.get(&JOB_TABLES, key))?.unwrap_or_default().into_plan();
    Ok((*stored.decision_reason, stored.decision_message))
}

/// What the catalog's plan makes of a table that was chosen for a reason.
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
        delta: delta.transpose()?,
        ..TablePlan::new(decision, reason, text)
    })
}

/// A partitioned table without partitions moves no rows, and nothing of the target is dropped for it.
fn no_partition_left() -> Finding {
    Finding {
        severity: Severity::Note.into(),
        reason: FindingReason::NoPartition.into(),
        message: "the source has no partition at this version; partitions that are at the target stay there".to_owned(),
        remedy: "drop at the target what must not stay".to_owned(),
        ..Finding::default()
    }
}

/// Whether the catalog has this very version of this very table as moved to this very place.
async fn unchanged(scheduler: &Scheduler, key: &TableKey, plan: &TablePlan) -> Result<bool> {
    let stored = scheduler.peers.table(&name::source_table_name(key)?).await?;
    Ok(is_at_target(stored, plan))
}

/// A state that was set by hand names no place: it is meant for whichever the table has.
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

fn reason_of(error: &SchedulerError) -> Reason {
    match error {
        SchedulerError::Peer { error, .. } => {
            // A far end that says no reason of ours is no fault of this service.
            let reason = if error.reason == ErrorReason::Unspecified { ErrorReason::Internal } else { error.reason };
            Reason::new(reason, &*error.message)
        }
        large if is_too_large(large) => {
            let text = format!("the plan of this table is more than can be stored at once ({large}): move it in parts");
            Reason::new(ErrorReason::TooLarge, text)
        }
        other => Reason::new(ErrorReason::Internal, other.to_string()),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
