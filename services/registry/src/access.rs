//! Builds the access to a data source: the data source and its network connection, with all secrets decrypted and references
//! resolved. Must go to nobody but the holder of a session and our own checks.

use std::convert::Infallible;

use mms_proto::registry::v1 as pb;
use secrecy::SecretString;

use crate::convert::{network_to, source_to};
use crate::core::Core;
use crate::error::{RegistryError, Result};
use crate::record;
use crate::reference::{Guard, ReferenceError};
use crate::secrets::{Fingerprint, Secrets, join, split};
use crate::{network, sealed, source};

/// Everything that is needed to connect to a data source's workspace, storage and project.
pub struct Access {
    /// The data source with its secrets.
    pub source: pb::DataSource,
    /// The network connection with its secrets and the operator's denied hosts. None, or one without a name: connect directly.
    pub network: Option<pb::NetworkConnection>,
    /// The revision of the network connection; 0 without one.
    pub network_revision: u64,
    /// The fingerprint of all these secrets.
    pub fingerprint: Fingerprint,
}

struct Parts {
    source: (pb::DataSource, Secrets),
    network: Option<(pb::NetworkConnection, Secrets)>,
    network_revision: u64,
}

/// The access to a stored data source.
pub async fn stored(core: &Core, id: &str) -> Result<Access> {
    let parts = core.store.read(|read| {
        let record = source::living(read, id)?;
        let secrets = sealed::read(read, &core.vault, sealed::SOURCE, id)?;
        parts(core, read, (source_to(id, &record), secrets), &record.network_connection)
    })?;
    resolve(core, parts).await
}

/// The access to a configuration that is not stored. The network connection it names must be stored.
pub async fn unsaved(core: &Core, config: &pb::DataSource) -> Result<Access> {
    let mut record = record::DataSource::default();
    let (public, secrets) = split(config);
    crate::convert::configure(&mut record, public.clone());
    let parts = core.store.read(|read| parts(core, read, (public, secrets), &record.network_connection))?;
    resolve(core, parts).await
}

fn parts(
    core: &Core,
    read: &mms_store::Reader<'_>,
    source: (pb::DataSource, Secrets),
    network_id: &str,
) -> Result<Parts> {
    if network_id.is_empty() {
        return Ok(Parts { source, network: None, network_revision: 0 });
    }
    let record = network::get(read, network_id)?;
    let secrets = sealed::read(read, &core.vault, sealed::NETWORK, network_id)?;
    let network = Some((network_to(network_id, &record), secrets));
    Ok(Parts { source, network, network_revision: record.revision })
}

/// A stored network connection with its secrets.
pub async fn network(core: &Core, id: &str) -> Result<pb::NetworkConnection> {
    let parts = core.store.read(|read| parts(core, read, Default::default(), id))?;
    resolve(core, parts).await?.network.ok_or_else(|| RegistryError::NotFound(network::name(id)))
}

async fn resolve(core: &Core, parts: Parts) -> Result<Access> {
    let (guard, denied) = (core.guard.clone(), core.denied_hosts.clone());
    // A reference may name a file, so resolving can block.
    let resolved = tokio::task::spawn_blocking(move || {
        let (source, of_source) = with_secrets(&guard, parts.source)?;
        let network = parts.network.map(|network| with_secrets(&guard, network)).transpose()?;
        let (network, of_network) = network.unzip();
        let fingerprint = Fingerprint::of([of_source].iter().chain(&of_network));
        let network = with_denied(network, &denied);
        Ok::<_, ReferenceError>(Access { source, network, network_revision: parts.network_revision, fingerprint })
    });
    Ok(resolved.await.map_err(|_| RegistryError::CutOff)??)
}

fn with_denied(network: Option<pb::NetworkConnection>, denied: &[String]) -> Option<pb::NetworkConnection> {
    if denied.is_empty() {
        return network;
    }
    Some(pb::NetworkConnection { denied_hosts: denied.to_vec(), ..network.unwrap_or_default() })
}

/// Joins a message with its resolved secrets. Reports all references that cannot be resolved at once.
fn with_secrets<T: prost::Message + prost::Name + Default>(
    guard: &Guard,
    (message, secrets): (T, Secrets),
) -> Result<(T, Secrets), ReferenceError> {
    let mut missing = Vec::new();
    let Ok(resolved) = secrets.map(|path, secret| {
        let found = guard.resolve(path, secret).map_err(|error| missing.push(error));
        Ok::<_, Infallible>(found.unwrap_or_else(|()| SecretString::from("")))
    });
    match missing.len() {
        0 => Ok((join(&message, &resolved), resolved)),
        1 => Err(missing.remove(0)),
        _ => Err(ReferenceError::Several(missing)),
    }
}
