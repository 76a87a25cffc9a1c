//! A planned job in a store of memory, for tests of what happens in commits.

use std::ops::Range;

use mms_proto::scheduler::v1::{CommitOutcome, Engine, MigrationContent, TableDecision, TaskRole};
use mms_proto::types::v1::{ReadPath, TargetKind, TargetPolicy, Verdict, VerificationLevel};
use mms_server::{Client, ClientConfig};
use mms_store::{Read, Scope, Store, Tx};

use crate::change::{self, Cursor, Step};
use crate::clock::Leases;
use crate::commit;
use crate::control;
use crate::core::Core;
use crate::error::{Result, SchedulerError};
use crate::lease::Holder;
use crate::peers::Peers;
use crate::plan;
use crate::record::{
    Counts, Intent, IntentUnit, Job, JobTable, Notice, PartitionValue, Spec, Target, TargetName, Task, Unit,
    Verification, Version, Worker,
};
use crate::report::Event;
use crate::rollup::Moment;
use crate::store::{JOBS, JobKey, NOTICES, TASKS, TableKey, TaskKey, WORKERS, schema};
use crate::task::TaskState;

/// The job's key.
pub fn job_key() -> JobKey {
    ("lake".to_owned(), "j".to_owned())
}

/// The key of another job.
pub fn other_key(id: &str) -> JobKey {
    ("lake".to_owned(), id.to_owned())
}

/// The key of a task of it.
pub fn task_key(number: u32) -> TaskKey {
    ("lake".to_owned(), "j".to_owned(), number)
}

/// A worker that can do everything, or only some steps.
pub fn holder(id: &str) -> Holder {
    Holder { worker: id.to_owned(), instance: format!("{id}-1") }
}

/// The target of the fixture's table.
pub fn target() -> TargetName {
    TargetName { project: "p".to_owned(), schema: "s".to_owned(), table: "T".to_owned() }
}

/// An intent on some units, by their index.
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
        session_id: "u".to_owned(),
        ..Intent::default()
    }
}

fn partition(index: usize) -> Vec<PartitionValue> {
    vec![PartitionValue { column: "pt".to_owned(), value: Some(index.to_string()) }]
}

/// The shared parts over a store, at a time, with peers that nobody calls.
pub fn core(store: Store, now_ms: fn() -> i64) -> Core {
    let nobody = || Client::new(&ClientConfig::to("http://127.0.0.1:1"), None).expect("a channel that connects later");
    let leases = Leases::new(std::time::Duration::from_secs(30));
    Core::new(store, leases, Peers::new(nobody(), nobody()), now_ms, || 0.5)
}

/// Publishes all units of a task that are not.
fn publish(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, holder: &Holder, epoch: crate::lease::Epoch) -> Result<()> {
    let task = tx.get(&TASKS, key)?.expect("there");
    let own = task.units.iter().enumerate().map(|(index, unit)| IntentUnit {
        unit_index: i32::try_from(index).expect("small"),
        partition: unit.partition.clone(),
        rows: 7,
        bytes: 70,
    });
    let id = format!("{}-{}-{}", key.1, key.2, epoch.counter);
    let wanted = Intent { units: own.collect(), ..intent(&[]) };
    assert_eq!(commit::begin(tx, at, key, holder, epoch, &id, wanted)?, commit::Answer::Granted);
    assert!(commit::resolve(tx, at, key, holder, epoch, &id, CommitOutcome::Committed)?);
    Ok(())
}

/// A store with one job of one table with so many units, one task a unit, and two workers.
pub struct Fixture {
    pub store: Store,
    now_ms: i64,
}

impl Fixture {
    /// The store, planned.
    pub async fn new(units: usize) -> Self {
        Self::of(units, Job::default()).await
    }

    /// The same of a job that may replace its table, with so many units in a task.
    pub async fn replacing(units: usize, units_in_task: i32) -> Self {
        let spec = Spec { target_policy: TargetPolicy::Replace as i32, ..Spec::default() };
        Self::of(units, Job { spec, max_partitions_per_task: units_in_task, ..Job::default() }).await
    }

    async fn of(units: usize, job: Job) -> Self {
        let store = Store::in_memory(schema()).expect("a store of memory");
        let fixture = Self { store, now_ms: 1_000 };
        let at = fixture.at();
        fixture.commit(move |tx| seed(tx, &at, job, units)).await.expect("planned");
        fixture
    }

    /// Now.
    pub fn at(&self) -> Moment {
        Moment { now_ms: self.now_ms, spread: 0.5, incarnation: self.store.incarnation() }
    }

    /// Time passes.
    pub fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
    }

    /// Runs a commit.
    pub async fn commit<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.store.commit(f).await
    }

    /// A task as stored.
    pub fn task(&self, number: u32) -> Task {
        self.store.read(|read| read.get(&TASKS, &task_key(number))).expect("readable").expect("planned")
    }

    /// The job as stored.
    pub fn job(&self) -> Job {
        self.store.read(|read| Ok::<_, SchedulerError>(read.get(&JOBS, &job_key())?.expect("there"))).expect("readable")
    }

    /// Another job of the same table, planned.
    pub async fn another(&self, id: &'static str, job: Job, units: Range<usize>, definition: &'static str) {
        let at = self.at();
        self.commit(move |tx| seed_job(tx, &at, &other_key(id), job, units, definition)).await.expect("planned");
    }

    /// A job as stored.
    pub fn job_of(&self, key: &JobKey) -> Job {
        self.store.read(|read| control::job(read, key)).expect("there")
    }

    /// Carries through what is under way with a job; how it ended.
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

    /// What the catalog is to be told, oldest first.
    pub fn notices(&self) -> Vec<Notice> {
        let page = self.store.read(|read| read.page(&NOTICES, &Scope::all(), None, 1000)).expect("readable");
        page.items.into_iter().map(|(_, notice)| notice).collect()
    }

    /// Takes a job's first ready task through all its steps, its units published.
    pub async fn finish_one(&self, id: &str) -> TaskKey {
        let granted = self.lease(id, 1).await.remove(0);
        let (key, epoch, steps) = (granted.key.clone(), granted.task.epoch(), granted.task.steps());
        let next = TaskState::of(&granted.task).and_then(|state| state.next_step(&steps));
        for step in steps.into_iter().filter(|step| Some(*step) >= next) {
            let (at, holder, task) = (self.at(), holder(id), key.clone());
            self.commit(move |tx| {
                if step == crate::task::Step::Data {
                    publish(tx, &at, &task, &holder, epoch)?;
                }
                let verification = (step == crate::task::Step::Verification)
                    .then(|| Verification { verdict: Verdict::Equal as i32, ..Verification::default() })
                    .map(|summary| crate::report::Found { summary, checks: Vec::new() });
                let event = Event::Done { step, rows: 7, bytes: 70, verification };
                assert!(crate::report::take(tx, &at, &task, &holder, epoch, Some(event), &[])?);
                Ok(())
            })
            .await
            .expect("taken");
        }
        key
    }

    /// Leases tasks to a worker.
    pub async fn lease(&self, id: &str, max: usize) -> Vec<crate::lease::Granted> {
        let (at, holder) = (self.at(), holder(id));
        self.commit(move |tx| crate::lease::grant(tx, &at, &holder, max)).await.expect("a registered worker")
    }

    /// Sends a report; whether it was taken.
    pub async fn report(&self, number: u32, id: &str, epoch: crate::lease::Epoch, event: Event) -> bool {
        let (at, holder) = (self.at(), holder(id));
        let taken =
            self.commit(move |tx| crate::report::take(tx, &at, &task_key(number), &holder, epoch, Some(event), &[]));
        taken.await.expect("the store works")
    }
}

fn seed(tx: &mut Tx<'_>, at: &Moment, job: Job, units: usize) -> Result<()> {
    seed_job(tx, at, &job_key(), job, 0..units, "")?;
    for id in ["a", "b"] {
        tx.put(&WORKERS, &id.to_owned(), &able(&holder(id).instance, vec![1, 2, 3]))?;
    }
    tx.put(&WORKERS, &"ddl".to_owned(), &able("ddl-1", vec![1]))?;
    let part = Worker { roles: vec![TaskRole::Part as i32], ..able("part-1", vec![1, 2, 3]) };
    tx.put(&WORKERS, &"part".to_owned(), &part)?;
    Ok(())
}

/// A job of some units of the fixture's table, planned. `job` says what is not as usual; its uid is its id. `definition`
/// is that of the target.
pub fn seed_job(
    tx: &mut Tx<'_>,
    at: &Moment,
    key: &JobKey,
    job: Job,
    units: Range<usize>,
    definition: &str,
) -> Result<()> {
    let given = job.spec.clone();
    let spec = Spec {
        content: if given.content == 0 { MigrationContent::SchemaAndData as i32 } else { given.content },
        verification_level: VerificationLevel::RowCount as i32,
        max_attempts: 3,
        ..given
    };
    let or = |given: i32| if given == 0 { 100 } else { given };
    let job = Job {
        uid: key.1.clone(),
        spec,
        create_time_ms: at.now_ms,
        max_concurrent_tasks: or(job.max_concurrent_tasks),
        source_max_concurrent_tasks: or(job.source_max_concurrent_tasks),
        max_partitions_per_task: job.max_partitions_per_task.max(1),
        max_bytes_per_task: 1 << 30,
        counts: Counts::default(),
        ..job
    };
    control::create(tx, key, job)?;
    let chosen = JobTable { decision: TableDecision::Move as i32, ..JobTable::default() };
    plan::list(tx, key, &key.1, vec![("s".to_owned(), "t".to_owned(), chosen)])?;
    plan::listed(tx, key, &key.1, |_| {})?;
    plan_table(tx, at, key, units, definition)?;
    plan::finish(tx, at, key, &key.1)
}

/// Plans the table of a job.
pub fn plan_table(tx: &mut Tx<'_>, at: &Moment, key: &JobKey, units: Range<usize>, definition: &str) -> Result<()> {
    let planned = JobTable {
        decision: TableDecision::Move as i32,
        version: Some(Version { delta: Some(5), table_id: "id".to_owned(), ..Version::default() }),
        target: Some(Target {
            name: Some(target()),
            kind: TargetKind::Ordinary as i32,
            create_sql: definition.to_owned(),
            ..Target::default()
        }),
        ..JobTable::default()
    };
    let unit = |index: usize| Unit {
        number: u32::try_from(index).expect("small"),
        partition: partition(index),
        source_partitions: vec![format!("pt={index}")],
        source_bytes: 10,
        source_rows: Some(7),
        ..Unit::default()
    };
    let table: TableKey = (key.0.clone(), key.1.clone(), "s".to_owned(), "t".to_owned());
    plan::table(tx, at, &table, &key.1, planned, units.map(unit).collect())?;
    Ok(())
}

fn able(instance: &str, steps: Vec<i32>) -> Worker {
    Worker {
        instance: instance.to_owned(),
        slots: 10,
        steps,
        read_paths: vec![ReadPath::Storage as i32],
        target_kinds: vec![TargetKind::Ordinary as i32],
        engine: Engine::BuiltIn as i32,
        ..Worker::default()
    }
}
