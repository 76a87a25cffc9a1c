//! Decides what to do with a target table that exists already, and names every difference to the planned one. Must never let a
//! job write into a table that its policy does not allow.

use std::collections::BTreeMap;
use std::fmt;

use mms_maxcompute::table::{Column, TableDefinition, TableKind};
use mms_maxcompute::types::{DataType, StructField};

use crate::rules::OWNER_PROPERTY;

/// An existing table, as the target describes it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExistingTable {
    /// The kind of the table; `None` if the target does not tell it.
    pub kind: Option<TableKind>,
    /// The data columns, in order.
    pub columns: Vec<Column>,
    /// The partition columns, in order.
    pub partition_columns: Vec<Column>,
    /// Names of the key columns; empty without a key.
    pub primary_key: Vec<String>,
    /// The table properties, of which [`OWNER_PROPERTY`] is read.
    pub properties: BTreeMap<String, String>,
}

/// What a job may do to a target table that exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub enum TargetPolicy {
    /// Create the table, or use it if it is ours and as planned.
    #[default]
    CreateOrOwn,
    /// Replace whatever exists. It is dropped unless it is as planned or can be altered to be so.
    Replace,
    /// Create the table; it must not exist.
    FailIfExists,
    /// Create the table, or use it if it is as planned, whoever owns it.
    Adopt,
}

/// What a job does about the target table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetAction {
    /// Create the table.
    Create,
    /// Write into the existing table: it is ours and as planned.
    UseOwn,
    /// Drop the existing table and create it again.
    Recreate,
    /// Add these columns at the end of the existing table and set our ownership mark, then write into it: it differs in nothing
    /// else.
    Extend(Vec<Column>),
    /// Set our ownership mark on the existing table, then write into it: it is as planned. The value is the mark that it has now,
    /// if any.
    Adopt(Option<String>),
    /// Do nothing; the job must not go on. There is at least one difference.
    Refuse(Vec<Difference>),
}

/// A difference between an existing table and the planned one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Difference {
    /// The table exists, and must not.
    Exists,
    /// The table has no ownership mark, or that of another source table.
    Owner {
        /// The mark that it should have.
        expected: String,
        /// The mark that it has; `None` if it has none.
        found: Option<String>,
    },
    /// The table is of another kind.
    Kind {
        /// The planned kind.
        expected: TableKind,
        /// The kind of the existing table.
        found: TableKind,
    },
    /// A planned column is missing.
    ColumnMissing {
        /// The name of the column.
        name: String,
        /// Whether it should be a partition column.
        partition: bool,
    },
    /// The existing table has a column that is not planned.
    ColumnExtra {
        /// The name of the column.
        name: String,
        /// Whether it is a partition column.
        partition: bool,
    },
    /// A column has another type than planned.
    ColumnType {
        /// The name of the column.
        name: String,
        /// The planned type.
        expected: DataType,
        /// The existing type.
        found: DataType,
    },
    /// A column is NOT NULL, but the rows may contain NULL.
    ColumnNotNull {
        /// The name of the column.
        name: String,
    },
    /// The columns are the planned ones in another order.
    Order {
        /// Whether these are the partition columns.
        partition: bool,
        /// The planned order.
        expected: Vec<String>,
        /// The existing order.
        found: Vec<String>,
    },
    /// The primary key is another one than planned.
    PrimaryKey {
        /// The planned key.
        expected: Vec<String>,
        /// The existing key.
        found: Vec<String>,
    },
}

/// Decides what to do. Under [`TargetPolicy::CreateOrOwn`] a repeated call after [`TargetAction::Create`] was carried out returns
/// [`TargetAction::UseOwn`]; under the other policies the caller must remember that it created the table itself.
#[must_use]
pub fn target_action(
    policy: TargetPolicy,
    existing: Option<&ExistingTable>,
    definition: &TableDefinition,
) -> TargetAction {
    let Some(existing) = existing else { return TargetAction::Create };
    let differences = check_existing(definition, existing);
    match policy {
        // The differences are included, since they say whose table it is.
        TargetPolicy::FailIfExists => {
            TargetAction::Refuse(std::iter::once(Difference::Exists).chain(differences).collect())
        }
        TargetPolicy::CreateOrOwn | TargetPolicy::Adopt if differences.is_empty() => TargetAction::UseOwn,
        // A table that fits is overwritten unit by unit, so that nobody sees it empty; before that, the job sets its ownership
        // mark.
        TargetPolicy::Adopt | TargetPolicy::Replace => match differences.as_slice() {
            [] => TargetAction::Adopt(existing.properties.get(OWNER_PROPERTY).cloned()),
            [Difference::Owner { found, .. }] => TargetAction::Adopt(found.clone()),
            others if policy == TargetPolicy::Replace => match missing_tail(definition, existing, others) {
                Some(columns) => TargetAction::Extend(columns),
                None => TargetAction::Recreate,
            },
            _ => TargetAction::Refuse(differences),
        },
        TargetPolicy::CreateOrOwn => TargetAction::Refuse(differences),
    }
}

/// The columns to add at the end of a table that differs in nothing else but its mark; `None` if that is not enough. Columns of
/// nested types are not added: a project accepts those only if schema evolution is switched on for it.
fn missing_tail(
    expected: &TableDefinition,
    existing: &ExistingTable,
    differences: &[Difference],
) -> Option<Vec<Column>> {
    let other = |difference: &Difference| {
        !matches!(difference, Difference::Owner { .. } | Difference::ColumnMissing { partition: false, .. })
    };
    let (there, missing) = expected.columns.split_at_checked(existing.columns.len())?;
    let in_order = there.iter().zip(&existing.columns).all(|(expected, found)| expected.name.key() == found.name.key());
    let can_be_added = |column: &Column| column.nullable && !column.data_type.is_nested();
    let alters = in_order && !missing.is_empty() && missing.iter().all(can_be_added) && !differences.iter().any(other);
    alters.then(|| missing.to_vec())
}

/// Every difference between an existing table and the planned one. Comments, lifecycle and other properties are not compared.
#[must_use]
pub fn check_existing(expected: &TableDefinition, existing: &ExistingTable) -> Vec<Difference> {
    let mut differences = Vec::new();
    if let Some(owner) = expected.properties.get(OWNER_PROPERTY) {
        let found = existing.properties.get(OWNER_PROPERTY);
        if found != Some(owner) {
            differences.push(Difference::Owner { expected: owner.clone(), found: found.cloned() });
        }
    }
    match existing.kind {
        Some(found) if found != expected.kind => {
            differences.push(Difference::Kind { expected: expected.kind, found });
        }
        _ => {}
    }
    compare_columns(&expected.columns, &existing.columns, false, &mut differences);
    compare_columns(&expected.partition_columns, &existing.partition_columns, true, &mut differences);
    let keys = |names: Vec<String>| names.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>();
    let expected_key: Vec<String> = expected.primary_key.iter().map(|name| name.as_str().to_owned()).collect();
    if keys(expected_key.clone()) != keys(existing.primary_key.clone()) {
        differences.push(Difference::PrimaryKey { expected: expected_key, found: existing.primary_key.clone() });
    }
    differences
}

fn compare_columns(expected: &[Column], found: &[Column], partition: bool, differences: &mut Vec<Difference>) {
    let before = differences.len();
    for column in expected {
        let name = column.name.as_str().to_owned();
        let Some(other) = found.iter().find(|other| other.name.key() == column.name.key()) else {
            differences.push(Difference::ColumnMissing { name, partition });
            continue;
        };
        if without_case(&column.data_type) != without_case(&other.data_type) {
            let (expected, found) = (column.data_type.clone(), other.data_type.clone());
            differences.push(Difference::ColumnType { name, expected, found });
        } else if !partition && column.nullable && !other.nullable {
            differences.push(Difference::ColumnNotNull { name });
        }
    }
    for column in found.iter().filter(|c| !expected.iter().any(|e| e.name.key() == c.name.key())) {
        differences.push(Difference::ColumnExtra { name: column.name.as_str().to_owned(), partition });
    }
    let order = |columns: &[Column]| columns.iter().map(|column| column.name.key()).collect::<Vec<_>>();
    if differences.len() == before && order(expected) != order(found) {
        differences.push(Difference::Order { partition, expected: order(expected), found: order(found) });
    }
}

/// Field names in lower case: the target ignores the case of nested field names and may report them in another case.
fn without_case(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Array(item) => DataType::Array(Box::new(without_case(item))),
        DataType::Map(key, value) => DataType::Map(Box::new(without_case(key)), Box::new(without_case(value))),
        DataType::Struct(fields) => DataType::Struct(
            fields
                .iter()
                .map(|f| StructField { name: f.name.to_lowercase(), data_type: without_case(&f.data_type) })
                .collect(),
        ),
        other => other.clone(),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = |partition: &bool| if *partition { "partition column" } else { "column" };
        match self {
            Self::Exists => f.write_str("the table exists already"),
            Self::Owner { expected, found: Some(found) } => {
                // Marks of those versions began with the data source's id, which another suite may use too.
                let uid = found.split('/').next().is_some_and(|first| first.len() == 36);
                let old = if uid { "" } else { " (a mark of a version before 0.1.0)" };
                write!(f, "the table belongs to `{found}`{old}, not to `{expected}`")
            }
            Self::Owner { expected, found: None } => {
                write!(f, "the table was not made by mms for `{expected}`: it has no property `{OWNER_PROPERTY}`")
            }
            Self::Kind { expected, found } => write!(f, "the table is {found:?}, planned is {expected:?}"),
            Self::ColumnMissing { name, partition } => write!(f, "{} `{name}` is missing", what(partition)),
            Self::ColumnExtra { name, partition } => write!(f, "{} `{name}` is not planned", what(partition)),
            Self::ColumnType { name, expected, found } => {
                write!(f, "column `{name}` is {found}, planned is {expected}")
            }
            Self::ColumnNotNull { name } => write!(f, "column `{name}` is NOT NULL, planned is that it may be NULL"),
            Self::Order { partition, expected, found } => write!(
                f,
                "the {}s are in the order {}, planned is {}",
                what(partition),
                found.join(", "),
                expected.join(", ")
            ),
            Self::PrimaryKey { expected, found } => {
                write!(f, "the primary key is ({}), planned is ({})", found.join(", "), expected.join(", "))
            }
        }
    }
}
