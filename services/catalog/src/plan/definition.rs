//! Converts between the mapping's model and the contract: builds the source table that is mapped, and the target definition from
//! the result.

use std::collections::BTreeMap;

use mms_databricks::TableInfo;
use mms_delta::{ColumnMapping, Snapshot, TableTotals};
use mms_mapping::{ColumnRole, MappingError, OWNER_PROPERTY, SourceTable, TablePlan, parse_schema};
use mms_maxcompute::table::{TableDefinition, TableKind};
use mms_maxcompute::{ddl, quote};
use mms_proto::types::v1 as pb;

use crate::scan::facts;
use crate::store::TableKey;

/// The source at the pinned version. Its schema comes from the Delta log, not from the workspace.
pub fn source_table(
    key: &TableKey,
    info: &TableInfo,
    snapshot: &Snapshot,
    totals: &TableTotals,
) -> Result<SourceTable, MappingError> {
    let mut nulls: BTreeMap<String, bool> =
        snapshot.partition_columns().iter().map(|column| (column.clone(), false)).collect();
    let partitions = totals.partitions();
    for (column, value) in partitions.iter().flat_map(|(_, partition)| &partition.values) {
        if value.as_deref().is_none_or(str::is_empty)
            && let Some(has_null) = nulls.get_mut(column)
        {
            *has_null = true;
        }
    }
    Ok(SourceTable {
        schema: key.1.clone(),
        table: key.2.clone(),
        comment: info.comment.clone(),
        columns: parse_schema(snapshot.schema_json())?,
        partition_columns: snapshot.partition_columns().to_vec(),
        primary_key: facts::primary_key(info),
        properties: snapshot.properties(),
        partition_nulls: nulls,
        partition_count: Some(partitions.len() as u64),
    })
}

/// What a reader must know of the pinned version to read its files.
pub fn delta(snapshot: &Snapshot) -> pb::DeltaTable {
    let text = snapshot.shape().text();
    let column_mapping = match text.column_mapping {
        ColumnMapping::None => pb::ColumnMappingMode::None,
        ColumnMapping::Name => pb::ColumnMappingMode::Name,
        ColumnMapping::Id => pb::ColumnMappingMode::Id,
    };
    pb::DeltaTable {
        schema_json: text.schema,
        column_mapping: column_mapping as i32,
        partition_columns: text.partition_columns,
        reader_features: snapshot.reader_features(),
    }
}

/// The target as the contract describes it, with the SQL that creates it.
pub fn target(definition: &TableDefinition, plan: &TablePlan) -> pb::TargetDefinition {
    let table = &definition.target;
    let kind = match definition.kind {
        TableKind::Ordinary => pb::TargetKind::Ordinary,
        TableKind::AppendDelta => pb::TargetKind::AppendDelta,
        TableKind::PkDelta => pb::TargetKind::PkDelta,
    };
    pb::TargetDefinition {
        table: Some(pb::TargetTable {
            project: table.project.to_string(),
            schema: table.schema.as_ref().map(ToString::to_string).unwrap_or_default(),
            table: table.table.to_string(),
        }),
        kind: kind as i32,
        columns: columns(definition, plan),
        create_sql: ddl::create_table(definition),
        create_schema_sql: table.schema.as_ref().map_or_else(String::new, |schema| {
            let (project, schema) = (quote::identifier(table.project.as_str()), quote::identifier(schema.as_str()));
            format!("CREATE SCHEMA IF NOT EXISTS {project}.{schema};")
        }),
        primary_key: definition.primary_key.iter().map(ToString::to_string).collect(),
        ownership: definition.properties.get(OWNER_PROPERTY).cloned().unwrap_or_default(),
        comment: definition.comment.clone().unwrap_or_default(),
        lifecycle_days: definition.lifecycle_days.map_or(0, |days| i32::try_from(days).unwrap_or(i32::MAX)),
    }
}

/// Ordinary columns in the target's order, then partition columns by level.
fn columns(definition: &TableDefinition, plan: &TablePlan) -> Vec<pb::ColumnMapping> {
    let targets = definition.columns.iter().map(|column| (column, pb::ColumnRole::Data));
    let levels = definition.partition_columns.iter().map(|column| (column, pb::ColumnRole::Partition));
    let mapping = |(target, role): (&mms_maxcompute::table::Column, pb::ColumnRole)| {
        let source = plan.columns.iter().find(|column| {
            matches!(column.role, ColumnRole::Data) == (role == pb::ColumnRole::Data)
                && column.target == target.name.as_str()
        });
        pb::ColumnMapping {
            source_column: source.map(|column| column.source.clone()).unwrap_or_default(),
            source_type: source.map(|column| column.source_type.to_string()).unwrap_or_default(),
            target_column: target.name.to_string(),
            target_type: target.data_type.to_string(),
            role: role as i32,
            nullable: target.nullable,
            comment: target.comment.clone().unwrap_or_default(),
        }
    };
    targets.chain(levels).map(mapping).collect()
}
