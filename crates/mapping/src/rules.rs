//! What the operator decides about the mapping of a table.

use std::collections::BTreeMap;

#[cfg(doc)]
use mms_maxcompute::name::ColumnName;
use mms_maxcompute::name::{ProjectName, SchemaName};
use mms_maxcompute::table::TableKind;
use mms_maxcompute::types::DataType;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::characters::CharacterMap;

/// The table property that says whose table a target table is; its value is made by [`owner_of`].
pub const OWNER_PROPERTY: &str = "mms.source";
/// The table property that whoever makes a table, or takes one over, sets to a new UUID: it tells the table from the next of its
/// name.
pub const NONCE_PROPERTY: &str = "mms.nonce";

/// Where a table goes, and how its names and values are mapped.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MappingRules {
    /// The project it goes to.
    pub target_project: ProjectName,
    /// The schema it goes to.
    pub target_schema: SchemaRule,
    /// The target table's name, taken as it is; without it the source's name is mapped.
    pub table_name: Option<String>,
    /// Maps the characters of a table name.
    pub table_characters: CharacterMap,
    /// Put before a mapped table name that does not start with a letter.
    pub table_name_prefix: Option<String>,
    /// Maps the characters of column names and nested field names.
    pub column_characters: CharacterMap,
    /// Names of columns, source to target, taken as they are; they win over the character mapping.
    pub column_names: BTreeMap<String, String>,
    /// Maps the characters of text partition values; never of NULL, never of integers in integer columns.
    pub partition_value_characters: CharacterMap,
    /// Types of partition columns as the target table that is ours has them, by [`ColumnName::key`]; they stay. Empty: it
    /// is not there, and they follow from the source.
    pub partition_types: BTreeMap<String, DataType>,
    /// The kind of table to make. Default: with a key a PK delta table, else an append delta table.
    pub table_kind: Option<TableKind>,
    /// Days after which the target drops what was not changed since.
    pub lifecycle_days: Option<u32>,
    /// Uid of the data source this table belongs to: with the table's names it is the ownership mark of the target table.
    pub source_uid: String,
}

/// Which schema of the project a table goes to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum SchemaRule {
    /// None: the project has two tiers.
    TwoTier,
    /// The one named like the source's schema.
    LikeSource,
    /// This one.
    Named(SchemaName),
}

impl MappingRules {
    /// Rules that map every name to itself.
    #[must_use]
    pub fn plain(target_project: ProjectName, target_schema: SchemaRule, source_uid: impl Into<String>) -> Self {
        Self {
            target_project,
            target_schema,
            table_name: None,
            table_characters: CharacterMap::default(),
            table_name_prefix: None,
            column_characters: CharacterMap::default(),
            column_names: BTreeMap::new(),
            partition_value_characters: CharacterMap::default(),
            partition_types: BTreeMap::new(),
            table_kind: None,
            lifecycle_days: None,
            source_uid: source_uid.into(),
        }
    }
}

/// RFC 3986's unreserved characters stay as they are.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The ownership mark, `<uid of the data source>/<schema>/<table>`, each part percent-encoded. A uid is never used again, while
/// two suites may have data sources of one id.
#[must_use]
pub fn owner_of(source_uid: &str, schema: &str, table: &str) -> String {
    [source_uid, schema, table].map(|part| utf8_percent_encode(part, SEGMENT).to_string()).join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_unambiguous() {
        assert_eq!(owner_of("ds-1", "a/b", "ü%"), "ds-1/a%2Fb/%C3%BC%25");
        assert_ne!(owner_of("a", "b/c", "d"), owner_of("a", "b", "c/d"));
    }
}
