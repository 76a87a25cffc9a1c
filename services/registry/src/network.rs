//! The rules for storing, changing and deleting network connections. Each function runs inside one commit.

use mms_proto::registry::v1 as pb;
use mms_store::{Read, Scope, Tx};

use crate::convert::{etag, network_from};
use crate::error::{RegistryError, Result};
use crate::record::NetworkConnection;
use crate::sealed;
use crate::secrets::Secrets;
use crate::source;
use crate::store::{NETWORK_NAMES, NETWORKS, SECRETS, SOURCE_NETWORKS, SOURCES};
use crate::vault::KeyRing;

/// `networkConnections/{id}`.
pub fn name(id: &str) -> String {
    format!("{}/{id}", sealed::NETWORK)
}

/// The stored network connection; NOT_FOUND if there is none.
pub fn get(read: &impl Read, id: &str) -> Result<NetworkConnection> {
    read.get(&NETWORKS, &id.to_owned())?.ok_or_else(|| RegistryError::NotFound(name(id)))
}

fn put(tx: &mut Tx<'_>, vault: &KeyRing, id: &str, record: &mut NetworkConnection, secrets: &Secrets) -> Result<()> {
    let taken = tx.index_keys(&NETWORKS, &NETWORK_NAMES, &Scope::exactly(&record.display_name), None, 2)?;
    if let Some(holder) = taken.items.iter().find(|holder| *holder != id) {
        return Err(RegistryError::NameTaken { name: record.display_name.clone(), holder: name(holder) });
    }
    record.revision = tx.revision();
    record.proxy_authorization = secrets.get("proxy_authorization").is_some();
    record.client_key = secrets.get("client_key_pem").is_some();
    sealed::write(tx, vault, sealed::NETWORK, id, secrets)?;
    Ok(tx.put(&NETWORKS, &id.to_owned(), record)?)
}

/// Stores a new network connection. Fails when the id or the display name is taken.
pub fn create(
    tx: &mut Tx<'_>,
    vault: &KeyRing,
    id: &str,
    mut record: NetworkConnection,
    secrets: &Secrets,
) -> Result<NetworkConnection> {
    if tx.get(&NETWORKS, &id.to_owned())?.is_some() {
        return Err(RegistryError::IdTaken(name(id)));
    }
    put(tx, vault, id, &mut record, secrets)?;
    Ok(record)
}

/// A change that was prepared against the record stored at that time.
pub struct Update {
    /// The revision of that record.
    pub revision: u64,
    /// The change is allowed only as long as no data source names the connection.
    pub while_unused: bool,
    /// The new configuration, without secrets.
    pub config: pb::NetworkConnection,
    /// All secrets, the kept ones included.
    pub secrets: Secrets,
}

/// Stores a change; None when the record has changed since, so that it must be prepared again.
pub fn update(
    tx: &mut Tx<'_>,
    vault: &KeyRing,
    id: &str,
    change: Update,
    now_ms: i64,
) -> Result<Option<NetworkConnection>> {
    let mut record = get(tx, id)?;
    if record.revision != change.revision || (change.while_unused && user(tx, id)?.is_some()) {
        return Ok(None);
    }
    network_from(&mut record, change.config);
    record.update_ms = now_ms;
    put(tx, vault, id, &mut record, &change.secrets)?;
    Ok(Some(record))
}

/// The id of a data source that names this network connection.
pub fn user(read: &impl Read, id: &str) -> Result<Option<String>> {
    let users = read.index_keys(&SOURCES, &SOURCE_NETWORKS, &Scope::exactly(&id.to_owned()), None, 1)?;
    Ok(users.items.into_iter().next())
}

/// Rejects an etag that is set and is not the current one.
pub fn check_etag(id: &str, record: &NetworkConnection, given: &str) -> Result<()> {
    if given.is_empty() || given == etag(record.revision) { Ok(()) } else { Err(RegistryError::EtagMismatch(name(id))) }
}

/// Deletes a network connection; fails while a data source names it, even a deleted one that can be restored.
pub fn delete(tx: &mut Tx<'_>, id: &str, given_etag: &str) -> Result<()> {
    let record = get(tx, id)?;
    check_etag(id, &record, given_etag)?;
    if let Some(user) = user(tx, id)? {
        return Err(RegistryError::InUse { resource: name(id), holder: source::name(&user) });
    }
    tx.delete(&SECRETS, &(sealed::NETWORK.to_owned(), id.to_owned()))?;
    tx.delete(&NETWORKS, &id.to_owned())?;
    Ok(())
}
