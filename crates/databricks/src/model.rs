//! Owns the objects of Unity Catalog, with the fields that this program needs. Enums stay open for words that the workspace
//! adds later; fields that it may leave out are optional.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer};

/// A catalog of Unity Catalog.
#[derive(Debug, Clone, Deserialize)]
pub struct CatalogInfo {
    /// Name, without quotes.
    pub name: String,
    /// `MANAGED_CATALOG`, `FOREIGN_CATALOG`, `DELTASHARING_CATALOG`…
    pub catalog_type: Option<String>,
    /// Comment, if it has one.
    pub comment: Option<String>,
    /// User, group or service principal that owns it.
    pub owner: Option<String>,
    /// Whether the token's owner may only see that the catalog exists.
    #[serde(default, deserialize_with = "or_default")]
    pub browse_only: bool,
}

/// A schema of a catalog.
#[derive(Debug, Clone, Deserialize)]
pub struct SchemaInfo {
    /// Name, without the catalog's.
    pub name: String,
    /// Name of its catalog.
    pub catalog_name: String,
    /// Comment, if it has one.
    pub comment: Option<String>,
    /// User, group or service principal that owns it.
    pub owner: Option<String>,
    /// Properties by key.
    #[serde(default, deserialize_with = "or_default")]
    pub properties: BTreeMap<String, String>,
    /// Whether the token's owner may only see that the schema exists.
    #[serde(default, deserialize_with = "or_default")]
    pub browse_only: bool,
}

impl SchemaInfo {
    /// Whether it is the catalog's own `information_schema`, which holds no users' tables.
    pub fn is_information_schema(&self) -> bool {
        self.name == "information_schema"
    }
}

/// The id of a table. It stays when the table is renamed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct TableId(String);

impl TableId {
    /// The id as the workspace writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for TableId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

/// The kind of a table. A word that is not known here is kept in `Other`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "Unity Catalog's own words")]
pub enum TableKind {
    Managed,
    External,
    View,
    MaterializedView,
    StreamingTable,
    Foreign,
    MetricView,
    ManagedShallowClone,
    ExternalShallowClone,
    Other(String),
}

impl TableKind {
    /// The workspace's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Managed => "MANAGED",
            Self::External => "EXTERNAL",
            Self::View => "VIEW",
            Self::MaterializedView => "MATERIALIZED_VIEW",
            Self::StreamingTable => "STREAMING_TABLE",
            Self::Foreign => "FOREIGN",
            Self::MetricView => "METRIC_VIEW",
            Self::ManagedShallowClone => "MANAGED_SHALLOW_CLONE",
            Self::ExternalShallowClone => "EXTERNAL_SHALLOW_CLONE",
            Self::Other(word) => word,
        }
    }
}

impl From<String> for TableKind {
    fn from(word: String) -> Self {
        match word.as_str() {
            "MANAGED" => Self::Managed,
            "EXTERNAL" => Self::External,
            "VIEW" => Self::View,
            "MATERIALIZED_VIEW" => Self::MaterializedView,
            "STREAMING_TABLE" => Self::StreamingTable,
            "FOREIGN" => Self::Foreign,
            "METRIC_VIEW" => Self::MetricView,
            "MANAGED_SHALLOW_CLONE" => Self::ManagedShallowClone,
            "EXTERNAL_SHALLOW_CLONE" => Self::ExternalShallowClone,
            _ => Self::Other(word),
        }
    }
}

impl<'de> Deserialize<'de> for TableKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// A table, a view, or another object that lists like one.
#[derive(Debug, Clone, Deserialize)]
pub struct TableInfo {
    /// Name, without catalog and schema.
    pub name: String,
    /// Name of its catalog.
    pub catalog_name: String,
    /// Name of its schema.
    pub schema_name: String,
    /// Id; absent for objects that may only be browsed.
    pub table_id: Option<TableId>,
    /// What it is: a managed or external table, a view, …
    pub table_type: TableKind,
    /// `DELTA`, `PARQUET`, `ICEBERG`…; absent for views.
    pub data_source_format: Option<String>,
    /// Its columns in order of position. Lists may leave them out; [`Workspace::get_table`](crate::Workspace::get_table) does not.
    #[serde(default, deserialize_with = "or_default")]
    pub columns: Vec<ColumnInfo>,
    /// URL of the folder that its files lie in.
    pub storage_location: Option<String>,
    /// Properties by key.
    #[serde(default, deserialize_with = "or_default")]
    pub properties: BTreeMap<String, String>,
    /// Comment, if it has one.
    pub comment: Option<String>,
    /// User, group or service principal that owns it.
    pub owner: Option<String>,
    /// When it was created, milliseconds since 1970.
    pub created_at: Option<i64>,
    /// When it was last changed, milliseconds since 1970.
    pub updated_at: Option<i64>,
    /// The query, of a view only.
    pub view_definition: Option<String>,
    /// Primary and foreign keys. Lists never have them.
    #[serde(default, deserialize_with = "or_default")]
    pub table_constraints: Vec<TableConstraint>,
    /// The row filter, as the workspace describes it. Who reads the files directly bypasses it.
    pub row_filter: Option<serde_json::Value>,
    /// Whether the token's owner may only see that the table exists.
    #[serde(default, deserialize_with = "or_default")]
    pub browse_only: bool,
}

impl TableInfo {
    /// The partition columns, in partition order.
    pub fn partition_columns(&self) -> Vec<&ColumnInfo> {
        let mut found: Vec<(u32, &ColumnInfo)> =
            self.columns.iter().filter_map(|column| Some((column.partition_index?, column))).collect();
        found.sort_by_key(|(index, _)| *index);
        found.into_iter().map(|(_, column)| column).collect()
    }

    /// Whether reading its files directly would bypass a row filter or a column mask.
    pub fn is_governed_by_row(&self) -> bool {
        self.row_filter.is_some() || self.columns.iter().any(|column| column.mask.is_some())
    }
}

/// A column of a table.
#[derive(Debug, Clone, Deserialize)]
pub struct ColumnInfo {
    /// Name, as the table declares it.
    pub name: String,
    /// Position among all columns, from 0.
    #[serde(default, deserialize_with = "or_default")]
    pub position: u32,
    /// Type as DDL text, such as `decimal(10,2)`.
    pub type_text: Option<String>,
    /// Position among the partition columns, from 0; absent if it is not one of them.
    pub partition_index: Option<u32>,
    /// Whether it may hold NULL; true if the workspace does not say.
    #[serde(default = "yes")]
    pub nullable: bool,
    /// Comment, if it has one.
    pub comment: Option<String>,
    /// The column mask, as the workspace describes it. Who reads the files directly bypasses it.
    pub mask: Option<serde_json::Value>,
}

/// A table constraint. The source enforces none of them.
#[derive(Debug, Clone, Deserialize)]
pub struct TableConstraint {
    /// The primary key, if it is one.
    pub primary_key_constraint: Option<PrimaryKey>,
}

/// A primary key, which the source does not enforce.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PrimaryKey {
    /// Name of the constraint.
    pub name: Option<String>,
    /// Its columns, in the key's order.
    pub child_columns: Vec<String>,
    /// Whether it is declared RELY: its owner vouches that the rows keep it.
    #[serde(default, deserialize_with = "or_default")]
    pub rely: bool,
}

fn yes() -> bool {
    true
}

/// Reads `null`, which the workspace writes where it has nothing to say, as the default.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_stand_for_nothing_and_unknown_words_are_kept() {
        let table: TableInfo = serde_json::from_value(serde_json::json!({
            "name": "t", "catalog_name": "c", "schema_name": "s", "table_type": "HOLOGRAM", "columns": null, "properties": null,
            "table_constraints": null, "browse_only": null, "something_new": {"a": 1},
        }))
        .unwrap();
        assert_eq!(table.table_type, TableKind::Other("HOLOGRAM".to_owned()));
        assert!(table.columns.is_empty() && !table.is_governed_by_row());
    }
}
