//! This service's tables. Owns keys and indexes; decides nothing.

use mms_proto::registry::v1::DataSourceState;
use mms_store::{Index, Schema, StoreError, Table, Tx, known};

use crate::record;
use crate::state::State;

/// (kind of resource, id): whose secrets.
pub type SecretKey = (String, String);
/// (data source, holder)
pub type UseKey = (String, String);
/// (method, request id)
pub type RequestKey = (String, String);

/// Data sources by id.
pub static SOURCES: Table<String, record::DataSource> = Table::new("sources", 1)
    .indexed(&[&LIVE_SOURCES, &STARTED_SOURCES, &SOURCE_NAMES, &SOURCE_NETWORKS])
    .whole(|source| known::<DataSourceState>(source.state))
    .classed(class);
/// The class of those that are deleted; that of others is the number of their state.
pub const DELETED: u32 = 0;
fn class(source: &record::DataSource) -> u32 {
    if source.delete_ms == 0 { State::of(source.state).wire() as u32 } else { DELETED }
}
/// Those that are not deleted, by id.
pub static LIVE_SOURCES: Index<String, String, record::DataSource> =
    Index::new("live", |id, source| if source.delete_ms == 0 { vec![id.clone()] } else { Vec::new() });
/// Those that are started, by id.
pub static STARTED_SOURCES: Index<String, String, record::DataSource> =
    Index::new(
        "started",
        |id, source| {
            if State::of(source.state) == State::Started { vec![id.clone()] } else { Vec::new() }
        },
    );
/// Those that are not deleted, by display name.
pub static SOURCE_NAMES: Index<String, String, record::DataSource> =
    Index::new("name", |_, source| if source.delete_ms == 0 { vec![source.display_name.clone()] } else { Vec::new() });
/// All, by the network connection they name: a deleted one can come back and needs it then.
pub static SOURCE_NETWORKS: Index<String, String, record::DataSource> = Index::new("network", |_, source| {
    if source.network_connection.is_empty() { Vec::new() } else { vec![source.network_connection.clone()] }
});

/// What became of data sources, by the revision of the commit: each commit changes at most one.
pub static CHANGES: Table<u64, record::Change> = Table::new("changes", 1);
/// Up to which revision changes were forgotten.
pub static TRIM: Table<(), record::Trim> = Table::new("trim", 1);

/// Network connections by id.
pub static NETWORKS: Table<String, record::NetworkConnection> = Table::new("networks", 1).indexed(&[&NETWORK_NAMES]);
/// By display name.
pub static NETWORK_NAMES: Index<String, String, record::NetworkConnection> =
    Index::new("name", |_, network| vec![network.display_name.clone()]);

/// Secrets, encrypted.
pub static SECRETS: Table<SecretKey, record::Sealed> = Table::new("secrets", 1);
/// A known text sealed with each key, by the id of the key.
pub static CANARIES: Table<String, record::Sealed> = Table::new("canaries", 1);
/// Who uses which data source.
pub static USES: Table<UseKey, record::Use> = Table::new("uses", 1);
/// What request ids did.
pub static REQUESTS: Table<RequestKey, record::Request> = Table::new("requests", 1);

/// What a version before 0.1.0 wrote.
fn too_old(_: &mut Tx<'_>) -> Result<(), StoreError> {
    let why = "the data sources were stored by a version before 0.1.0, in another form: start with an empty data folder, and make the data sources again (mms source create)";
    Err(StoreError::OlderData { why })
}

/// The schema of this service's store.
pub fn schema() -> Schema {
    // One refusal for each version that there was.
    Schema::new("registry").migration(too_old)
}
