//! A planned job in a store of memory, for tests of what happens in commits.

use mms_proto::scheduler::v1::{Engine, MigrationContent, TableDecision};
use mms_proto::types::v1::{ReadPath, TargetKind, TargetPolicy, VerificationLevel};
use mms_store::{Read, Store, Tx};

use crate::control;
use crate::error::{Result, SchedulerError};
use crate::lease::Holder;
use crate::plan;
use crate::record::{
    Counts, Intent, IntentUnit, Job, JobTable, PartitionValue, Spec, Target, TargetName, Task, Unit, Worker,
};
use crate::rollup::Moment;
use crate::store::{JOBS, JobKey, TASKS, TableKey, TaskKey, WORKERS, schema};

/// The job's key.
pub fn job_key() -> JobKey {
    ("lake".to_owned(), "j".to_owned())
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

/// A store with one job of one table with so many units, one task a unit, and two workers.
pub struct Fixture {
    pub store: Store,
    now_ms: i64,
}

impl Fixture {
    /// The store, planned.
    pub async fn new(units: usize) -> Self {
        Self::cut(units, 1).await
    }

    /// The same, with so many units in a task.
    pub async fn cut(units: usize, units_in_task: i32) -> Self {
        let store = Store::in_memory(schema()).expect("a store of memory");
        let fixture = Self { store, now_ms: 1_000 };
        let at = fixture.at();
        fixture.commit(move |tx| seed(tx, &at, units, units_in_task)).await.expect("planned");
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

    /// Leases tasks to a worker.
    pub async fn lease(&self, id: &str, max: usize) -> Vec<crate::lease::Granted> {
        let (at, holder) = (self.at(), holder(id));
        self.commit(move |tx| crate::lease::grant(tx, &at, &holder, max)).await.expect("a registered worker")
    }

    /// Sends a report; whether it was taken.
    pub async fn report(&self, number: u32, id: &str, epoch: crate::lease::Epoch, event: crate::report::Event) -> bool {
        let (at, holder) = (self.at(), holder(id));
        let taken =
            self.commit(move |tx| crate::report::take(tx, &at, &task_key(number), &holder, epoch, Some(event), &[]));
        taken.await.expect("the store works")
    }
}

fn seed(tx: &mut Tx<'_>, at: &Moment, units: usize, units_in_task: i32) -> Result<()> {
    let spec = Spec {
        content: MigrationContent::SchemaAndData as i32,
        verification_level: VerificationLevel::RowCount as i32,
        max_attempts: 3,
        target_policy: TargetPolicy::Replace as i32,
        ..Spec::default()
    };
    let job = Job {
        uid: "uid".to_owned(),
        spec,
        create_time_ms: at.now_ms,
        max_concurrent_tasks: 100,
        max_partitions_per_task: units_in_task,
        max_bytes_per_task: 1 << 30,
        counts: Counts::default(),
        ..Job::default()
    };
    control::create(tx, &job_key(), job)?;
    let chosen = JobTable { decision: TableDecision::Move as i32, ..JobTable::default() };
    plan::list(tx, &job_key(), "uid", vec![("s".to_owned(), "t".to_owned(), chosen.clone())], |_| {})?;
    let planned = JobTable {
        target: Some(Target { name: Some(target()), kind: TargetKind::Ordinary as i32, ..Target::default() }),
        ..chosen
    };
    let unit = |index: usize| Unit {
        number: u32::try_from(index).expect("small"),
        partition: partition(index),
        source_bytes: 10,
        source_rows: Some(7),
        ..Unit::default()
    };
    let key: TableKey = ("lake".to_owned(), "j".to_owned(), "s".to_owned(), "t".to_owned());
    plan::table(tx, at, &key, "uid", planned, (0..units).map(unit).collect())?;
    plan::finish(tx, at, &job_key(), "uid")?;
    for id in ["a", "b"] {
        tx.put(&WORKERS, &id.to_owned(), &able(&holder(id).instance, vec![1, 2, 3]))?;
    }
    tx.put(&WORKERS, &"ddl".to_owned(), &able("ddl-1", vec![1]))?;
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
