//! Converts between keys of the store and resource names. The one place that knows both forms.

use mms_proto::name::segment::Segment;
use mms_proto::name::{
    DataSourceName, PartitionId, PartitionName, ResourceId, ScanName, SchemaName, SourceId, TableName,
};

use crate::error::{CatalogError, Result};
use crate::store::{PartitionKey, ScanKey, SchemaKey, TableKey};

fn bad(error: String) -> CatalogError {
    CatalogError::NotFound(error)
}

/// `dataSources/{source}`.
pub fn source_name(source: &str) -> String {
    format!("dataSources/{source}")
}

/// The store's key of a schema.
pub fn schema_key(name: &SchemaName) -> SchemaKey {
    (name.parent().id().as_str().to_owned(), name.id().as_str().to_owned())
}

/// Fails with NOT_FOUND when the key is no valid name.
pub fn schema_name(key: &SchemaKey) -> Result<SchemaName> {
    let source = DataSourceName::new(ResourceId::new(key.0.as_str()).map_err(bad)?);
    Ok(SchemaName::new(source, SourceId::new(key.1.as_str()).map_err(bad)?))
}

/// The store's key of a table.
pub fn table_key(name: &TableName) -> TableKey {
    let (source, schema) = schema_key(name.parent());
    (source, schema, name.id().as_str().to_owned())
}

/// Fails with NOT_FOUND when the key is no valid name.
pub fn table_name(key: &TableKey) -> Result<TableName> {
    let schema = schema_name(&(key.0.clone(), key.1.clone()))?;
    Ok(TableName::new(schema, SourceId::new(key.2.as_str()).map_err(bad)?))
}

/// The store's key of a partition.
pub fn partition_key(name: &PartitionName) -> PartitionKey {
    let table = table_key(name.parent());
    (table.0, table.1, table.2, name.id().to_string())
}

/// Fails with NOT_FOUND when the key is no valid name.
pub fn partition_name(key: &PartitionKey) -> Result<PartitionName> {
    let table = table_name(&(key.0.clone(), key.1.clone(), key.2.clone()))?;
    Ok(PartitionName::new(table, PartitionId::parse_segment(&key.3).map_err(bad)?))
}

/// The store's key of a partition, from its table's key and the last segment of its name.
pub fn partition_of(table: &TableKey, segment: String) -> PartitionKey {
    (table.0.clone(), table.1.clone(), table.2.clone(), segment)
}

/// The last segment of a partition's name: its columns and values by level.
pub fn segment(values: &[(String, Option<String>)]) -> Result<String> {
    Ok(PartitionId::new(values.to_vec()).map_err(bad)?.to_string())
}

/// The store's key of a scan.
pub fn scan_key(name: &ScanName) -> ScanKey {
    (name.parent().id().as_str().to_owned(), name.id().as_str().to_owned())
}

/// `dataSources/{source}/scans/{scan}`.
pub fn scan_name(key: &ScanKey) -> String {
    format!("dataSources/{}/scans/{}", key.0, key.1)
}
