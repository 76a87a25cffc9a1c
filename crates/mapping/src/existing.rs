//! What to do with a target table that is already there.

use std::collections::BTreeMap;
use std::fmt;

use mms_maxcompute::table::{Column, TableDefinition, TableKind};
use mms_maxcompute::types::{DataType, StructField};

use crate::rules::OWNER_PROPERTY;

/// A table as the target describes it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExistingTable {
    /// Its kind, if the target says so.
    pub kind: Option<TableKind>,
    /// Its data columns, in order.
    pub columns: Vec<Column>,
    /// Its partition columns, in order.
    pub partition_columns: Vec<Column>,
    /// Names of its key columns.
    pub primary_key: Vec<String>,
    /// Its properties, of which [`OWNER_PROPERTY`] is looked at.
    pub properties: BTreeMap<String, String>,
}

/// What a job may do to a table that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub enum TargetPolicy {
    /// Create it, or use it if it is ours and as planned.
    #[default]
    CreateOrOwn,
    /// Put it in the place of whatever is there, which is dropped unless it is as planned or can be altered to be so.
    Replace,
    /// Create it; it must not be there.
    FailIfExists,
    /// Create it, or use it if it is as planned, whoever's it is.
    Adopt,
}

/// What is to be done about the target table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetAction {
    /// Create it.
    Create,
    /// Write into the one that is there: it is ours and as planned.
    UseOwn,
    /// Drop the one that is there and create it.
    Recreate,
    /// Add these columns at the end of the one that is there, put our mark on it, then write into it: it lacks nothing else.
    Extend(Vec<Column>),
    /// Put our mark on the one that is there, then write into it: it is as planned, and its mark is this other, or none.
    Adopt(Option<String>),
    /// Nothing; the job must not go on. At least one difference.
    Refuse(Vec<Difference>),
}

/// A way in which an existing table is not the planned one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Difference {
    /// It is there, and must not be.
    Exists,
    /// It does not carry our mark, or that of another source table.
    Owner {
        /// The mark it should carry.
        expected: String,
        /// The mark it carries.
        found: Option<String>,
    },
    /// It is of another kind.
    Kind {
        /// The planned kind.
        expected: TableKind,
        /// Its kind.
        found: TableKind,
    },
    /// A column is missing.
    ColumnMissing {
        /// Its name.
        name: String,
        /// Whether it should be a partition column.
        partition: bool,
    },
    /// A column is there that is not planned.
    ColumnExtra {
        /// Its name.
        name: String,
        /// Whether it is a partition column.
        partition: bool,
    },
    /// A column has another type.
    ColumnType {
        /// Its name.
        name: String,
        /// The planned type.
        expected: DataType,
        /// Its type.
        found: DataType,
    },
    /// A column refuses NULL, and rows may have some.
    ColumnNotNull {
        /// Its name.
        name: String,
    },
    /// The columns are the planned ones in another order.
    Order {
        /// Whether these are the partition columns.
        partition: bool,
        /// The planned order.
        expected: Vec<String>,
        /// The order it has.
        found: Vec<String>,
    },
    /// Its key is another.
    PrimaryKey {
        /// The planned key.
        expected: Vec<String>,
        /// Its key.
        found: Vec<String>,
    },
}

/// Decides what to do. Under [`TargetPolicy::CreateOrOwn`] the same question is answered with [`TargetAction::UseOwn`]
/// after [`TargetAction::Create`]; under the others the caller must know the table that it made itself.
#[must_use]
pub fn target_action(
    policy: TargetPolicy,
    existing: Option<&ExistingTable>,
    definition: &TableDefinition,
) -> TargetAction {
    let Some(existing) = existing else { return TargetAction::Create };
    let differences = check_existing(definition, existing);
    match policy {
        // With the differences, which say whose it is.
        TargetPolicy::FailIfExists => {
            TargetAction::Refuse(std::iter::once(Difference::Exists).chain(differences).collect())
        }
        TargetPolicy::CreateOrOwn | TargetPolicy::Adopt if differences.is_empty() => TargetAction::UseOwn,
        // What fits is written over unit by unit, so that nobody sees it empty; the job marks it as its own first.
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

/// The columns to add at the end of a table which differs in nothing else but its mark. Columns of nested types are none: a
/// project adds those only where schema evolution is switched on for it.
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

/// Every way in which an existing table is not the planned one. Comments, lifecycle and other properties do not count.
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

/// The target ignores the case of nested field names, and may report them in another.
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
                // Marks began with the data source's id then, which another suite may have too.
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
