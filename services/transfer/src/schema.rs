//! SCHEMA: makes the target table, if this task is the one to do so, and the partitions of its units. Every statement can be
//! repeated except the drop of a table that is to be replaced, which is left to [`publish::drop_table`]. Also checks, for the
//! steps that write rows, that the table at the target is ours.

use mms_mapping::{
    Difference, ExistingTable, NONCE_PROPERTY, OWNER_PROPERTY, TargetAction, TargetPolicy, target_action,
};
use mms_maxcompute::ddl;
use mms_maxcompute::metadata::TableInfo;
use mms_maxcompute::name::SchemaName;
use mms_maxcompute::table::TableDefinition;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1 as types;
use mms_proto::types::v1::TargetIdentity;
use uuid::Uuid;

use crate::context::Run;
use crate::error::{Result, TransferError};
use crate::identity::{self, JOB_PROPERTY};
use crate::publish;
use crate::target::Target;

/// Makes what is missing. Returns the step's report and lines for the task's log.
pub async fn run(run: &Run, target: &Target) -> Result<(pb::StepDone, Vec<String>)> {
    let mut lines = Vec::new();
    let identity = if run.spec.makes_table {
        // Whoever made the table says which it is now; all others hold on to that one.
        let (line, identity) = make_table(run, target).await.inspect_err(|_| target.schemas.forget())?;
        lines.push(line);
        // The task that made the table reports its identity; all other tasks write only to that table.
        identity
    } else {
        check_ours(run, target, run.spec.identity.as_ref()).await?
    };
    let partitions = target.partitions(&run.spec.units)?;
    for sql in ddl::add_partitions(&target.definition.target, &partitions) {
        target.execute(sql).await?;
    }
    if !partitions.is_empty() {
        lines.push(format!("{} partitions are there", partitions.len()));
    }
    let step = pb::TaskStep::Schema as i32;
    Ok((pb::StepDone { step, identity: Some(identity), ..pb::StepDone::default() }, lines))
}

/// Makes the table, or takes over the one that is there, as the policy says. Returns a line for the log and the table's identity.
async fn make_table(run: &Run, target: &Target) -> Result<(String, TargetIdentity)> {
    if let Some(schema) = &target.definition.target.schema {
        make_schema(target, schema).await?;
    }
    // The scheduler knows no table of this name, so most likely there is none. CREATE IF NOT EXISTS changes nothing if there is one
    // after all, and saves the request that would tell.
    if run.spec.identity.is_none()
        && run.spec.target_policy() == types::TargetPolicy::CreateOrOwn
        && let Ok(Some(made)) = create_unseen(run, target).await
    {
        return Ok((format!("{} made", target.definition.target), made));
    }
    let (line, table) = found_or_made(run, target).await?;
    Ok((line, ours(run, target, None, Some(table))?))
}

/// Creates the table if none of its name exists. None if one did, of whatever kind.
async fn create_unseen(run: &Run, target: &Target) -> Result<Option<TargetIdentity>> {
    let definition = new_definition(run, target);
    target.execute(ddl::create_table(&definition)).await?;
    let marks = target.project.table_marks(&definition.target).await?;
    let nonce = definition.properties.get(NONCE_PROPERTY);
    Ok(marks.filter(|marks| marks.properties.get(NONCE_PROPERTY) == nonce).map(|marks| identity::of_marks(&marks)))
}

/// The planned definition with the marks of this job, and a nonce that no other table has.
fn new_definition(run: &Run, target: &Target) -> TableDefinition {
    let mut definition = target.definition.clone();
    definition.properties.insert(JOB_PROPERTY.to_owned(), run.spec.job_uid.clone());
    definition.properties.insert(NONCE_PROPERTY.to_owned(), Uuid::new_v4().to_string());
    definition
}

/// Reads the table that is there, if any, and creates, extends, adopts or replaces it as the policy says.
async fn found_or_made(run: &Run, target: &Target) -> Result<(String, TableInfo)> {
    let definition = &target.definition;
    let found = target.project.table(&definition.target).await?;
    let policy = match run.spec.target_policy() {
        types::TargetPolicy::Replace => TargetPolicy::Replace,
        types::TargetPolicy::FailIfExists => TargetPolicy::FailIfExists,
        types::TargetPolicy::Adopt => TargetPolicy::Adopt,
        types::TargetPolicy::CreateOrOwn | types::TargetPolicy::Unspecified => TargetPolicy::CreateOrOwn,
    };
    // If an earlier attempt of this very job made the table, it is as it must be, whatever the policy says of other tables.
    let policy =
        if found.as_ref().is_some_and(|table| made_by(run, table)) { TargetPolicy::CreateOrOwn } else { policy };
    match action(target, policy, found.as_ref())? {
        TargetAction::UseOwn => match found {
            Some(table) if table.properties.contains_key(NONCE_PROPERTY) => {
                Ok((format!("{} is there and ours", definition.target), table))
            }
            _ => mark(run, target, "was ours already").await,
        },
        TargetAction::Create => create(run, target, false).await,
        TargetAction::Recreate => create(run, target, true).await,
        TargetAction::Extend(columns) => {
            target.execute(ddl::add_columns(&definition.target, &columns)).await?;
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            mark(run, target, &format!("got the columns {}", names.join(", "))).await
        }
        TargetAction::Adopt(mark) => {
            let whose = mark.map_or("had no mark".to_owned(), |mark| format!("belonged to `{mark}`"));
            self::mark(run, target, &whose).await
        }
        TargetAction::Refuse(differences) => Err(different(target, &differences)),
    }
}

/// Whether this job made the table.
fn made_by(run: &Run, table: &TableInfo) -> bool {
    table.properties.get(JOB_PROPERTY) == Some(&run.spec.job_uid)
}

fn action(target: &Target, policy: TargetPolicy, found: Option<&TableInfo>) -> Result<TargetAction> {
    if found.is_some_and(|table| table.is_view) {
        return Err(conflict(target, "a view of that name is there".to_owned()));
    }
    Ok(target_action(policy, found.map(existing).as_ref(), &target.definition))
}

/// Checks that the table at the target is ours, as planned, and the wanted one rather than another of its name. Returns its
/// identity.
pub async fn check_ours(run: &Run, target: &Target, wanted: Option<&TargetIdentity>) -> Result<TargetIdentity> {
    ours(run, target, wanted, target.project.table(&target.definition.target).await?)
}

/// The same for a table that was read already.
fn ours(
    run: &Run,
    target: &Target,
    wanted: Option<&TargetIdentity>,
    found: Option<TableInfo>,
) -> Result<TargetIdentity> {
    let makes = run.spec.steps.contains(&(pb::TaskStep::Schema as i32));
    let Some(found) = found else {
        return Err(if makes {
            identity::gone(target, None)
        } else {
            conflict(target, "it does not exist, and this job does not make it".to_owned())
        });
    };
    let known = identity::of(&found);
    if makes && wanted.is_some_and(|wanted| !identity::same(wanted, &known)) {
        return Err(identity::gone(target, Some(known)));
    }
    match action(target, TargetPolicy::CreateOrOwn, Some(&found))? {
        TargetAction::Refuse(differences) => Err(different(target, &differences)),
        _ if run.spec.target_policy() == types::TargetPolicy::Replace && makes && !made_by(run, &found) => {
            let by = found.properties.get(JOB_PROPERTY).map_or("no job", String::as_str);
            Err(conflict(target, format!("it was made by {by} and not by this job, whose target policy is REPLACE")))
        }
        _ => Ok(known),
    }
}

fn different(target: &Target, differences: &[Difference]) -> TransferError {
    let all: Vec<String> = differences.iter().map(ToString::to_string).collect();
    conflict(target, all.join("; "))
}

fn conflict(target: &Target, differences: String) -> TransferError {
    TransferError::Conflict { target: target.definition.target.to_string(), differences }
}

async fn make_schema(target: &Target, schema: &SchemaName) -> Result<()> {
    let project = &target.definition.target.project;
    if target.schemas.knows(project, schema) {
        return Ok(());
    }
    if !target.project.schema_exists(project, schema).await?
        && let Err(error) = target.project.create_schema(project, schema).await
    {
        // Another task may have made it between the two calls.
        if !target.project.schema_exists(project, schema).await? {
            return Err(error.into());
        }
    }
    target.schemas.note(project, schema);
    Ok(())
}

/// Puts our marks on a table that is as planned; from then on other owners' tasks are rejected.
async fn mark(run: &Run, target: &Target, whose: &str) -> Result<(String, TableInfo)> {
    let (table, properties) = (&target.definition.target, &target.definition.properties);
    let ours = properties.get(OWNER_PROPERTY).map(String::as_str).unwrap_or_default();
    let nonce = Uuid::new_v4().to_string();
    let marks = [(OWNER_PROPERTY, ours), (JOB_PROPERTY, run.spec.job_uid.as_str()), (NONCE_PROPERTY, nonce.as_str())];
    target.execute(ddl::set_properties(table, &marks)).await?;
    let found = target.project.table(table).await?;
    match (action(target, TargetPolicy::CreateOrOwn, found.as_ref())?, found) {
        (TargetAction::UseOwn, Some(found)) => {
            Ok((format!("{table} was there, {whose}, and is marked as this job's"), found))
        }
        (TargetAction::Refuse(differences), _) => Err(different(target, &differences)),
        _ => Err(conflict(target, "somebody else dropped it at the same time".to_owned())),
    }
}

async fn create(run: &Run, target: &Target, replace: bool) -> Result<(String, TableInfo)> {
    let definition = new_definition(run, target);
    if replace {
        publish::drop_table(run, target).await?;
    }
    target.execute(ddl::create_table(&definition)).await?;
    // IF NOT EXISTS succeeds as well for a table that somebody else made in between.
    let found = target.project.table(&definition.target).await?;
    let made = found.as_ref().is_some_and(|table| made_by(run, table));
    let must_be_made =
        matches!(run.spec.target_policy(), types::TargetPolicy::Replace | types::TargetPolicy::FailIfExists);
    match (action(target, TargetPolicy::CreateOrOwn, found.as_ref())?, found) {
        (TargetAction::UseOwn, Some(found)) if made || !must_be_made => {
            let how = if replace { "dropped and made anew" } else { "made" };
            Ok((format!("{} {how}", definition.target), found))
        }
        (TargetAction::Refuse(differences), _) => Err(different(target, &differences)),
        _ => Err(conflict(target, "somebody else made or dropped it at the same time".to_owned())),
    }
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
