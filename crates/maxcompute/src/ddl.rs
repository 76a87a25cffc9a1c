//! Builds the SQL of a migration: CREATE TABLE from a [`TableDefinition`], and the statements that alter, count and drop.
//!
//! Each statement is one string that ends in `;` and names its table in full. It may be sent twice without harm, except
//! [`drop_table`] and [`drop_partitions`]: a repetition that runs late drops what was created in the meantime. Pure: nothing is
//! sent here.

use std::collections::BTreeMap;

use crate::quote::{column, data_type, literal, table};
use crate::table::{Column, PartitionSpec, TableDefinition, TableKind, TableRef};

/// Maximum number of partitions that one statement names.
const BATCH_PARTITIONS: usize = 256;
/// Maximum size of one statement in bytes; the server's own limit is 2 MB.
const BATCH_BYTES: usize = 512 * 1024;

/// `CREATE TABLE IF NOT EXISTS`.
#[must_use]
pub fn create_table(definition: &TableDefinition) -> String {
    let mut lines: Vec<String> = definition.columns.iter().map(column_line).collect();
    if definition.kind == TableKind::PkDelta {
        lines.push(format!("  PRIMARY KEY ({})", list(&definition.primary_key, column)));
    }
    let mut sql = format!("CREATE TABLE IF NOT EXISTS {} (\n{}\n)", table(&definition.target), lines.join(",\n"));
    if let Some(comment) = &definition.comment {
        sql.push_str(&format!("\nCOMMENT {}", literal(comment)));
    }
    if !definition.partition_columns.is_empty() {
        let lines: Vec<String> = definition.partition_columns.iter().map(column_line).collect();
        sql.push_str(&format!("\nPARTITIONED BY (\n{}\n)", lines.join(",\n")));
    }
    let mut properties: BTreeMap<&str, &str> =
        definition.properties.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    match definition.kind {
        TableKind::Ordinary => None,
        TableKind::AppendDelta => properties.insert("table.format.version", "2"),
        TableKind::PkDelta => properties.insert("transactional", "true"),
    };
    if !properties.is_empty() {
        let pairs: Vec<(&str, &str)> = properties.into_iter().collect();
        let pairs = list(&pairs, |(key, value)| format!("{}={}", literal(key), literal(value)));
        sql.push_str(&format!("\nTBLPROPERTIES ({pairs})"));
    }
    if let Some(days) = definition.lifecycle_days {
        sql.push_str(&format!("\nLIFECYCLE {days}"));
    }
    sql.push(';');
    sql
}

/// `DROP TABLE IF EXISTS`. Send it under one permanent statement id (`sql::Statement::id`) that no other statement uses, so that
/// a repetition never drops a newer table.
#[must_use]
pub fn drop_table(target: &TableRef) -> String {
    format!("DROP TABLE IF EXISTS {};", table(target))
}

/// `ALTER TABLE … SET TBLPROPERTIES`. Other properties keep their values.
#[must_use]
pub fn set_properties(target: &TableRef, properties: &[(&str, &str)]) -> String {
    let pairs = list(properties, |(key, value)| format!("{}={}", literal(key), literal(value)));
    format!("ALTER TABLE {} SET TBLPROPERTIES ({pairs});", table(target))
}

/// `ALTER TABLE … ADD COLUMNS IF NOT EXISTS`, at the end of the table. The new columns are nullable, since existing rows have
/// NULL in them.
#[must_use]
pub fn add_columns(target: &TableRef, columns: &[Column]) -> String {
    let lines: Vec<String> = columns.iter().map(column_line).collect();
    format!("ALTER TABLE {} ADD COLUMNS IF NOT EXISTS (\n{}\n);", table(target), lines.join(",\n"))
}

/// `ALTER TABLE … ADD IF NOT EXISTS PARTITION`, split into as many statements as the size limits require; empty if `specs` is
/// empty.
#[must_use]
pub fn add_partitions(target: &TableRef, specs: &[PartitionSpec]) -> Vec<String> {
    let head = format!("ALTER TABLE {} ADD IF NOT EXISTS", table(target));
    let mut statements = Vec::new();
    let mut clauses: Vec<String> = Vec::new();
    let mut bytes = 0;
    for clause in specs.iter().map(partition_clause) {
        let full = clauses.len() == BATCH_PARTITIONS || bytes + clause.len() > BATCH_BYTES;
        if full && !clauses.is_empty() {
            statements.push(format!("{head} {};", clauses.join(" ")));
            clauses.clear();
            bytes = 0;
        }
        bytes += clause.len() + 1;
        clauses.push(clause);
    }
    if !clauses.is_empty() {
        statements.push(format!("{head} {};", clauses.join(" ")));
    }
    statements
}

/// `ALTER TABLE … DROP IF EXISTS PARTITION`. Send it under one permanent statement id, as for [`drop_table`].
#[must_use]
pub fn drop_partitions(target: &TableRef, specs: &[PartitionSpec]) -> String {
    format!("ALTER TABLE {} DROP IF EXISTS {};", table(target), list(specs, partition_clause))
}

/// `SELECT COUNT(*)` over the whole table, or over the partitions of `specs` if there are any. `partition_columns` supplies the
/// types, so that integers are compared as integers.
#[must_use]
pub fn count(target: &TableRef, partition_columns: &[Column], specs: &[PartitionSpec]) -> String {
    format!("SELECT COUNT(*) FROM {}{};", table(target), where_clause(partition_columns, specs))
}

/// `SELECT partition columns, COUNT(*)`: one row for each partition that has rows, over all partitions if `specs` is empty. The
/// server returns at most 10,000 rows, so ask in batches.
#[must_use]
pub fn count_by_partition(target: &TableRef, partition_columns: &[Column], specs: &[PartitionSpec]) -> String {
    let names = list(partition_columns, |c| column(&c.name));
    let filter = where_clause(partition_columns, specs);
    format!("SELECT {names}, COUNT(*) FROM {}{filter} GROUP BY {names};", table(target))
}

fn list<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn column_line(definition: &Column) -> String {
    let mut line = format!("  {} {}", column(&definition.name), data_type(&definition.data_type));
    if !definition.nullable {
        line.push_str(" NOT NULL");
    }
    if let Some(comment) = &definition.comment {
        line.push_str(&format!(" COMMENT {}", literal(comment)));
    }
    line
}

fn partition_clause(spec: &PartitionSpec) -> String {
    format!("PARTITION ({})", list(&spec.0, |(name, value)| format!("{}={}", column(name), literal(value))))
}

fn where_clause(partition_columns: &[Column], specs: &[PartitionSpec]) -> String {
    if specs.is_empty() {
        return String::new();
    }
    let terms: Vec<String> = specs
        .iter()
        .map(|spec| {
            let pairs = spec.0.iter().map(|(name, value)| {
                let integer = partition_columns.iter().any(|c| c.name.key() == name.key() && c.data_type.is_integer());
                // MaxCompute compares a BIGINT with a text as DOUBLE, which makes neighbours beyond 2^53 equal.
                let value = match value.parse::<i64>() {
                    Ok(number) if integer => number.to_string(),
                    _ => literal(value),
                };
                format!("{}={value}", column(name))
            });
            format!("({})", pairs.collect::<Vec<_>>().join(" AND "))
        })
        .collect();
    format!(" WHERE {}", terms.join(" OR "))
}

#[cfg(test)]
#[path = "ddl_tests.rs"]
mod tests;
