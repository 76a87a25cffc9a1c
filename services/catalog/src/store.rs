//! The tables of this service's store, with their keys and indexes. Decides nothing.

use mms_proto::catalog::v1::TableKind;
use mms_proto::types::v1::MigrationState;
use mms_server::requests;
use mms_store::{Index, Schema, StoreError, Table, Tx, known};

use crate::record::{self, ScanState};

/// (data source, schema)
pub type SchemaKey = (String, String);
/// (data source, schema, table)
pub type TableKey = (String, String, String);
/// (data source, schema, table, last segment of the partition's name)
pub type PartitionKey = (String, String, String, String);
/// ((data source, schema, table), (table id, target's text), version)
pub type VersionKey = (TableKey, (String, String), i64);
/// (data source, scan)
pub type ScanKey = (String, String);

/// Schemas of all data sources.
pub static SCHEMAS: Table<SchemaKey, record::Schema> = Table::new("schemas", 1);
/// Tables of all schemas.
pub static TABLES: Table<TableKey, record::Table> = Table::new("tables", 1).whole(|table| {
    known::<MigrationState>(table.state)?;
    known::<MigrationState>(table.own_state)?;
    known::<TableKind>(table.facts.kind)
});
/// Partitions of all tables.
pub static PARTITIONS: Table<PartitionKey, record::Partition> =
    Table::new("partitions", 1).whole(|partition| known::<MigrationState>(partition.state));
/// How many live partitions of a table are at each target in each version.
pub static VERSIONS: Table<VersionKey, record::VersionCount> = Table::new("migrated_versions", 1);
/// The counters of each data source, by its id.
pub static SUMMARIES: Table<String, record::Summary> = Table::new("summaries", 1);

/// Scans of all data sources.
pub static SCANS: Table<ScanKey, record::Scan> = Table::new("scans", 1)
    .indexed(&[&SCANS_BY_AGE, &LIVE_SCANS])
    .whole(|scan| known::<ScanState>(scan.state))
    .classed(|scan| scan.state.unsigned_abs());
/// By (data source, number of the scan).
pub static SCANS_BY_AGE: Index<(String, u64), ScanKey, record::Scan> =
    Index::new("by_age", |key, scan| vec![(key.0.clone(), scan.number)]);
/// Scans that have not ended, by data source.
pub static LIVE_SCANS: Index<(String,), ScanKey, record::Scan> =
    Index::new("live", |key, scan| if ScanState::of(scan).is_live() { vec![(key.0.clone(),)] } else { Vec::new() });

/// The scan schedule of each data source, by its id.
pub static SCAN_CLOCKS: Table<String, record::ScanClock> = Table::new("scan_clocks", 1);

/// The last report that was applied, by (data source, task).
pub static APPLIED: Table<(String, String), record::Applied> = Table::new("applied", 1).indexed(&[&APPLIED_BY_TIME]);
/// By the time of the last report.
pub static APPLIED_BY_TIME: Index<i64, (String, String), record::Applied> =
    Index::new("by_time", |_, applied| vec![applied.time_ms]);

/// The source table that owns a target table, by the target's address in lower case.
pub static CLAIMS: Table<String, record::Claim> = Table::new("claims", 1).indexed(&[&CLAIMS_BY_TABLE]);
/// By source table.
pub static CLAIMS_BY_TABLE: Index<TableKey, String, record::Claim> =
    Index::new("by_table", |_, claim| vec![(claim.data_source.clone(), claim.schema.clone(), claim.table.clone())]);

/// Rejects a store that a version before 0.1.0 wrote.
fn too_old(_: &mut Tx<'_>) -> Result<(), StoreError> {
    let why = "the catalog was stored by a version before 0.1.0, in another form: start with an empty data folder, and scan again";
    Err(StoreError::OlderData { why })
}

/// The schema of this service's store.
pub fn schema() -> Schema {
    // Each of the two earlier formats is rejected; then the migration of request ids follows.
    Schema::new("catalog").migration(too_old).migration(too_old).migration(requests::file)
}
