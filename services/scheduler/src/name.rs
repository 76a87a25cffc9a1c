//! Converts keys of the store to resource names and back. The only place that knows both.

use mms_proto::name::{
    DataSourceName, JobName, JobTableName, ResourceId, RunName, SchemaName, SourceId, TableName, TaskName, TimerName,
};

use crate::error::{Result, SchedulerError};
use crate::key::{JobKey, RunKey, TableKey, TaskKey, TimerKey};

/// A task's id: its number, padded so that ids sort as text.
fn task_id(number: u32) -> String {
    format!("t{number:06}")
}

pub fn job_name(key: &JobKey) -> String {
    format!("dataSources/{}/jobs/{}", key.data_source, key.job)
}

pub fn job_key(name: &JobName) -> JobKey {
    JobKey { data_source: name.parent().id().as_str().to_owned(), job: name.id().as_str().to_owned() }
}

pub fn task_name(key: &TaskKey) -> String {
    format!("{}/tasks/{}", job_name(&key.job), task_id(key.number))
}

/// The key of a task. An id that is not the text of a number is not found.
pub fn task_key(name: &TaskName) -> Result<TaskKey> {
    let id = name.id().as_str();
    let number = id.strip_prefix('t').and_then(|digits| digits.parse().ok()).filter(|n| task_id(*n) == id);
    let number = number.ok_or_else(|| SchedulerError::NotFound(name.to_string()))?;
    Ok(TaskKey { job: job_key(name.parent()), number })
}

/// The key of a task that a worker names in a message.
pub fn parse_task(name: &str) -> Result<TaskKey> {
    task_key(&name.parse::<TaskName>().map_err(|_| SchedulerError::NotFound(name.to_owned()))?)
}

/// The key of the job in `dataSources/*/jobs/*/tasks/-` or `dataSources/*/jobs/*`.
pub fn job_of_tasks(parent: &str) -> Result<JobKey> {
    let job = parent.strip_suffix("/tasks/-").unwrap_or(parent);
    let name: JobName = job.parse().map_err(|_| SchedulerError::NotFound(job.to_owned()))?;
    Ok(job_key(&name))
}

/// The name of the source table, in the catalog, of a job's table.
pub fn source_table_name(key: &TableKey) -> Result<String> {
    let bad = |error: String| SchedulerError::NotFound(error);
    let source = DataSourceName::new(ResourceId::new(&*key.job.data_source).map_err(bad)?);
    let schema = SchemaName::new(source, SourceId::new(&*key.schema).map_err(bad)?);
    Ok(TableName::new(schema, SourceId::new(&*key.table).map_err(bad)?).to_string())
}

/// The name of a job's table.
pub fn job_table_name(key: &TableKey) -> Result<String> {
    let table = source_table_name(key)?;
    let below = table.split('/').skip(2).collect::<Vec<_>>().join("/");
    Ok(format!("{}/{below}", job_name(&key.job)))
}

/// The key of a job's table.
pub fn job_table_key(name: &JobTableName) -> TableKey {
    TableKey {
        job: job_key(name.parent().parent()),
        schema: name.parent().id().as_str().to_owned(),
        table: name.id().as_str().to_owned(),
    }
}

pub fn timer_name(key: &TimerKey) -> String {
    format!("dataSources/{}/timers/{}", key.data_source, key.timer)
}

pub fn timer_key(name: &TimerName) -> TimerKey {
    TimerKey { data_source: name.parent().id().as_str().to_owned(), timer: name.id().as_str().to_owned() }
}

/// A run's id: its number, padded so that ids sort as text. Eight digits are enough.
fn run_id(number: u64) -> String {
    format!("r{number:08}")
}

pub fn run_name(key: &RunKey) -> String {
    format!("{}/runs/{}", timer_name(&key.timer), run_id(key.number))
}

/// The key of a run. An id that is not the text of a number is not found.
pub fn run_key(name: &RunName) -> Result<RunKey> {
    let id = name.id().as_str();
    let number = id.strip_prefix('r').and_then(|digits| digits.parse().ok()).filter(|n| run_id(*n) == id);
    let number = number.ok_or_else(|| SchedulerError::NotFound(name.to_string()))?;
    Ok(RunKey { timer: timer_key(name.parent()), number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobKey {
        JobKey { data_source: "lake".into(), job: "j1".into() }
    }

    #[test]
    fn a_task_has_one_name() {
        let key = TaskKey { job: job(), number: 42 };
        assert_eq!(task_name(&key), "dataSources/lake/jobs/j1/tasks/t000042");
        assert_eq!(parse_task(&task_name(&key)).unwrap(), key);
        assert!(parse_task("dataSources/lake/jobs/j1/tasks/t42").is_err());
    }

    #[test]
    fn a_run_has_one_name() {
        let timer = TimerKey { data_source: "lake".into(), timer: "nightly".into() };
        let key = RunKey { timer, number: 42 };
        assert_eq!(run_name(&key), "dataSources/lake/timers/nightly/runs/r00000042");
        assert_eq!(run_key(&run_name(&key).parse().unwrap()).unwrap(), key);
        assert!(run_key(&"dataSources/lake/timers/nightly/runs/r42".parse().unwrap()).is_err());
    }

    #[test]
    fn a_table_of_a_job_has_one_name() {
        let key = TableKey { job: job(), schema: "a b".into(), table: "t/1".into() };
        let name = job_table_name(&key).unwrap();
        assert_eq!(name, "dataSources/lake/jobs/j1/schemas/a%20b/tables/t%2F1");
        assert_eq!(job_table_key(&name.parse().unwrap()), key);
    }
}
