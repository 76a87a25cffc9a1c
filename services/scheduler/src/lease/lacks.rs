//! Says what a worker lacks for a task, and why no task of a job is leased. Reads only.

use std::collections::BTreeSet;

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::{Engine, TaskRole};
use mms_store::{Read, Scope};

use super::dispatch::{self, Ready};
use super::room::Full;
use crate::error::Result;
use crate::key::JobKey;
use crate::name;
use crate::record::{Job, JobTable, Reason, Step, Task, Worker};
use crate::store::{JOB_TABLES, LEASED_TASKS, READY_TASKS, TASKS, WORKERS};
use crate::window;

/// The most workers that are examined.
const WORKERS_MAX: usize = 1_000;

/// Returns what a worker lacks for a task, in words. Empty if it can do the task.
pub fn of(worker: &Worker, task: &Task, table: &JobTable) -> Vec<String> {
    let mut lacks = Vec::new();
    // The scheduler creates SINGLE tasks only.
    if !(worker.roles.is_empty() || worker.roles.contains(&TaskRole::Single.into())) {
        lacks.push("role SINGLE".to_owned());
    }
    if worker.engine != Engine::BuiltIn {
        lacks.push("engine BUILT_IN".to_owned());
    }
    let steps = task.planned().steps.iter().filter(|step| !worker.steps.contains(step));
    lacks.extend(steps.map(|step| format!("step {:?}", **step)));
    if !task.steps().contains(&Step::Data) {
        return lacks;
    }
    let path = table.plan.path();
    if !worker.read_paths.contains(&path.into()) {
        lacks.push(format!("read path {}", path.as_str_name().trim_start_matches("READ_PATH_")));
    }
    let kind = table.plan.target.as_ref().map(|target| target.kind).unwrap_or_default();
    if !worker.target_kinds.contains(&kind) {
        lacks.push(format!("target kind {:?}", *kind));
    }
    let features = table.plan.delta.iter().flat_map(|delta| &delta.reader_features);
    let features = features.filter(|feature| !worker.reader_features.contains(feature));
    lacks.extend(features.map(|feature| format!("reader feature {feature}")));
    lacks
}

/// Returns why no task of a job is leased although it has some: its windows are closed, a bound is reached, or no
/// worker can do its next task. None if there is no such reason.
pub fn everywhere(read: &impl Read, now_ms: i64, key: &JobKey, job: &Job) -> Result<Option<Reason>> {
    if !job.dispatches() || !read.index_keys(&TASKS, &LEASED_TASKS, &Scope::prefix(key), None, 1)?.items.is_empty() {
        return Ok(None);
    }
    if let Some(closed) = window::waits(job, now_ms) {
        return Ok(Some(closed));
    }
    let Some((task_key, task)) = read.index_page(&TASKS, &READY_TASKS, &Scope::prefix(key), None, 1)?.items.pop()
    else {
        return Ok(None);
    };
    let planned = task.planned();
    let running = dispatch::running(read, [&Ready::of(key.clone(), job)])?;
    if let Some(full) = running.full(&job.limits, key, &planned.schema, &planned.table) {
        return Ok(Some(held_back(full)));
    }
    let Some(table) = read.get(&JOB_TABLES, &task.table_key(key))? else { return Ok(None) };
    let workers = read.page(&WORKERS, &Scope::all(), None, WORKERS_MAX)?.items;
    let of_pool: Vec<_> = workers.iter().filter(|(_, worker)| worker.pool == job.spec().pool).collect();
    let lacking: Vec<Vec<String>> = of_pool.iter().map(|(_, worker)| of(worker, &task, &table)).collect();
    if lacking.iter().any(Vec::is_empty) {
        return Ok(None);
    }
    let pool =
        if job.spec().pool.is_empty() { "the default pool".to_owned() } else { format!("pool {}", job.spec().pool) };
    let text = if lacking.is_empty() {
        format!("no worker of {pool} is registered: start one, or name another pool in a new job")
    } else {
        let missing: BTreeSet<String> = lacking.into_iter().flatten().collect();
        let missing: Vec<String> = missing.into_iter().collect();
        let name = name::task_name(&task_key);
        format!("no worker of {pool} can do {name}: they lack {}; start one that has it", missing.join(", "))
    };
    Ok(Some(Reason::new(ErrorReason::NoWorker, text)))
}

/// The reason for a job that waits because a limit of running tasks is reached.
fn held_back(full: Full) -> Reason {
    let text = format!("as many tasks run as may run at once of {}: it goes on when one of them ends", full.text());
    Reason::new(ErrorReason::ConcurrencyReached, text)
}

#[cfg(test)]
mod tests {
    use mms_proto::types::v1::ReadPath;

    use super::*;
    use crate::error::SchedulerError;
    use crate::fixture::{Fixture, job_key, plan};
    use crate::record::TablePlan;

    #[tokio::test]
    async fn a_table_is_read_by_who_can_read_it_as_it_was_planned() {
        let fixture = Fixture::new(1).await;
        let found = fixture.store.read(|read| {
            let task = read.page(&TASKS, &Scope::all(), None, 1)?.items.pop();
            Ok::<_, SchedulerError>(task.zip(read.get(&WORKERS, &"a".to_owned())?))
        });
        let ((_, task), worker) = found.expect("readable").expect("a task and a worker");
        let lacks =
            |path: ReadPath| of(&worker, &task, &JobTable::new(TablePlan { read_path: path.into(), ..plan("d") }));
        assert_eq!(lacks(ReadPath::Storage), [""; 0]);
        assert_eq!(lacks(ReadPath::Unspecified), [""; 0], "planned before there was a choice");
        assert_eq!(lacks(ReadPath::Jdbc), ["read path JDBC"]);
    }

    #[tokio::test]
    async fn a_job_that_nobody_can_do_says_what_is_missing() {
        let fixture = Fixture::new(1).await;
        let missing = |fixture: &Fixture| {
            let job = fixture.job();
            fixture.store.read(|read| everywhere(read, fixture.at().now_ms, &job_key(), &job)).expect("readable")
        };
        assert_eq!(missing(&fixture), None, "two workers can");
        fixture
            .commit(|tx| Ok(["a", "b"].iter().try_for_each(|id| tx.delete(&WORKERS, &(*id).to_owned()).map(drop))?))
            .await
            .expect("gone");
        let said = missing(&fixture).expect("it waits");
        assert_eq!(said.reason, ErrorReason::NoWorker);
        for lack in ["step Data", "step Verification", "role SINGLE"] {
            assert!(said.message.contains(lack), "{}", said.message);
        }
        fixture
            .commit(|tx| {
                Ok(["ddl", "part"].iter().try_for_each(|id| tx.delete(&WORKERS, &(*id).to_owned()).map(drop))?)
            })
            .await
            .expect("gone");
        let said = missing(&fixture).expect("it waits");
        assert!(said.message.contains("no worker of the default pool is registered"), "{}", said.message);
    }
}
