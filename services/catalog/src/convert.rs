//! Converts between this service's records and the messages of the contract. Must never decide anything.

use mms_proto::catalog::v1 as pb;
use mms_proto::time::{millis, timestamp};
use mms_proto::types::v1 as types;
use mms_proto::uid::derived;
use types::source_version::Version as Which;

use crate::error::Result;
use crate::key;
use crate::record::{
    Counts, Migrated, Partition, Progress, Scan, ScanState, Schema, Summary, Table, TableFacts, Target, Version,
};
use crate::rollup;
use crate::status::State;
use crate::store::{PartitionKey, ScanKey, SchemaKey, TableKey};

/// The contract's version of the table with this Delta table id.
pub fn version_to(version: &Version, table_id: &str) -> types::SourceVersion {
    let commit_time = version.commit_time_ms.and_then(timestamp);
    let delta = types::DeltaVersion { version: version.number, commit_time, table_id: table_id.to_owned() };
    types::SourceVersion { version: Some(Which::Delta(delta)) }
}

/// The Delta version that was migrated, and its target; None for a version of another kind.
pub fn migrated_from(version: &types::SourceVersion, target: Option<types::TargetTable>) -> Option<Migrated> {
    match &version.version {
        Some(Which::Delta(delta)) => Some(Migrated {
            number: delta.version,
            commit_time_ms: delta.commit_time.map(|time| millis(Some(time))),
            table_id: delta.table_id.clone(),
            target: target.map(|target| target_from(Some(target))),
        }),
        _ => None,
    }
}

fn migrated_to(migrated: &Migrated) -> types::SourceVersion {
    let version = Version { number: migrated.number, commit_time_ms: migrated.commit_time_ms };
    version_to(&version, &migrated.table_id)
}

fn counts_to(counts: &Counts) -> types::StateCounts {
    types::StateCounts {
        total: counts.total(),
        init: counts.init,
        doing: counts.doing,
        done: counts.done,
        failed: counts.failed,
        part_done: counts.part_done,
    }
}

/// `source_uid` is the uid of the schema's data source.
pub fn schema_to(source_uid: &str, key: &SchemaKey, schema: Schema) -> Result<pb::Schema> {
    Ok(pb::Schema {
        name: key::schema_name(key)?.to_string(),
        uid: derived(&[source_uid, "schema", &key.1]),
        source_name: key.1.clone(),
        etag: schema.revision.to_string(),
        comment: schema.comment,
        owner: schema.owner,
        location: String::new(),
        scan_time: timestamp(schema.scan_time_ms),
        delete_time: timestamp(schema.delete_time_ms),
        scan_error: schema.scan_error,
        target_project: schema.target_project,
        target_schema: schema.target_schema,
        state: schema.tables.rolled_up() as i32,
        tables: Some(counts_to(&schema.tables)),
        partitions: Some(counts_to(&schema.partitions)),
        size_bytes: schema.size_bytes,
        row_count: schema.row_count,
    })
}

/// The contract's target; None when all parts are empty.
fn target_to(target: Target) -> Option<types::TargetTable> {
    let Target { project, schema, table } = target;
    let set = !(project.is_empty() && schema.is_empty() && table.is_empty());
    set.then_some(types::TargetTable { project, schema, table })
}

/// The record of a target; all parts empty when it is unset.
pub fn target_from(target: Option<types::TargetTable>) -> Target {
    target.map(|types::TargetTable { project, schema, table }| Target { project, schema, table }).unwrap_or_default()
}

/// The uid of a table, derived from its data source, its names and the workspace's table id.
fn table_uid(source_uid: &str, schema: &str, table: &str, source_id: &str) -> String {
    derived(&[source_uid, "table", schema, table, source_id])
}

/// All fields, as in view FULL. `source_uid` is the uid of the table's data source.
pub fn table_to(source_uid: &str, key: &TableKey, table: Table) -> Result<pb::Table> {
    let changed = rollup::table_changed(&table);
    let facts = table.facts;
    let column = |column: crate::record::Column| pb::Column {
        name: column.name,
        r#type: column.type_text,
        nullable: column.nullable,
        comment: column.comment,
        partition_index: column.partition_index,
    };
    Ok(pb::Table {
        name: key::table_name(key)?.to_string(),
        uid: table_uid(source_uid, &key.1, &key.2, &facts.source_id),
        source_schema: key.1.clone(),
        source_name: key.2.clone(),
        source_id: facts.source_id,
        etag: table.revision.to_string(),
        kind: facts.kind,
        source_kind: facts.source_kind,
        source_format: facts.source_format,
        comment: facts.comment,
        owner: facts.owner,
        location: facts.location,
        columns: facts.columns.into_iter().map(column).collect(),
        partition_columns: facts.partition_columns,
        primary_key: facts.primary_key,
        properties: facts.properties.into_iter().collect(),
        reader_features: facts.reader_features,
        version: facts.version.as_ref().map(|version| version_to(version, &facts.delta_id)),
        size_bytes: facts.size_bytes,
        row_count: facts.row_count,
        source_update_time: timestamp(facts.update_time_ms),
        scan_time: timestamp(table.scan_time_ms),
        delete_time: timestamp(table.delete_time_ms),
        scan_error: table.scan_error,
        target: target_to(table.target),
        state: State::of(table.state) as i32,
        migrated_version: table.migrated.as_ref().map(migrated_to),
        migrated_target: table.migrated.and_then(|migrated| migrated.target).and_then(target_to),
        task: table.task,
        changed,
        partitions: Some(counts_to(&table.partitions)),
    })
}

/// Clears the fields that the view leaves out.
pub fn in_view(mut table: pb::Table, view: types::View) -> pb::Table {
    if view != types::View::Full {
        table.columns.clear();
        table.properties.clear();
    }
    table
}

/// `of` are the facts of the partition's table in the newest scan.
pub fn partition_to(
    source_uid: &str,
    key: &PartitionKey,
    partition: Partition,
    of: &TableFacts,
) -> Result<pb::Partition> {
    let name = key::partition_name(key)?;
    let value = |(column, value): &(String, Option<String>)| types::PartitionValue {
        column: column.clone(),
        value: value.clone().unwrap_or_default(),
        is_null: value.is_none(),
    };
    let changed = rollup::partition_changed(&partition, &of.delta_id);
    let table_uid = table_uid(source_uid, &key.1, &key.2, &of.source_id);
    Ok(pb::Partition {
        values: name.id().levels().iter().map(value).collect(),
        uid: derived(&[&table_uid, "partition", &name.id().to_string()]),
        name: name.to_string(),
        file_count: partition.file_count,
        size_bytes: partition.size_bytes,
        row_count: partition.row_count,
        // The reader of the log does not report the modification times of files.
        source_update_time: None,
        delete_time: timestamp(partition.delete_time_ms),
        state: State::of(partition.state) as i32,
        migrated_version: partition.migrated.as_ref().map(migrated_to),
        task: partition.task,
        changed,
    })
}

fn progress_to(progress: &Progress) -> pb::ScanProgress {
    pb::ScanProgress {
        schemas_found: progress.schemas_found,
        tables_found: progress.tables_found,
        tables_read: progress.tables_read,
        tables_failed: progress.tables_failed,
        partitions_found: progress.partitions_found,
        vanished: progress.vanished,
        listing_done: progress.listing_done,
        schemas_failed: progress.schemas_failed,
    }
}

/// The contract's message of a scan.
pub fn scan_to(key: &ScanKey, scan: Scan) -> pb::Scan {
    pb::Scan {
        name: key::scan_name(key),
        uid: scan.uid.clone(),
        state: ScanState::of(&scan) as i32,
        schemas: scan.schemas,
        tables: scan.tables.into_iter().map(|t| types::SourceTable { schema: t.schema, table: t.table }).collect(),
        error: scan.error,
        create_time: timestamp(scan.create_time_ms),
        start_time: timestamp(scan.start_time_ms),
        end_time: timestamp(scan.end_time_ms),
        progress: Some(progress_to(&scan.progress)),
    }
}

/// The contract's message of a data source's counters.
pub fn summary_to(summary: Summary) -> pb::SourceSummary {
    pb::SourceSummary {
        schemas: Some(counts_to(&summary.schemas)),
        tables: Some(counts_to(&summary.tables)),
        partitions: Some(counts_to(&summary.partitions)),
        size_bytes: summary.size_bytes,
        row_count: summary.row_count,
        last_scan: summary.last_scan,
        last_scan_time: timestamp(summary.last_scan_time_ms),
    }
}
