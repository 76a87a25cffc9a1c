//! Converts plans, manifest files and their parts.

use mms_proto::time::{millis, timestamp};
use mms_proto::types::v1 as pb;
use mms_proto::types::v1::source_version::Version as PbVersion;

use super::number::told;
use crate::error::Result;
use crate::record;
use crate::record::Identity;

pub fn version_from(version: Option<pb::SourceVersion>) -> record::Version {
    match version.and_then(|version| version.version) {
        Some(PbVersion::Delta(delta)) => record::Version {
            delta: Some(delta.version),
            commit_time_ms: millis(delta.commit_time),
            table_id: delta.table_id,
        },
        _ => record::Version::default(),
    }
}

pub fn version_to(version: &record::Version) -> pb::SourceVersion {
    let version = match version.delta {
        Some(number) => PbVersion::Delta(pb::DeltaVersion {
            version: number,
            commit_time: timestamp(version.commit_time_ms),
            table_id: version.table_id.clone(),
        }),
        None => PbVersion::Unpinned(pb::Unpinned { plan_time: None }),
    };
    pb::SourceVersion { version: Some(version) }
}

pub fn target_name_from(name: pb::TargetTable) -> record::TargetName {
    record::TargetName { project: name.project, schema: name.schema, table: name.table }
}

pub fn target_name_to(name: &record::TargetName) -> pb::TargetTable {
    pb::TargetTable { project: name.project.clone(), schema: name.schema.clone(), table: name.table.clone() }
}

pub fn target_from(target: pb::TargetDefinition) -> Result<record::Target> {
    let column = |column: pb::ColumnMapping| record::Column {
        partition: column.role() == pb::ColumnRole::Partition,
        source_column: column.source_column,
        source_type: column.source_type,
        target_column: column.target_column,
        target_type: column.target_type,
        nullable: column.nullable,
        comment: column.comment,
    };
    Ok(record::Target {
        name: target.table.map(target_name_from),
        kind: told(target.kind)?,
        columns: target.columns.into_iter().map(column).collect(),
        create_sql: target.create_sql,
        create_schema_sql: target.create_schema_sql,
        primary_key: target.primary_key,
        ownership: target.ownership,
        comment: target.comment,
        lifecycle_days: target.lifecycle_days,
    })
}

pub fn target_to(target: &record::Target) -> pb::TargetDefinition {
    let column = |column: &record::Column| pb::ColumnMapping {
        source_column: column.source_column.clone(),
        source_type: column.source_type.clone(),
        target_column: column.target_column.clone(),
        target_type: column.target_type.clone(),
        role: if column.partition { pb::ColumnRole::Partition } else { pb::ColumnRole::Data } as i32,
        nullable: column.nullable,
        comment: column.comment.clone(),
    };
    pb::TargetDefinition {
        table: target.name.as_ref().map(target_name_to),
        kind: target.kind.number(),
        columns: target.columns.iter().map(column).collect(),
        create_sql: target.create_sql.clone(),
        create_schema_sql: target.create_schema_sql.clone(),
        primary_key: target.primary_key.clone(),
        ownership: target.ownership.clone(),
        comment: target.comment.clone(),
        lifecycle_days: target.lifecycle_days,
    }
}

pub fn finding_from(finding: pb::Finding) -> Result<record::Finding> {
    Ok(record::Finding {
        severity: told(finding.severity)?,
        reason: told(finding.reason)?,
        column: finding.column,
        message: finding.message,
        remedy: finding.remedy,
    })
}

pub fn finding_to(finding: &record::Finding, table: &str) -> pb::Finding {
    pb::Finding {
        severity: finding.severity.number(),
        reason: finding.reason.number(),
        table: table.to_owned(),
        column: finding.column.clone(),
        message: finding.message.clone(),
        remedy: finding.remedy.clone(),
    }
}

pub fn value_from(value: pb::PartitionValue) -> record::PartitionValue {
    record::PartitionValue { column: value.column, value: (!value.is_null).then_some(value.value) }
}

/// A partition of the target whose source is gone.
pub fn gone_from(gone: mms_proto::catalog::v1::GonePartition) -> record::DroppedPartition {
    record::DroppedPartition { values: gone.values.into_iter().map(value_from).collect() }
}

pub fn dropped_to(gone: &record::DroppedPartition) -> mms_proto::scheduler::v1::DroppedPartition {
    mms_proto::scheduler::v1::DroppedPartition { values: gone.values.iter().map(value_to).collect() }
}

pub fn value_to(value: &record::PartitionValue) -> pb::PartitionValue {
    pb::PartitionValue {
        column: value.column.clone(),
        value: value.value.clone().unwrap_or_default(),
        is_null: value.value.is_none(),
    }
}

pub fn delta_from(table: pb::DeltaTable) -> Result<record::DeltaTable> {
    Ok(record::DeltaTable {
        schema_json: table.schema_json,
        column_mapping: told(table.column_mapping)?,
        partition_columns: table.partition_columns,
        reader_features: table.reader_features,
    })
}

pub fn delta_to(table: &record::DeltaTable) -> pb::DeltaTable {
    pb::DeltaTable {
        schema_json: table.schema_json.clone(),
        column_mapping: table.column_mapping.number(),
        partition_columns: table.partition_columns.clone(),
        reader_features: table.reader_features.clone(),
    }
}

pub fn file_from(file: pb::SourceFile) -> Result<record::SourceFile> {
    let deletion = |vector: pb::DeletionVector| {
        Ok::<_, crate::error::SchedulerError>(record::Deletion {
            storage: told(vector.storage)?,
            path_or_inline: vector.path_or_inline,
            offset: vector.offset,
            size_bytes: vector.size_bytes,
            cardinality: vector.cardinality,
        })
    };
    Ok(record::SourceFile {
        path: file.path,
        size_bytes: file.size_bytes,
        row_count: file.row_count,
        partition_values: file.partition_values.into_iter().map(value_from).collect(),
        deletion: file.deletion_vector.map(deletion).transpose()?,
        statistics: file.statistics.map(|told| record::FileStatistics {
            row_count: told.row_count,
            tight_bounds: told.tight_bounds,
            columns: told.columns.into_iter().map(column_from).collect(),
        }),
    })
}

fn column_from(told: pb::ColumnStatistics) -> record::ColumnStatistics {
    let pb::ColumnStatistics { path, null_count, min_value, max_value } = told;
    record::ColumnStatistics { path, null_count, min_value, max_value }
}

fn column_to(told: record::ColumnStatistics) -> pb::ColumnStatistics {
    let record::ColumnStatistics { path, null_count, min_value, max_value } = told;
    pb::ColumnStatistics { path, null_count, min_value, max_value }
}

pub fn file_to(file: record::SourceFile) -> pb::SourceFile {
    pb::SourceFile {
        path: file.path,
        size_bytes: file.size_bytes,
        row_count: file.row_count,
        partition_values: file.partition_values.iter().map(value_to).collect(),
        deletion_vector: file.deletion.map(|deletion| pb::DeletionVector {
            storage: deletion.storage.number(),
            path_or_inline: deletion.path_or_inline,
            offset: deletion.offset,
            size_bytes: deletion.size_bytes,
            cardinality: deletion.cardinality,
        }),
        statistics: file.statistics.map(|told| pb::FileStatistics {
            row_count: told.row_count,
            tight_bounds: told.tight_bounds,
            columns: told.columns.into_iter().map(column_to).collect(),
        }),
    }
}

/// What identifies a target table among all that ever had its name.
pub fn identity_from(identity: pb::TargetIdentity) -> Identity {
    Identity {
        table_id: identity.table_id,
        create_time_s: identity.create_time.map(|time| time.seconds),
        nonce: identity.nonce,
    }
}

/// The identity of a target table as the contract has it.
pub fn identity_to(identity: &Identity) -> pb::TargetIdentity {
    pb::TargetIdentity {
        table_id: identity.table_id.clone(),
        create_time: identity.create_time_s.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
        nonce: identity.nonce.clone(),
    }
}
