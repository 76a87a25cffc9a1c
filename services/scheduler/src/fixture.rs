//! A planned job in a store in memory, for tests of commits.

use std::ops::Range;

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::{CommitOutcome, DecisionReason, Engine, MigrationContent, TableDecision, TaskRole};
use mms_proto::types::v1::{ReadPath, TargetKind, TargetPolicy, Verdict, VerificationLevel};
use mms_server::{Client, ClientConfig};
use mms_store::{Known, Read, Scope, Store, Tx};

use crate::commit::intent;
use crate::error::{Result, SchedulerError};
use crate::job::change::{self, Cursor, Step};
use crate::job::stored;
use crate::job::{calls, followers};
use crate::key::{JobKey, TableKey, TaskKey};
use crate::lease::clock::Leases;
use crate::lease::dispatch::{self, Granted};
use crate::moment::Moment;
use crate::peers::Peers;
use crate::plan::tasks::{self, Piece, PieceBounds, Stored};
use crate::record::{
    Asked, AtTarget, Commit, Epoch, Holder, Identity, Intent, IntentUnit, Job, Limits, Notice, PartitionValue, Reason,
    Spec, Step as TaskStep, TablePlan, Target, TargetEvent, TargetName, Task, TunnelCommit, Unit, Verification,
    Version, Worker,
};
use crate::report::at_target::Looked;
use crate::report::take::{self, Found, Said, Taken};
use crate::scheduler::Scheduler;
use crate::store::{JOBS, NOTICES, TARGETS, TASKS, WORKERS, schema};

/// What differs from the usual job of the fixture.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Its spec; fields that are not set are as usual.
    pub spec: Spec,
    /// Its plan needs approval.
    pub review: bool,
    /// Its limits; 0 for the usual ones.
    pub limits: Limits,
    /// A table that is not planned yet.
    pub unplanned: Option<&'static str>,
}

/// The key of the fixture's job.
pub fn job_key() -> JobKey {
    other_key("j")
}

/// The key of another job.
pub fn other_key(id: &str) -> JobKey {
    JobKey { data_source: "lake".to_owned(), job: id.to_owned() }
}

/// The key of a task of the fixture's job.
pub fn task_key(number: u32) -> TaskKey {
    TaskKey { job: job_key(), number }
}

/// The key of a job's table.
pub fn table_key(job: &JobKey) -> TableKey {
    TableKey { job: job.clone(), schema: "s".to_owned(), table: "t".to_owned() }
}

/// A process of a worker; `a` and `b` can do everything, `ddl` and `part` only some steps or roles.
pub fn holder(id: &str) -> Holder {
    Holder { worker: id.to_owned(), instance: format!("{id}-1") }
}

/// The target of the fixture's table.
pub fn target() -> TargetName {
    TargetName { project: "p".to_owned(), schema: "s".to_owned(), table: "T".to_owned() }
}

/// The table that exists at the target.
pub fn there() -> Identity {
    Identity { nonce: "there".to_owned(), ..Identity::default() }
}

/// An intent on some units, given by their index.
pub fn intent(units: &[usize]) -> Intent {
    let unit = |index: &usize| IntentUnit {
        unit_index: i32::try_from(*index).expect("small"),
        partition: partition(*index),
        rows: 7,
        bytes: 70,
    };
    Intent {
        target: target(),
        units: units.iter().map(unit).collect(),
        commit: Some(Commit::Tunnel(TunnelCommit { session_id: "u".to_owned(), ..TunnelCommit::default() })),
        identity: Some(there()),
        ..Intent::default()
    }
}

fn partition(index: usize) -> Vec<PartitionValue> {
    vec![PartitionValue { column: "pt".to_owned(), value: Some(index.to_string()) }]
}

/// A scheduler over a store and a clock, with peers that no test calls.
pub fn scheduler(store: Store, now_ms: fn() -> i64) -> Scheduler {
    let nobody = || Client::new(&ClientConfig::to("http://127.0.0.1:1"), None).expect("a channel that connects later");
    let leases = Leases::new(std::time::Duration::from_secs(30));
    Scheduler::new(store, leases, Peers::new(nobody(), nobody()), now_ms, || 0.5)
}

/// Publishes all units of a task that are not published yet.
fn publish(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, holder: &Holder, epoch: Epoch) -> Result<()> {
    let task = tx.get(&TASKS, key)?.expect("there");
    let own = task.units.iter().enumerate().map(|(index, unit)| IntentUnit {
        unit_index: i32::try_from(index).expect("small"),
        partition: unit.partition.clone(),
        rows: 7,
        bytes: 70,
    });
    let id = format!("{}-{}-{}", key.job.job, key.number, epoch.counter);
    let wanted = Intent { units: own.collect(), ..intent(&[]) };
    assert_eq!(intent::begin(tx, at, key, holder, epoch, &id, wanted)?, intent::Answer::Granted);
    assert!(intent::resolve(tx, at, key, holder, epoch, &id, CommitOutcome::Committed)?);
    Ok(())
}

/// A store with one job of one table of some units, one task for each unit, and registered workers.
pub struct Fixture {
    pub store: Store,
    now_ms: i64,
}

impl Fixture {
    /// The store with a planned job.
    pub async fn new(units: usize) -> Self {
        Self::of(units, Given::default()).await
    }

    /// As [`Self::new`], with a job that may replace its table and has several units in a task.
    pub async fn replacing(units: usize, units_in_task: i32) -> Self {
        let spec = Spec { target_policy: TargetPolicy::Replace.into(), ..Spec::default() };
        let limits = Limits { max_partitions_per_task: units_in_task, ..Limits::default() };
        Self::of(units, Given { spec, limits, ..Given::default() }).await
    }

    /// As [`Self::new`], with a job that differs from the usual one.
    pub async fn of(units: usize, given: Given) -> Self {
        let store = Store::in_memory(schema()).expect("a store of memory");
        let fixture = Self { store, now_ms: 1_000 };
        let at = fixture.at();
        fixture.commit(move |tx| seed(tx, &at, given, units)).await.expect("planned");
        fixture
    }

    pub fn at(&self) -> Moment {
        Moment { now_ms: self.now_ms, spread: 0.5, incarnation: self.store.incarnation() }
    }

    /// Advances the clock.
    pub fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
    }

    pub async fn commit<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.store.commit(f).await
    }

    pub fn task(&self, number: u32) -> Task {
        self.store.read(|read| read.get(&TASKS, &task_key(number))).expect("readable").expect("planned")
    }

    pub fn job(&self) -> Job {
        self.store.read(|read| Ok::<_, SchedulerError>(read.get(&JOBS, &job_key())?.expect("there"))).expect("readable")
    }

    /// Another job of the same table, planned.
    pub async fn another(&self, id: &'static str, given: Given, units: Range<usize>, definition: &'static str) {
        let at = self.at();
        self.commit(move |tx| seed_job(tx, &at, &other_key(id), given, units, definition)).await.expect("planned");
    }

    pub fn job_of(&self, key: &JobKey) -> Job {
        self.store.read(|read| stored::find(read, key)).expect("there")
    }

    /// Carries through the change that is under way with a job. Returns how it ended.
    pub async fn carry(&self, key: &JobKey) -> Step {
        let mut cursor = Cursor::default();
        loop {
            let (key, at, from) = (key.clone(), self.at(), cursor);
            match self.commit(move |tx| change::step(tx, &at, &key, from)).await.expect("the store works") {
                Step::More(next, _) => cursor = next,
                end => return end,
            }
        }
    }

    /// Notices that are still to be delivered, oldest first.
    pub fn notices(&self) -> Vec<Notice> {
        let page = self.store.read(|read| read.page(&NOTICES, &Scope::all(), None, 1000)).expect("readable");
        page.items.into_iter().map(|(_, notice)| notice).collect()
    }

    /// Leases a job's first ready task and takes it through all its steps, publishing its units.
    pub async fn finish_one(&self, id: &str) -> TaskKey {
        let granted = self.lease(id, 1).await.remove(0);
        let (key, epoch, next) = (granted.key.clone(), granted.task.epoch, granted.task.next_step());
        for step in granted.task.steps().into_iter().filter(|step| Some(*step) >= next) {
            let (at, holder, task) = (self.at(), holder(id), key.clone());
            let taken = self
                .commit(move |tx| {
                    if step == TaskStep::Data {
                        publish(tx, &at, &task, &holder, epoch)?;
                    }
                    let taken = take::take(tx, &at, &task, &holder, epoch, Some(done(step)), &[])?;
                    assert_ne!(taken, Taken::No);
                    Ok(taken)
                })
                .await
                .expect("taken");
            if taken == Taken::Waits {
                break;
            }
        }
        key
    }

    /// Tells all tasks of the job's table the outcome of the task that makes it.
    pub async fn tell_followers(&self) {
        let mut next = Some(0);
        while let Some(from) = next {
            let at = self.at();
            let some = self.commit(move |tx| followers::some(tx, &at, &table_key(&job_key()), from)).await;
            next = some.expect("told");
        }
    }

    pub async fn lease(&self, id: &str, max: usize) -> Vec<Granted> {
        let (at, holder) = (self.at(), holder(id));
        self.commit(move |tx| dispatch::grant(tx, &at, &holder, max)).await.expect("a registered worker")
    }

    /// Sends a report. Returns whether it was accepted.
    pub async fn report(&self, number: u32, id: &str, epoch: Epoch, said: Said) -> bool {
        let (at, holder) = (self.at(), holder(id));
        let taken = self.commit(move |tx| take::take(tx, &at, &task_key(number), &holder, epoch, Some(said), &[]));
        taken.await.expect("the store works") != Taken::No
    }
}

/// A worker's report that a step is done.
pub fn done(step: TaskStep) -> Said {
    let equal = Verification { verdict: Verdict::Equal.into(), ..Verification::default() };
    let equal = Found { summary: equal, checks: Vec::new() };
    let verification = (step == TaskStep::Verification).then_some(equal);
    let look = (step == TaskStep::Look).then(|| Box::new(Looked { identity: there(), ..Looked::default() }));
    Said::Done { step, rows: 7, bytes: 70, verification, identity: (step == TaskStep::Schema).then(there), look }
}

/// A worker's report that a step failed.
pub fn failed(step: TaskStep, permanent: bool) -> Said {
    let reason = Reason::new(ErrorReason::TargetFailed, "it broke");
    Said::Failed { step, permanent, reason, verification: None, missed: None, lost: Vec::new() }
}

/// A fixture whose job was stopped while a task was leased.
pub async fn stopped(units: usize) -> Fixture {
    let fixture = Fixture::new(units).await;
    fixture.lease("a", 1).await;
    let at = fixture.at();
    fixture.commit(move |tx| calls::stop(tx, &at, &job_key(), None)).await.expect("it can be stopped");
    assert!(matches!(fixture.carry(&job_key()).await, Step::Done(Some(_))));
    fixture
}

fn seed(tx: &mut Tx<'_>, at: &Moment, given: Given, units: usize) -> Result<()> {
    seed_job(tx, at, &job_key(), given, 0..units, "")?;
    // The target table exists and its identity is known.
    let mut known = AtTarget::default();
    known.apply(TargetEvent::Seen(there()));
    tx.put(&TARGETS, &target().key(), &known)?;
    let all = [TaskStep::Schema, TaskStep::Data, TaskStep::Verification, TaskStep::Look];
    for id in ["a", "b"] {
        tx.put(&WORKERS, &id.to_owned(), &able(&holder(id).instance, &all))?;
    }
    tx.put(&WORKERS, &"ddl".to_owned(), &able("ddl-1", &[TaskStep::Schema, TaskStep::Look]))?;
    let part = Worker { roles: vec![TaskRole::Part.into()], ..able("part-1", &all) };
    tx.put(&WORKERS, &"part".to_owned(), &part)?;
    Ok(())
}

/// A planned job of some units of the fixture's table. Its uid is its id. `definition` is the DDL of the target.
pub fn seed_job(
    tx: &mut Tx<'_>,
    at: &Moment,
    key: &JobKey,
    given: Given,
    units: Range<usize>,
    definition: &str,
) -> Result<()> {
    let content = match *given.spec.content {
        MigrationContent::Unspecified => MigrationContent::SchemaAndData,
        content => content,
    };
    let spec = Spec {
        content: content.into(),
        verification_level: VerificationLevel::RowCount.into(),
        max_attempts: 3,
        ..given.spec
    };
    let or = |given: i32| if given == 0 { 100 } else { given };
    let limits = Limits {
        max_concurrent_tasks: or(given.limits.max_concurrent_tasks),
        source_max_concurrent_tasks: or(given.limits.source_max_concurrent_tasks),
        max_partitions_per_task: given.limits.max_partitions_per_task.max(1),
        max_bytes_per_task: 1 << 30,
        ..given.limits
    };
    let asked =
        Asked { uid: key.job.clone(), spec, review: given.review, create_time_ms: at.now_ms, ..Asked::default() };
    calls::create(tx, key, Job::new(asked))?;
    let chosen = TablePlan::new(TableDecision::Move, DecisionReason::InSchema, "");
    let names = ["t"].into_iter().chain(given.unplanned);
    let tables = names.map(|name| ("s".to_owned(), name.to_owned(), chosen.clone())).collect();
    tasks::list(tx, at, key, &key.job, tables)?;
    tasks::listed(tx, at, key, &key.job, limits)?;
    plan_table(tx, at, key, units, definition)?;
    tasks::finish(tx, at, key, &key.job)
}

/// The units of the fixture's table.
pub fn units(units: Range<usize>) -> Vec<Unit> {
    let unit = |index: usize| Unit {
        number: u32::try_from(index).expect("small"),
        partition: partition(index),
        source_partitions: vec![format!("pt={index}")],
        source_bytes: 10,
        source_rows: Some(7),
        ..Unit::default()
    };
    units.map(unit).collect()
}

/// The plan of the fixture's table.
pub fn plan(definition: &str) -> TablePlan {
    TablePlan {
        version: Some(Version { delta: Some(5), table_id: "id".to_owned(), ..Version::default() }),
        target: Some(Target {
            name: Some(target()),
            kind: TargetKind::Ordinary.into(),
            create_sql: definition.to_owned(),
            ..Target::default()
        }),
        ..TablePlan::new(TableDecision::Move, DecisionReason::InSchema, "")
    }
}

pub fn plan_table(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, range: Range<usize>, definition: &str) -> Result<()> {
    let (job, last) = (stored::find(tx, key)?, Some(range.len()));
    let tasks = tasks::pieces(&job, units(range), PieceBounds::default()).concat();
    let store =
        |tx: &mut Tx<'_>, plan, tasks| tasks::store(tx, at, &table_key(key), &key.job, Piece { plan, tasks, last });
    if let Stored::Refused(blocked) = store(tx, plan(definition), tasks)? {
        store(tx, *blocked, Vec::new())?;
    }
    Ok(())
}

fn able(instance: &str, steps: &[TaskStep]) -> Worker {
    Worker {
        instance: instance.to_owned(),
        slots: 10,
        steps: steps.iter().map(|step| Known::from(*step)).collect(),
        read_paths: vec![ReadPath::Storage.into()],
        target_kinds: vec![TargetKind::Ordinary.into()],
        engine: Engine::BuiltIn.into(),
        ..Worker::default()
    }
}
