//! Keeps a task's table, its job and the notices to the catalog consistent with the task, in the same commit. Every
//! change of a task goes through [`save`], or through a [`Roll`] if several tasks of one table change together.

use mms_proto::ErrorReason;
use mms_store::{Read, Tx};

use super::{followers, stored};
use crate::commit::handed;
use crate::error::Result;
use crate::key::{TableKey, TaskKey};
use crate::moment::Moment;
use crate::name;
use crate::record::{Job, JobEvent, JobState, JobTable, Reason, TableEvent, Target, Task, TaskDelta, TaskState, flip};
use crate::report::notice;
use crate::store::{JOB_TABLES, JOBS, TASKS};

/// Stores a changed task, with all that follows for its table and job. `before` is the task as stored.
pub fn save(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, before: &Task, after: Task) -> Result<()> {
    let mut roll = Roll::open(tx, &after.table_key(&key.job))?;
    roll.take(tx, at, key, before, after)?;
    roll.close(tx)
}

/// As [`save`], for a task that has looked at its whole table.
pub fn save_looked(
    tx: &mut Tx<'_>,
    at: &Moment,
    key: &TaskKey,
    before: &Task,
    after: Task,
    looked: TableEvent,
) -> Result<()> {
    let mut roll = Roll::open(tx, &after.table_key(&key.job))?;
    roll.looked = Some(looked);
    roll.take(tx, at, key, before, after)?;
    roll.close(tx)
}

/// The reason of a task that failed because `maker` could not make its table. It refers to that task's reason and does
/// not copy it.
pub fn because_of(maker: &TaskKey, task: &Task) -> Reason {
    let reason = task.reason.as_ref().map_or(ErrorReason::TargetFailed, |reason| *reason.reason);
    Reason::new(reason, format!("{} could not make the table: see its reason", name::task_name(maker)))
}

/// A table and its job while tasks of the table change: read once, written once.
pub struct Roll {
    key: TableKey,
    table: Option<JobTable>,
    job: Option<Job>,
    /// The job's state when it was read.
    stood: Option<JobState>,
    /// What the task that changes next has seen of the whole table.
    looked: Option<TableEvent>,
}

impl Roll {
    /// Reads the table and its job.
    pub fn open(tx: &Tx<'_>, key: &TableKey) -> Result<Self> {
        let (table, job) = (tx.get(&JOB_TABLES, key)?, tx.get(&JOBS, &key.job)?);
        let stood = job.as_ref().map(|job| *job.state);
        Ok(Self { table, job, stood, key: key.clone(), looked: None })
    }

    /// Whether a task is of this table.
    pub fn is_of(&self, key: &TaskKey, task: &Task) -> bool {
        task.table_key(&key.job) == self.key
    }

    /// The table with the changes so far.
    pub fn table(&self) -> Option<&JobTable> {
        self.table.as_ref()
    }

    /// The target of the table.
    pub fn target(&self) -> Option<&Target> {
        self.table.as_ref().and_then(|table| table.plan.target.as_ref())
    }

    /// About how many bytes [`close`](Self::close) writes.
    pub fn weight(&self) -> usize {
        self.table.as_ref().map_or(0, prost::Message::encoded_len)
    }

    /// Stores a changed task of the table, and applies the change to table and job.
    pub fn take(&mut self, tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, before: &Task, mut after: Task) -> Result<()> {
        after.stored_in(tx.revision());
        let delta = TaskDelta::between(before, &after);
        let (mut tables_done, mut tables_failed) = (0, 0);
        if let Some(table) = &mut self.table {
            let (was, had) = (table.is_done(), table.tasks_failed > 0);
            table.apply(at, TableEvent::TaskChanged(delta.clone()))?;
            // After the task's own rows were added, because the LOOK step has counted them too.
            if let Some(looked) = self.looked.take() {
                table.apply(at, looked)?;
            }
            (tables_done, tables_failed) = (flip(was, table.is_done()), flip(had, table.tasks_failed > 0));
            let content = self.job.as_ref().map(|job| *job.spec().content);
            notice::leave(tx, at, key, content, table, &after, (before.told(), after.told()))?;
        }
        if let Some(job) = &mut self.job {
            stored::apply(at, &key.job, job, JobEvent::TaskChanged { delta, tables_done, tables_failed })?;
        }
        tx.put(&TASKS, key, &after)?;
        if before.leased() != after.leased()
            && let Some(name) = self.target().and_then(|target| target.name.as_ref())
        {
            handed::note(tx, at, name)?;
        }
        let makes_table = after.planned().makes_table;
        let made = !before.state.table_made() && after.state.table_made();
        let failed = before.state != TaskState::SchemaFailed && after.state == TaskState::SchemaFailed;
        if makes_table && (made || failed) {
            let whole = followers::tell(self, tx, at, (key, &after), 0)?.is_none();
            self.untold(at, !whole)?;
        }
        Ok(())
    }

    /// Notes whether tasks of the table are still to be told the outcome of the task that makes it.
    pub fn untold(&mut self, at: &Moment, untold: bool) -> Result<()> {
        if let Some(table) = self.table.as_mut().filter(|table| table.untold != untold) {
            table.apply(at, TableEvent::Untold(untold))?;
        }
        Ok(())
    }

    /// Stores table and job.
    pub fn close(self, tx: &mut Tx<'_>) -> Result<()> {
        if let Some(mut table) = self.table {
            table.stored_in(tx.revision());
            tx.put(&JOB_TABLES, &self.key, &table)?;
        }
        if let Some(job) = self.job {
            stored::keep(tx, &self.key.job, self.stood, job)?;
        }
        Ok(())
    }
}
