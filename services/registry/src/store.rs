//! The tables of this service's store, with their keys and indexes. Decides nothing.

use mms_proto::registry::v1::DataSourceState;
use mms_server::requests;
use mms_store::{Index, Read, Schema, Scope, StoreError, Table, Tx, known};

use crate::record;
use crate::state::State;

/// (kind of resource, id): the owner of the secrets.
pub type SecretKey = (String, String);
/// (data source, holder)
pub type UseKey = (String, String);

/// Data sources, by id.
pub static SOURCES: Table<String, record::DataSource> = Table::new("sources", 1)
    .indexed(&[&LIVE_SOURCES, &STARTED_SOURCES, &SOURCE_NAMES, &SOURCE_NETWORKS])
    .whole(|source| known::<DataSourceState>(source.state))
    .classed(class);
/// The class that counts deleted data sources; the class of others is the number of their state.
pub const DELETED: u32 = 0;
fn class(source: &record::DataSource) -> u32 {
    if source.delete_ms == 0 { State::of(source.state).wire() as u32 } else { DELETED }
}
/// Data sources that are not deleted, by id.
pub static LIVE_SOURCES: Index<String, String, record::DataSource> =
    Index::new("live", |id, source| if source.delete_ms == 0 { vec![id.clone()] } else { Vec::new() });
/// Started data sources, by id.
pub static STARTED_SOURCES: Index<String, String, record::DataSource> =
    Index::new(
        "started",
        |id, source| {
            if State::of(source.state) == State::Started { vec![id.clone()] } else { Vec::new() }
        },
    );
/// Data sources that are not deleted, by display name.
pub static SOURCE_NAMES: Index<String, String, record::DataSource> =
    Index::new("name", |_, source| if source.delete_ms == 0 { vec![source.display_name.clone()] } else { Vec::new() });
/// All data sources, by the network connection they name: a deleted one may be restored and needs it then.
pub static SOURCE_NETWORKS: Index<String, String, record::DataSource> = Index::new("network", |_, source| {
    if source.network_connection.is_empty() { Vec::new() } else { vec![source.network_connection.clone()] }
});

/// Changes of data sources, by the revision of the commit; each commit changes at most one.
pub static CHANGES: Table<u64, record::Change> = Table::new("changes", 1);
/// The highest revision whose changes were deleted.
pub static TRIM: Table<(), record::Trim> = Table::new("trim", 1);

/// Network connections, by id.
pub static NETWORKS: Table<String, record::NetworkConnection> = Table::new("networks", 1).indexed(&[&NETWORK_NAMES]);
/// By display name.
pub static NETWORK_NAMES: Index<String, String, record::NetworkConnection> =
    Index::new("name", |_, network| vec![network.display_name.clone()]);

/// The encrypted secrets.
pub static SECRETS: Table<SecretKey, record::Sealed> = Table::new("secrets", 1);
/// A known text sealed with each key, by the id of the key.
pub static CANARIES: Table<String, record::Sealed> = Table::new("canaries", 1);
/// The uses of data sources.
pub static USES: Table<UseKey, record::Use> = Table::new("uses", 1);

/// Rejects a store that a version before 0.1.0 wrote.
fn too_old(_: &mut Tx<'_>) -> Result<(), StoreError> {
    let why = "the data sources were stored by a version before 0.1.0, in another form: start with an empty data folder, and make the data sources again (mms source create)";
    Err(StoreError::OlderData { why })
}

/// The form of request ids in version 2 of the store.
mod before {
    use super::{Read, Scope, StoreError, Table, Tx, requests};

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Request {
        #[prost(bytes = "vec", tag = "1")]
        pub fingerprint: Vec<u8>,
        #[prost(string, tag = "2")]
        pub key_id: String,
        #[prost(string, tag = "3")]
        pub resource: String,
        #[prost(int64, tag = "4")]
        pub time_ms: i64,
    }

    pub static REQUESTS: Table<requests::RequestKey, Request> = Table::new("requests", 1);

    /// Converts them to the form that all services share.
    pub fn convert(tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let mut all = Vec::new();
        tx.scan(&REQUESTS, &Scope::all(), |key, before| {
            all.push((key, before));
            std::ops::ControlFlow::Continue(())
        })?;
        for (key, before) in all {
            let Request { fingerprint, key_id, resource, time_ms } = before;
            let request =
                requests::Request { digest: fingerprint, key_id, resource, time_ms, ..requests::Request::default() };
            tx.delete(&REQUESTS, &key)?;
            tx.put(&requests::REQUESTS, &key, &request)?;
        }
        Ok(())
    }
}

/// The schema of this service's store, with its migrations.
pub fn schema() -> Schema {
    // Version 1 is rejected, version 2 is converted.
    Schema::new("registry").migration(too_old).migration(before::convert)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_store::Store;

    #[tokio::test]
    async fn request_ids_of_the_version_before_are_kept() {
        let store = Store::in_memory(Schema::new("registry")).expect("opened");
        let key = ("CreateDataSource".to_owned(), "once".to_owned());
        let before =
            before::Request { fingerprint: vec![7], key_id: "k".to_owned(), resource: "lake".to_owned(), time_ms: 5 };
        let own = key.clone();
        store.commit(move |tx| tx.put(&before::REQUESTS, &own, &before)).await.expect("stored");
        store.commit(before::convert).await.expect("converted");
        let now = store.read(|read| read.get(&requests::REQUESTS, &key)).expect("readable").expect("kept");
        assert_eq!((now.digest, now.key_id.as_str(), now.resource.as_str(), now.time_ms), (vec![7], "k", "lake", 5));
        assert!(!store.commit(|tx| requests::forget(tx, i64::MAX)).await.expect("forgotten by time"));
        assert!(store.pages(&requests::REQUESTS, Scope::all(), 1).next().is_none());
    }
}
