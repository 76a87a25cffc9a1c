//! Starts and stops data sources, acquires and releases uses, and opens sessions. Combines the durable decisions, which
//! [`crate::source`] makes inside commits, with the clients of source and target and with the leases.

use std::time::Duration;

use aws_lc_rs::rand;
use mms_proto::registry::v1 as pb;
use mms_store::Read;
use tokio::time::Instant;

use crate::access::{self, Access};
use crate::convert::etag;
use crate::core::Core;
use crate::error::{RegistryError, Result};
use crate::lease::Session;
use crate::record::{DataSource, Use};
use crate::state::{Event, State};
use crate::store::USES;
use crate::vault::VaultError;
use crate::{check, network, purpose, source};

/// Longest time for connecting to the source and the target.
const TRY_LIMIT: Duration = Duration::from_secs(60);
/// Random bytes in a session token.
const TOKEN_BYTES: usize = 32;

/// Starts a data source. Continues to the end even if the caller disconnects.
pub async fn start(core: &Core, id: &str) -> Result<DataSource> {
    let (core, id) = (core.clone(), id.to_owned());
    tokio::spawn(async move { start_now(&core, &id).await }).await.map_err(|_| RegistryError::CutOff)?
}

async fn start_now(core: &Core, id: &str) -> Result<DataSource> {
    let _gate = core.gate(id).await;
    let current = core.store.read(|read| source::living(read, id))?;
    if State::of(current.state) == State::Started {
        core.leases.touch(id, Instant::now());
        return Ok(current);
    }
    step(core, id, Event::Start, String::new()).await?;
    let tried = match tokio::time::timeout(TRY_LIMIT, try_ends(core, id)).await {
        Ok(tried) => tried,
        Err(_) => Err(RegistryError::EndFailed {
            end: crate::error::End::Source,
            step: pb::CheckStepId::WorkspaceReachable,
            message: format!("source and target did not answer within {} s", TRY_LIMIT.as_secs()),
        }),
    };
    match tried {
        Ok(()) => {
            core.leases.touch(id, Instant::now());
            step(core, id, Event::StartedWell, String::new()).await
        }
        Err(error) => {
            step(core, id, Event::StartFailed, error.to_string()).await?;
            Err(error)
        }
    }
}

async fn step(core: &Core, id: &str, event: Event, message: String) -> Result<DataSource> {
    let id = id.to_owned();
    core.store.commit(move |tx| source::step(tx, &id, event, &message)).await
}

async fn try_ends(core: &Core, id: &str) -> Result<()> {
    let Access { source, network, .. } = access::stored(core, id).await?;
    check::try_ends(&source, network.as_ref(), &core.traffic).await
}

/// Stops a data source and ends its sessions; with `force`, its uses too.
pub async fn stop(core: &Core, id: &str, force: bool) -> Result<DataSource> {
    let _gate = core.gate(id).await;
    let own = id.to_owned();
    let record = core.store.commit(move |tx| source::stop(tx, &own, force)).await?;
    core.leases.end_all(id);
    Ok(record)
}

/// Deletes a data source and ends its sessions; with `force`, its uses too.
pub async fn delete(core: &Core, id: &str, etag: &str, force: bool) -> Result<DataSource> {
    let _gate = core.gate(id).await;
    let (own, etag, now_ms) = (id.to_owned(), etag.to_owned(), core.now_ms());
    let record = core.store.commit(move |tx| source::delete(tx, &own, &etag, force, now_ms)).await?;
    core.leases.end_all(id);
    Ok(record)
}

/// Opens a session: the only way by which secrets leave this process.
pub async fn open_session(core: &Core, id: &str, holder: &str, purposes: &[pb::SessionPurpose]) -> Result<pb::Session> {
    core.store.read(|read| source::started(read, id))?;
    let Access { source, network, network_revision, fingerprint } = access::stored(core, id).await?;
    let token = random_token()?;
    // A stop ends the existing sessions after its commit: no session may be opened in between.
    let _gate = core.gate(id).await;
    core.store.read(|read| source::started(read, id))?;
    let reads_files = purposes.iter().any(|purpose| purpose::reads_files(*purpose));
    if !core.leases.open(&token, (id, holder), (network_revision, fingerprint, reads_files), Instant::now()) {
        return Err(RegistryError::TooManySessions);
    }
    let source = purpose::limited(source, purposes);
    tracing::info!(data_source = source.name, holder, ?purposes, "session opened");
    Ok(pb::Session {
        session_token: token,
        expire_after: mms_proto::time::duration(core.leases.session_term()),
        data_source: Some(source),
        network_connection: network,
    })
}

fn random_token() -> Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    rand::fill(&mut bytes).map_err(|_| VaultError::Crypto)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Renews a session. Returns whether the configuration or the resolved secrets differ from those that the caller has.
pub async fn renew_session(core: &Core, token: &str, given_etag: &str) -> Result<bool> {
    let Session { source: id, network: seen, secrets, .. } =
        core.leases.renew(token, Instant::now()).ok_or(RegistryError::SessionGone)?;
    let changed = core.store.read(|read| {
        let record = source::started(read, &id)?;
        let network = match record.network_connection.as_str() {
            "" => 0,
            network => network::get(read, network)?.revision,
        };
        Ok::<_, RegistryError>(etag(record.config_revision) != given_etag || network != seen)
    })?;
    if changed {
        return Ok(true);
    }
    match access::stored(core, &id).await {
        Ok(now) => Ok(now.fingerprint != secrets),
        // A file that is being replaced may be missing for a moment. If it stays missing, the next session that is opened reports
        // it.
        Err(RegistryError::Reference(error)) => {
            tracing::warn!(data_source = id, %error, "a secret's reference cannot be resolved; the session keeps the secret it has");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Acquires or renews a use; starts the data source if its settings allow that.
pub async fn acquire(core: &Core, id: &str, holder: &str) -> Result<DataSource> {
    let record = core.store.read(|read| source::living(read, id))?;
    let key = (id.to_owned(), holder.to_owned());
    if State::of(record.state) == State::Started && core.leases.prolong(&key, Instant::now()) {
        return Ok(record);
    }
    if State::of(record.state) != State::Started && record.settings.is_some_and(|settings| settings.auto_start) {
        start(core, id).await?;
    }
    let (leases, now_ms, id) = (core.leases.clone(), core.now_ms(), id.to_owned());
    core.store
        .commit(move |tx| {
            let record = source::started(tx, &id)?;
            if tx.get(&USES, &key)?.is_none() {
                tx.put(&USES, &key, &Use { acquire_ms: now_ms })?;
            }
            // Inside the commit, so that a commit that ends uses sees both the record and the lease, or neither.
            leases.hold(key, Instant::now());
            Ok(record)
        })
        .await
}

/// Releases a use.
pub async fn release(core: &Core, id: &str, holder: &str) -> Result<()> {
    let key = (id.to_owned(), holder.to_owned());
    let leases = core.leases.clone();
    core.store
        .commit(move |tx| {
            tx.delete(&USES, &key)?;
            leases.release(&key, Instant::now());
            Ok(())
        })
        .await
}
