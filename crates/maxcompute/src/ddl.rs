//! From a [`TableDefinition`] to the SQL that makes it, and the other statements that a migration needs.
//! Each statement is one string that ends in `;`, names its table in full, and may be sent twice without harm, but for
//! [`drop_table`]: run late, it takes what was made since.

use std::collections::BTreeMap;

use crate::quote::{column, data_type, literal, table};
use crate::table::{Column, PartitionSpec, TableDefinition, TableKind, TableRef};

/// Most partitions named by one statement.
const BATCH_PARTITIONS: usize = 256;
/// Most bytes of one statement; the server's limit is 2 MB.
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

/// `DROP TABLE IF EXISTS`. Only under one id for good (`sql::Statement::id`), which nothing else is sent under.
#[must_use]
pub fn drop_table(target: &TableRef) -> String {
    format!("DROP TABLE IF EXISTS {};", table(target))
}

/// `ALTER TABLE … SET TBLPROPERTIES`: other properties stay as they are.
#[must_use]
pub fn set_properties(target: &TableRef, properties: &[(&str, &str)]) -> String {
    let pairs = list(properties, |(key, value)| format!("{}={}", literal(key), literal(value)));
    format!("ALTER TABLE {} SET TBLPROPERTIES ({pairs});", table(target))
}

/// `ALTER TABLE … ADD COLUMNS IF NOT EXISTS`, at the end of the table. They may be NULL, as they are in rows that are there.
#[must_use]
pub fn add_columns(target: &TableRef, columns: &[Column]) -> String {
    let lines: Vec<String> = columns.iter().map(column_line).collect();
    format!("ALTER TABLE {} ADD COLUMNS IF NOT EXISTS (\n{}\n);", table(target), lines.join(",\n"))
}

/// `ALTER TABLE … ADD IF NOT EXISTS PARTITION`, as many statements as the limits ask for; none for no partitions.
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

/// `ALTER TABLE … DROP IF EXISTS PARTITION`. Only under one id for good, as [`drop_table`].
#[must_use]
pub fn drop_partitions(target: &TableRef, specs: &[PartitionSpec]) -> String {
    format!("ALTER TABLE {} DROP IF EXISTS {};", table(target), list(specs, partition_clause))
}

/// `SELECT COUNT(*)` over the whole table, or over these partitions when there are any.
/// `partition_columns` tells the types, so that integers are compared as integers.
#[must_use]
pub fn count(target: &TableRef, partition_columns: &[Column], specs: &[PartitionSpec]) -> String {
    format!("SELECT COUNT(*) FROM {}{};", table(target), where_clause(partition_columns, specs))
}

/// `SELECT partition columns, COUNT(*)`, one row a partition that has rows; all partitions if `specs` is empty.
/// The server shows at most 10,000 result rows: ask in batches.
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
                // A BIGINT compared with a text is compared as DOUBLE, which merges neighbours beyond 2^53.
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
