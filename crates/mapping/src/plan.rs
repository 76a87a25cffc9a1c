//! Plans a table: its definition at the target, the mapping of each column, and the findings. A plan has a definition exactly
//! when it has no blocker.

use std::collections::BTreeMap;

use mms_maxcompute::table::{Column, TableDefinition};
use mms_maxcompute::types::DataType;

use crate::PARTITION_LEVELS_MAX;
use crate::finding::{Finding, Reason, Severity};
use crate::names::{map_column_names, map_table_name};
use crate::partition::{PartitionLevel, PartitionMapping};
use crate::rules::{MappingRules, OWNER_PROPERTY, owner_of};
use crate::source::{SourceColumn, SourceTable, SparkType};
use crate::table_facts::{check_limits, find_column, fit_comment, kind_and_key, note_lost_features};
use crate::types::map_type;

/// The plan of a table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TablePlan {
    /// The table to create; `None` exactly if a finding is a blocker.
    pub definition: Option<TableDefinition>,
    /// The mapping of the partitions; `None` exactly if a finding is a blocker.
    pub partitions: Option<PartitionMapping>,
    /// The mapping of every source column, in source order.
    pub columns: Vec<ColumnMapping>,
    /// What the operator should know before the migration.
    pub findings: Vec<Finding>,
}

/// The mapping of one column.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ColumnMapping {
    /// The name at the source.
    pub source: String,
    /// The name at the target. It breaks the target's rules only if there is a blocker.
    pub target: String,
    /// The type at the source.
    pub source_type: SparkType,
    /// The type at the target; `None` if there is a blocker.
    pub target_type: Option<DataType>,
    /// The role at the target: data or partition column.
    pub role: ColumnRole,
    /// How the values are converted.
    pub conversion: ValueConversion,
}

/// The role of a column in the target table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ColumnRole {
    /// An ordinary column.
    Data,
    /// A partition column.
    Partition {
        /// The partition level, from 0, outermost first.
        level: usize,
    },
}

/// How the values of a column are converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ValueConversion {
    /// Not at all; nested fields keep their order and may get other names.
    Unchanged,
    /// A partition value as a plain integer.
    PartitionInteger,
    /// A partition value as canonical text, with its characters mapped.
    PartitionText,
}

impl TablePlan {
    /// The findings that prevent the migration.
    pub fn blockers(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Blocker)
    }
}

/// Plans a table.
///
/// The first six partition columns stay partition columns, in their order. All other columns become ordinary columns, in the
/// order of the source's schema: a partition column after the sixth keeps its position among them.
#[must_use]
pub fn plan_table(source: &SourceTable, rules: &MappingRules) -> TablePlan {
    let mut findings = Vec::new();
    let target = map_table_name(source, rules, &mut findings);
    let names = map_column_names(source, rules, &mut findings);
    let levels = partition_levels(source, &mut findings);

    let mut mappings = Vec::with_capacity(source.columns.len());
    let mut data_columns = Vec::new();
    let mut partition_columns = BTreeMap::new();
    for (column, (mapped, name)) in source.columns.iter().zip(names) {
        let level = levels.get(column.name.as_str()).copied();
        let (target_type, conversion) = match level {
            Some(_) => {
                let kept = name.as_ref().and_then(|name| rules.partition_types.get(&name.key()));
                partition_type(source, column, kept, &mut findings)
            }
            None => {
                let (target_type, found) = map_type(&column.name, &column.data_type, &rules.column_characters);
                findings.extend(found);
                (target_type, ValueConversion::Unchanged)
            }
        };
        let comment = fit_comment(column.comment.as_deref(), Some(&column.name), &mut findings);
        if let (Some(name), Some(data_type)) = (name, target_type.clone()) {
            // NULL partition values become texts at the target, so NOT NULL has no meaning for a partition column.
            let nullable = column.nullable || level.is_some();
            let target = Column { name, data_type, nullable, comment };
            match level {
                Some(level) => drop(partition_columns.insert(level, (column, target))),
                None => data_columns.push(target),
            }
        }
        mappings.push(ColumnMapping {
            source: column.name.clone(),
            target: mapped,
            source_type: column.data_type.clone(),
            target_type,
            role: level.map_or(ColumnRole::Data, |level| ColumnRole::Partition { level }),
            conversion,
        });
    }
    let (kind, primary_key) = kind_and_key(source, rules, &mappings, &mut findings);
    let comment = fit_comment(source.comment.as_deref(), None, &mut findings);
    note_lost_features(source, &mut findings);
    check_limits(source, &mappings, &mut findings);

    let blocked = findings.iter().any(|finding| finding.severity == Severity::Blocker);
    let target = target.filter(|_| !blocked);
    let partitions = target.is_some().then(|| PartitionMapping {
        levels: partition_columns.values().map(|(column, target)| level_of(column, target)).collect(),
        characters: rules.partition_value_characters.clone(),
    });
    let owner = owner_of(&rules.source_uid, &source.schema, &source.table);
    let definition = target.map(|target| TableDefinition {
        target,
        kind,
        columns: data_columns,
        partition_columns: partition_columns.into_values().map(|(_, column)| column).collect(),
        primary_key,
        comment,
        lifecycle_days: rules.lifecycle_days,
        properties: BTreeMap::from([(OWNER_PROPERTY.to_owned(), owner)]),
    });
    TablePlan { definition, partitions, columns: mappings, findings }
}

fn level_of(source: &SourceColumn, target: &Column) -> PartitionLevel {
    PartitionLevel {
        source: source.name.clone(),
        source_type: source.data_type.clone(),
        target: target.name.clone(),
        target_type: target.data_type.clone(),
    }
}

/// The columns that stay partition columns, with their levels.
fn partition_levels<'a>(source: &'a SourceTable, findings: &mut Vec<Finding>) -> BTreeMap<&'a str, usize> {
    let mut levels = BTreeMap::new();
    for name in &source.partition_columns {
        let Some(column) = find_column(source, name) else {
            let message = format!("the table is partitioned by `{name}`, and has no such column");
            findings.push(Finding::new(Reason::ColumnUnknown, Some(name), message, "scan the table again"));
            continue;
        };
        if levels.len() == PARTITION_LEVELS_MAX {
            let message = format!(
                "`{name}` becomes an ordinary column: the target has at most {PARTITION_LEVELS_MAX} partition levels"
            );
            findings.push(Finding::new(Reason::PartitionBecomesColumn, Some(&column.name), message, ""));
        } else {
            let level = levels.len();
            levels.entry(column.name.as_str()).or_insert(level);
        }
    }
    levels
}

/// The type of a column that partitions the target. `kept`: the type that the column already has in our target table.
fn partition_type(
    source: &SourceTable,
    column: &SourceColumn,
    kept: Option<&DataType>,
    findings: &mut Vec<Finding>,
) -> (Option<DataType>, ValueConversion) {
    let name = column.name.as_str();
    let has_null = if column.nullable { source.partition_nulls.get(name).copied() } else { Some(false) };
    let text = (Some(DataType::String), ValueConversion::PartitionText);
    let mut becomes_string = |why: &str| {
        let message = format!("partition column `{name}` of type {} becomes STRING: {why}", column.data_type);
        findings.push(Finding::new(Reason::PartitionBecomesString, Some(name), message, ""));
    };
    match &column.data_type {
        SparkType::Boolean
        | SparkType::Float
        | SparkType::Double
        | SparkType::Decimal { .. }
        | SparkType::Date
        | SparkType::Timestamp
        | SparkType::TimestampNtz => {
            becomes_string("a partition column of the target can only be a text or an integer");
            text
        }
        SparkType::Binary | SparkType::Array { .. } | SparkType::Map { .. } | SparkType::Struct(_) => {
            let message = format!("partition column `{name}` is {}: such values have no text form", column.data_type);
            let remedy = "make a table of it with CREATE TABLE ... AS SELECT that is not partitioned by this column, and move that";
            findings.push(Finding::new(Reason::PartitionTypeUnsupported, Some(name), message, remedy));
            (None, ValueConversion::PartitionText)
        }
        other => {
            // Nested types are handled above, so no field name is mapped here.
            let (target, found) = map_type(name, other, &Default::default());
            match (target, has_null) {
                (target @ (Some(DataType::String) | None), _) => {
                    findings.extend(found);
                    (target, ValueConversion::PartitionText)
                }
                (Some(_), _) if kept == Some(&DataType::String) => {
                    becomes_string("the existing target table has STRING there");
                    text
                }
                // With a type that is kept, a NULL that came later concerns its own partition only, not the table.
                (target, _) if kept.is_some() && kept == target.as_ref() => own_type(target),
                (Some(_), Some(true)) => {
                    becomes_string("the pinned snapshot has a NULL in it, which only a text can represent");
                    text
                }
                (Some(_), None) => {
                    becomes_string(
                        "it may contain NULL, which only a text can represent, and its values were not examined",
                    );
                    text
                }
                (target, Some(false)) => own_type(target),
            }
        }
    }
}

/// The result for a partition column that keeps the type that its values have at the source.
fn own_type(target: Option<DataType>) -> (Option<DataType>, ValueConversion) {
    let integer = target.as_ref().is_some_and(DataType::is_integer);
    (target, if integer { ValueConversion::PartitionInteger } else { ValueConversion::PartitionText })
}
