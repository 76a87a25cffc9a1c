//! SCHEMA: the target table, if this task makes it, and the partitions of its units. Every statement can be repeated.

use mms_mapping::{ExistingTable, TargetAction, TargetPolicy, target_action};
use mms_maxcompute::ddl;
use mms_maxcompute::metadata::TableInfo;
use mms_maxcompute::name::SchemaName;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1 as types;
use uuid::Uuid;

use crate::error::{Result, TransferError};
use crate::run::{Run, Target};

/// The table property that names the job which made a table, so that REPLACE replaces once a job and not once a task.
const JOB_PROPERTY: &str = "mms.job";

/// Makes what is missing. Answers with the step's report and lines for the log.
pub async fn run(run: &Run, target: &Target) -> Result<(pb::StepDone, Vec<String>)> {
    let mut lines = Vec::new();
    if run.spec.makes_table {
        lines.push(make_table(run, target).await?);
    }
    let partitions = target.partitions(&run.spec.units)?;
    for sql in ddl::add_partitions(&target.definition.target, &partitions) {
        target.run(sql, Uuid::new_v4()).await?;
    }
    if !partitions.is_empty() {
        lines.push(format!("{} partitions are there", partitions.len()));
    }
    Ok((pb::StepDone { step: pb::TaskStep::Schema as i32, ..pb::StepDone::default() }, lines))
}

async fn make_table(run: &Run, target: &Target) -> Result<String> {
    let definition = &target.definition;
    if let Some(schema) = &definition.target.schema {
        make_schema(target, schema).await?;
    }
    let found = target.project.table(&definition.target).await?;
    if found.as_ref().is_some_and(|table| table.is_view) {
        return Err(conflict(target, "a view of that name is there".to_owned()));
    }
    let policy = match run.spec.target_policy() {
        types::TargetPolicy::Replace => TargetPolicy::Replace,
        types::TargetPolicy::FailIfExists => TargetPolicy::FailIfExists,
        _ => TargetPolicy::CreateOrOwn,
    };
    let made_by_us = found.as_ref().is_some_and(|t| t.properties.get(JOB_PROPERTY) == Some(&run.spec.job_uid));
    // An earlier attempt of this very job made it: then it is as it must be, whatever the policy says of foreign tables.
    let policy = if made_by_us { TargetPolicy::CreateOrOwn } else { policy };
    match target_action(policy, found.as_ref().map(existing).as_ref(), definition) {
        TargetAction::UseOwn => Ok(format!("{} is there and ours", definition.target)),
        TargetAction::Create => create(run, target, false).await,
        TargetAction::Recreate => create(run, target, true).await,
        TargetAction::Refuse(differences) => {
            let all: Vec<String> = differences.iter().map(ToString::to_string).collect();
            Err(conflict(target, all.join("; ")))
        }
    }
}

fn conflict(target: &Target, differences: String) -> TransferError {
    TransferError::Conflict { target: target.definition.target.to_string(), differences }
}

async fn make_schema(target: &Target, schema: &SchemaName) -> Result<()> {
    let project = &target.definition.target.project;
    if !target.project.schema_exists(project, schema).await?
        && let Err(error) = target.project.create_schema(project, schema).await
    {
        // Another task may have made it between the two calls.
        if !target.project.schema_exists(project, schema).await? {
            return Err(error.into());
        }
    }
    Ok(())
}

async fn create(run: &Run, target: &Target, replace: bool) -> Result<String> {
    let mut definition = target.definition.clone();
    definition.properties.insert(JOB_PROPERTY.to_owned(), run.spec.job_uid.clone());
    if replace {
        target.run(ddl::drop_table(&definition.target), Uuid::new_v4()).await?;
    }
    target.run(ddl::create_table(&definition), Uuid::new_v4()).await?;
    let how = if replace { "dropped and made anew" } else { "made" };
    Ok(format!("{} {how}", definition.target))
}

fn existing(table: &TableInfo) -> ExistingTable {
    ExistingTable {
        kind: table.kind(),
        columns: table.columns.clone(),
        partition_columns: table.partition_columns.clone(),
        primary_key: table.primary_key.clone(),
        properties: table.properties.clone(),
    }
}
