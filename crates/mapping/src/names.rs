//! Maps source names to target names, checks them against the target's rules, and finds names that differ only in case, which the
//! target takes for the same.

use std::collections::BTreeMap;

use mms_maxcompute::name::{ColumnName, SchemaName, TableName};
use mms_maxcompute::table::TableRef;

use crate::finding::{Finding, Reason};
use crate::rules::{MappingRules, SchemaRule};
use crate::source::SourceTable;

/// The address of the target table. `None`: there is a blocker among the findings.
pub(crate) fn map_table_name(
    source: &SourceTable,
    rules: &MappingRules,
    findings: &mut Vec<Finding>,
) -> Option<TableRef> {
    let schema = match &rules.target_schema {
        SchemaRule::TwoTier => Some(None),
        SchemaRule::Named(name) => Some(Some(name.clone())),
        SchemaRule::LikeSource => match SchemaName::new(source.schema.as_str()) {
            Ok(name) => Some(Some(name)),
            Err(e) => {
                let remedy = "give this schema a target schema of another name";
                findings.push(Finding::new(Reason::SchemaNameIllegal, None, e.to_string(), remedy));
                None
            }
        },
    };
    let mapped = match &rules.table_name {
        Some(name) => name.clone(),
        None => {
            let mapped = rules.table_characters.apply(&source.table);
            match &rules.table_name_prefix {
                Some(prefix) if !mapped.starts_with(|c: char| c.is_ascii_alphabetic()) => format!("{prefix}{mapped}"),
                _ => mapped,
            }
        }
    };
    let table = match TableName::new(mapped) {
        Ok(name) => name,
        Err(e) => {
            let message = format!("table `{}`: {e}", source.table);
            let remedy = "map its characters with the table name character mapping, or give it a target name";
            findings.push(Finding::new(Reason::TableNameIllegal, None, message, remedy));
            return None;
        }
    };
    if table.as_str() != source.table {
        let message = format!("table `{}` becomes `{table}`", source.table);
        findings.push(Finding::new(Reason::TableRenamed, None, message, ""));
    }
    Some(TableRef { project: rules.target_project.clone(), schema: schema?, table })
}

/// The target names of all columns, in order. A name that breaks the rules has a blocker among the findings.
pub(crate) fn map_column_names(
    source: &SourceTable,
    rules: &MappingRules,
    findings: &mut Vec<Finding>,
) -> Vec<(String, Option<ColumnName>)> {
    for name in rules.column_names.keys().filter(|name| !source.columns.iter().any(|c| c.name == **name)) {
        let message = format!("the column mapping names `{name}`, and the table has no such column");
        findings.push(Finding::new(Reason::ColumnUnknown, Some(name), message, "remove it from the column mapping"));
    }
    let mut by_key: BTreeMap<String, Vec<(&str, String)>> = BTreeMap::new();
    let mut names = Vec::with_capacity(source.columns.len());
    for column in &source.columns {
        let explicit = rules.column_names.get(&column.name).cloned();
        let mapped = explicit.unwrap_or_else(|| rules.column_characters.apply(&column.name));
        let name = match ColumnName::new(mapped.as_str()) {
            Ok(name) => name,
            Err(e) => {
                let message = format!("column `{}`: {e}", column.name);
                let remedy = "map its characters with the column name character mapping, or the column by name";
                findings.push(Finding::new(Reason::ColumnNameIllegal, Some(&column.name), message, remedy));
                names.push((mapped, None));
                continue;
            }
        };
        if name.as_str() != column.name {
            let message = format!("column `{}` becomes `{name}`", column.name);
            findings.push(Finding::new(Reason::ColumnRenamed, Some(&column.name), message, ""));
        }
        by_key.entry(name.key()).or_default().push((&column.name, mapped.clone()));
        names.push((mapped, Some(name)));
    }
    for clash in by_key.into_values().filter(|same| same.len() > 1) {
        let list = clash.iter().map(|(from, to)| format!("`{from}` → `{to}`")).collect::<Vec<_>>().join(", ");
        let message = format!("columns would have one name at the target, as MaxCompute ignores case: {list}");
        let remedy = "map one of them by name";
        findings.push(Finding::new(Reason::ColumnNameCollision, Some(clash[0].0), message, remedy));
    }
    names
}
