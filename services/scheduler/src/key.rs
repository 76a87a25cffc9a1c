//! From keys of the store to resource names and back. The one place that knows both.

use mms_proto::name::{
    DataSourceName, JobName, JobTableName, PartitionId, ResourceId, SchemaName, SourceId, TableName, TaskName,
};

use crate::error::{Result, SchedulerError};
use crate::record::{PartitionValue, TargetName};
use crate::store::{JobKey, TableKey, TaskKey, UnitKey};

/// Task ids are their numbers, padded so that they sort as text.
fn task_id(number: u32) -> String {
    format!("t{number:06}")
}

/// The name of a job.
pub fn job_name(key: &JobKey) -> String {
    format!("dataSources/{}/jobs/{}", key.0, key.1)
}

/// The key of a job.
pub fn job_key(name: &JobName) -> JobKey {
    (name.parent().id().as_str().to_owned(), name.id().as_str().to_owned())
}

/// The name of a task.
pub fn task_name(key: &TaskKey) -> String {
    format!("dataSources/{}/jobs/{}/tasks/{}", key.0, key.1, task_id(key.2))
}

/// The key of a task. An id that is no number of ours names nothing.
pub fn task_key(name: &TaskName) -> Result<TaskKey> {
    let id = name.id().as_str();
    let number = id.strip_prefix('t').and_then(|digits| digits.parse().ok()).filter(|n| task_id(*n) == id);
    let number = number.ok_or_else(|| SchedulerError::NotFound(name.to_string()))?;
    let (source, job) = job_key(name.parent());
    Ok((source, job, number))
}

/// The key of a task named in a message of a worker.
pub fn parse_task(name: &str) -> Result<TaskKey> {
    task_key(&name.parse::<TaskName>().map_err(|_| SchedulerError::NotFound(name.to_owned()))?)
}

/// The key of the job of `dataSources/*/jobs/*/tasks/-`.
pub fn job_of_tasks(parent: &str) -> Result<JobKey> {
    let job = parent.strip_suffix("/tasks/-").unwrap_or(parent);
    let name: JobName = job.parse().map_err(|_| SchedulerError::NotFound(job.to_owned()))?;
    Ok(job_key(&name))
}

/// The job a task belongs to.
pub fn job_of(key: &TaskKey) -> JobKey {
    (key.0.clone(), key.1.clone())
}

/// The name of a source table.
pub fn table_name(source: &str, schema: &str, table: &str) -> Result<String> {
    let bad = |error: String| SchedulerError::NotFound(error);
    let source = DataSourceName::new(ResourceId::new(source).map_err(bad)?);
    let schema = SchemaName::new(source, SourceId::new(schema).map_err(bad)?);
    Ok(TableName::new(schema, SourceId::new(table).map_err(bad)?).to_string())
}

/// The name of a source table as a job has it.
pub fn job_table_name(key: &TableKey) -> Result<String> {
    let table = table_name(&key.0, &key.2, &key.3)?;
    let below = table.split('/').skip(2).collect::<Vec<_>>().join("/");
    Ok(format!("{}/{below}", job_name(&(key.0.clone(), key.1.clone()))))
}

/// The key of a source table as a job has it.
pub fn job_table_key(name: &JobTableName) -> TableKey {
    let (source, job) = job_key(name.parent().parent());
    (source, job, name.parent().id().as_str().to_owned(), name.id().as_str().to_owned())
}

/// The table record that a task belongs to.
pub fn table_of(key: &TaskKey, task: &crate::record::Task) -> TableKey {
    (key.0.clone(), key.1.clone(), task.schema.clone(), task.table.clone())
}

/// The text of a target partition, one spelling for one partition; empty for an unpartitioned table.
pub fn partition_text(partition: &[PartitionValue]) -> String {
    let levels = partition.iter().map(|level| (level.column.to_lowercase(), level.value.clone())).collect();
    PartitionId::new(levels).map_or_else(|_| String::new(), |id| id.to_string())
}

/// The key of a target unit.
pub fn unit_key(target: &TargetName, partition: &[PartitionValue]) -> UnitKey {
    (target.key(), partition_text(partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_one_name() {
        let key: TaskKey = ("lake".into(), "j1".into(), 42);
        assert_eq!(task_name(&key), "dataSources/lake/jobs/j1/tasks/t000042");
        assert_eq!(parse_task(&task_name(&key)).unwrap(), key);
        assert!(parse_task("dataSources/lake/jobs/j1/tasks/t42").is_err());
    }

    #[test]
    fn a_table_of_a_job_has_one_name() {
        let key: TableKey = ("lake".into(), "j1".into(), "a b".into(), "t/1".into());
        let name = job_table_name(&key).unwrap();
        assert_eq!(name, "dataSources/lake/jobs/j1/schemas/a%20b/tables/t%2F1");
        assert_eq!(job_table_key(&name.parse().unwrap()), key);
    }
}
