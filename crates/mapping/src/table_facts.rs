//! Decides what concerns a table as a whole: its kind, its key, its comment, its limits, and the features that are lost.

use mms_maxcompute::name::ColumnName;
use mms_maxcompute::table::TableKind;
use mms_maxcompute::types::DataType;

use crate::finding::{Finding, Reason};
use crate::plan::{ColumnMapping, ColumnRole};
use crate::rules::MappingRules;
use crate::source::{ColumnExtra, SourceColumn, SourceTable};
use crate::{COLUMNS_MAX, COMMENT_BYTES_MAX, PARTITIONS_MAX};

/// Finds a column by name. Spark ignores case, but an exact match takes precedence.
pub(crate) fn find_column<'a>(source: &'a SourceTable, name: &str) -> Option<&'a SourceColumn> {
    let without_case = || source.columns.iter().find(|c| c.name.to_lowercase() == name.to_lowercase());
    source.columns.iter().find(|c| c.name == name).or_else(without_case)
}

/// A comment that fits the target, truncated between characters if need be, with a finding.
pub(crate) fn fit_comment(comment: Option<&str>, column: Option<&str>, findings: &mut Vec<Finding>) -> Option<String> {
    let comment = comment.filter(|text| !text.is_empty())?;
    if comment.len() <= COMMENT_BYTES_MAX {
        return Some(comment.to_owned());
    }
    let message = format!("a comment of {} bytes is cut to {COMMENT_BYTES_MAX}", comment.len());
    findings.push(Finding::new(Reason::CommentTruncated, column, message, "shorten it at the source"));
    Some(comment[..comment.floor_char_boundary(COMMENT_BYTES_MAX)].to_owned())
}

/// The kind of the target table, and the target columns of its key.
pub(crate) fn kind_and_key(
    source: &SourceTable,
    rules: &MappingRules,
    columns: &[ColumnMapping],
    findings: &mut Vec<Finding>,
) -> (TableKind, Vec<ColumnName>) {
    let by_source = if source.primary_key.is_empty() { TableKind::AppendDelta } else { TableKind::PkDelta };
    let kind = rules.table_kind.unwrap_or(by_source);
    let key_text = source.primary_key.join(", ");
    if kind != TableKind::PkDelta {
        if !source.primary_key.is_empty() {
            let message = format!("the primary key ({key_text}) is not carried to a table of this kind");
            findings.push(Finding::new(Reason::PrimaryKeyLost, None, message, "ask for a delta table with a key"));
        }
        return (kind, Vec::new());
    }
    let remedy = "ask for an append delta table";
    let before = findings.len();
    let mut key = Vec::new();
    let mut partitioning = Vec::new();
    for name in &source.primary_key {
        let Some(column) = find_column(source, name) else {
            let message = format!("the primary key names `{name}`, and the table has no such column");
            findings.push(Finding::new(Reason::ColumnUnknown, Some(name), message, remedy));
            continue;
        };
        let Some(mapping) = columns.iter().find(|c| c.source == column.name) else { continue };
        let unusable = match &mapping.target_type {
            Some(DataType::Array(_) | DataType::Map(..) | DataType::Struct(_) | DataType::Binary | DataType::Json) => {
                Some("its type cannot be part of a key")
            }
            _ if column.nullable => Some("it may be NULL"),
            _ => None,
        };
        match (mapping.role, unusable, ColumnName::new(mapping.target.as_str())) {
            (ColumnRole::Partition { .. }, ..) => partitioning.push(name.as_str()),
            (ColumnRole::Data, Some(why), _) => {
                let message = format!("`{name}` cannot be part of the primary key at the target: {why}");
                findings.push(Finding::new(Reason::PrimaryKeyUnusable, Some(name), message, remedy));
            }
            (ColumnRole::Data, None, Ok(target)) => key.push(target),
            // An illegal name has its own finding already.
            (ColumnRole::Data, None, Err(_)) => {}
        }
    }
    if key.is_empty() && findings.len() == before {
        let message = match key_text.as_str() {
            "" => "the table has no primary key, which a delta table with a key needs".to_owned(),
            _ => {
                format!("all columns of the primary key ({key_text}) partition the table, so none is left for the key")
            }
        };
        findings.push(Finding::new(Reason::PrimaryKeyUnusable, None, message, remedy));
    } else {
        let message = format!(
            "Databricks does not enforce the primary key ({key_text}), MaxCompute does: rows of one key are merged"
        );
        findings.push(Finding::new(
            Reason::PrimaryKeyMerges,
            None,
            message,
            "make sure that the key is unique, or ".to_owned() + remedy,
        ));
    }
    if !partitioning.is_empty() && !key.is_empty() {
        let message = format!("`{}` partition the target and are left out of its key", partitioning.join("`, `"));
        findings.push(Finding::new(Reason::PrimaryKeyReduced, None, message, ""));
    }
    (kind, key)
}

/// Adds findings for features of the source's columns or table that the target does not have.
pub(crate) fn note_lost_features(source: &SourceTable, findings: &mut Vec<Finding>) {
    for column in &source.columns {
        for extra in &column.extras {
            let (reason, message) = match extra {
                ColumnExtra::Default(value) => {
                    (Reason::DefaultLost, format!("the default of `{}` is not carried: {value}", column.name))
                }
                ColumnExtra::Generated(expression) => (
                    Reason::GenerationLost,
                    format!("`{}` is generated as {expression}; the target gets its values only", column.name),
                ),
                ColumnExtra::Identity => (
                    Reason::GenerationLost,
                    format!("`{}` numbers the rows; the target gets its values only", column.name),
                ),
            };
            findings.push(Finding::new(reason, Some(&column.name), message, ""));
        }
    }
    for (key, check) in &source.properties {
        if let Some(name) = key.strip_prefix("delta.constraints.") {
            let message = format!("the CHECK constraint `{name}` is not carried: {check}");
            findings.push(Finding::new(Reason::CheckConstraintLost, None, message, ""));
        }
    }
}

/// Adds findings for numbers of columns and partitions that exceed the target's limits.
pub(crate) fn check_limits(source: &SourceTable, columns: &[ColumnMapping], findings: &mut Vec<Finding>) {
    if columns.len() > COLUMNS_MAX {
        let message = format!("the table has {} columns, the limit is {COLUMNS_MAX}", columns.len());
        let remedy = "make tables of it with CREATE TABLE ... AS SELECT that have fewer columns each, and move those";
        findings.push(Finding::new(Reason::TooManyColumns, None, message, remedy));
    }
    if columns.iter().all(|column| column.role != ColumnRole::Data) {
        let message = "no column would be left beside the partition columns";
        let remedy = "a target table needs at least one ordinary column: make a table of it with CREATE TABLE ... AS SELECT that has one, and \
                      move that";
        findings.push(Finding::new(Reason::NoDataColumn, None, message, remedy));
    }
    let levels = columns.iter().filter(|column| column.role != ColumnRole::Data).count();
    // If some partition columns became ordinary ones, several source partitions share a target partition, and the count says
    // nothing.
    match source.partition_count {
        Some(count) if count > PARTITIONS_MAX && levels == source.partition_columns.len() => {
            let message = format!("the table has {count} partitions, the limit is {PARTITIONS_MAX}");
            let remedy = "move a part of the partitions, or make a table of it with CREATE TABLE ... AS SELECT that has coarser partitions, and \
                          move that";
            findings.push(Finding::new(Reason::TooManyPartitions, None, message, remedy));
        }
        _ => {}
    }
}
