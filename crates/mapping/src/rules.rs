//! The operator's decisions about the mapping of a table, and the properties by which target tables are marked.

use std::collections::BTreeMap;

#[cfg(doc)]
use mms_maxcompute::name::ColumnName;
use mms_maxcompute::name::{ProjectName, SchemaName};
use mms_maxcompute::table::TableKind;
use mms_maxcompute::types::DataType;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::characters::CharacterMap;

/// The table property that names the owner of a target table; [`owner_of`] computes its value.
pub const OWNER_PROPERTY: &str = "mms.source";
/// The table property that is set to a new UUID whenever a table is created or taken over. It distinguishes the table from a
/// later one of the same name.
pub const NONCE_PROPERTY: &str = "mms.nonce";

/// Where a table is migrated to, and how its names and values are mapped.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MappingRules {
    /// The project of the target table.
    pub target_project: ProjectName,
    /// The schema of the target table.
    pub target_schema: SchemaRule,
    /// The name of the target table, used unchanged; if `None`, the source's name is mapped.
    pub table_name: Option<String>,
    /// The character mapping for table names.
    pub table_characters: CharacterMap,
    /// The prefix of a mapped table name that does not start with a letter.
    pub table_name_prefix: Option<String>,
    /// The character mapping for names of columns and nested fields.
    pub column_characters: CharacterMap,
    /// Target names of columns, by source name. They are used unchanged and take precedence over the character mapping.
    pub column_names: BTreeMap<String, String>,
    /// The character mapping for text partition values. Not applied to NULL or to integers in integer columns.
    pub partition_value_characters: CharacterMap,
    /// The types that the partition columns have in an existing target table of ours, by [`ColumnName::key`]; they are kept.
    /// Empty if there is no such table: then the types follow from the source.
    pub partition_types: BTreeMap<String, DataType>,
    /// The kind of table to create. Default: a PK delta table if there is a key, else an append delta table.
    pub table_kind: Option<TableKind>,
    /// Days after which the target drops data that has not changed since.
    pub lifecycle_days: Option<u32>,
    /// Uid of the data source. Together with the table's names it makes the ownership mark of the target table.
    pub source_uid: String,
}

/// The schema of the target project that a table is migrated to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum SchemaRule {
    /// No schema: the project has two-tier names.
    TwoTier,
    /// The schema with the same name as the source's schema.
    LikeSource,
    /// The schema with this name.
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

/// The unreserved characters of RFC 3986 are not encoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The ownership mark, `<uid of the data source>/<schema>/<table>`, each part percent-encoded. A uid is never reused, whereas two
/// suites may have data sources with the same id.
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
