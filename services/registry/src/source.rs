//! The rules for storing, changing, starting, stopping and deleting data sources. Each function runs inside one commit and
//! changes at most one data source.

use mms_proto::registry::v1 as pb;
use mms_store::{Read, Scope, Tx};

use crate::convert::{configure, etag};
use crate::error::{RegistryError, Result};
use crate::record::{Change, CheckReport, DataSource};
use crate::sealed;
use crate::secrets::Secrets;
use crate::state::{Event, State};
use crate::store::{CHANGES, NETWORKS, SOURCE_NAMES, SOURCES, USES};
use crate::vault::KeyRing;

/// How long a deleted data source can be restored: 30 days.
pub const UNDELETE_MS: i64 = 30 * 86_400_000;

/// `dataSources/{id}`.
pub fn name(id: &str) -> String {
    format!("{}/{id}", sealed::SOURCE)
}

/// The stored data source, deleted or not; NOT_FOUND if there is none.
pub fn get(read: &impl Read, id: &str) -> Result<DataSource> {
    read.get(&SOURCES, &id.to_owned())?.ok_or_else(|| RegistryError::NotFound(name(id)))
}

/// A data source that is not deleted.
pub fn living(read: &impl Read, id: &str) -> Result<DataSource> {
    let source = get(read, id)?;
    if source.delete_ms == 0 { Ok(source) } else { Err(RegistryError::NotFound(name(id))) }
}

/// A data source that is started; fails with its state otherwise.
pub fn started(read: &impl Read, id: &str) -> Result<DataSource> {
    let source = living(read, id)?;
    match State::of(source.state) {
        State::Started => Ok(source),
        state => Err(RegistryError::NotStarted { resource: name(id), state }),
    }
}

fn put(tx: &mut Tx<'_>, id: &str, source: &DataSource) -> Result<()> {
    tx.put(&SOURCES, &id.to_owned(), source)?;
    let change = Change { id: id.to_owned(), source: source.clone() };
    let revision = tx.revision();
    Ok(tx.put(&CHANGES, &revision, &change)?)
}

/// Stores a new data source in state STOPPED.
pub fn create(
    tx: &mut Tx<'_>,
    vault: &KeyRing,
    id: &str,
    mut record: DataSource,
    secrets: &Secrets,
) -> Result<DataSource> {
    if tx.get(&SOURCES, &id.to_owned())?.is_some() {
        return Err(RegistryError::IdTaken(name(id)));
    }
    fits(tx, id, &record)?;
    record.state = State::Stopped.wire() as i32;
    record.config_revision = tx.revision();
    tell_secrets(&mut record, secrets);
    sealed::write(tx, vault, sealed::SOURCE, id, secrets)?;
    put(tx, id, &record)?;
    Ok(record)
}

/// Records which optional secrets are set: callers may know that, and nothing else about them.
fn tell_secrets(record: &mut DataSource, secrets: &Secrets) {
    record.max_compute.security_token = secrets.get("max_compute.access_key.security_token").is_some();
}

/// Checks that the display name is free and that the network connection exists.
fn fits(tx: &Tx<'_>, id: &str, record: &DataSource) -> Result<()> {
    let taken = tx.index_keys(&SOURCES, &SOURCE_NAMES, &Scope::exactly(&record.display_name), None, 2)?;
    if let Some(holder) = taken.items.iter().find(|holder| *holder != id) {
        return Err(RegistryError::NameTaken { name: record.display_name.clone(), holder: name(holder) });
    }
    let network = &record.network_connection;
    if !network.is_empty() && tx.get(&NETWORKS, network)?.is_none() {
        return Err(RegistryError::NotFound(format!("{}/{network}", sealed::NETWORK)));
    }
    Ok(())
}

/// A change of the configuration, prepared against the record with `revision`.
#[derive(Debug, Clone)]
pub struct Update {
    /// The configuration revision of that record.
    pub revision: u64,
    /// The new configuration, without secrets.
    pub config: pb::DataSource,
    /// All secrets, the kept ones included.
    pub secrets: Secrets,
    /// The time of the change, in milliseconds since 1970.
    pub now_ms: i64,
}

/// Stores a change of the configuration; None when the record has changed since, so that it must be prepared again.
pub fn update(tx: &mut Tx<'_>, vault: &KeyRing, id: &str, update: Update) -> Result<Option<DataSource>> {
    let mut record = living(tx, id)?;
    if record.config_revision != update.revision {
        return Ok(None);
    }
    configure(&mut record, update.config);
    fits(tx, id, &record)?;
    record.update_ms = update.now_ms;
    record.config_revision = tx.revision();
    tell_secrets(&mut record, &update.secrets);
    sealed::write(tx, vault, sealed::SOURCE, id, &update.secrets)?;
    put(tx, id, &record)?;
    Ok(Some(record))
}

/// Rejects an etag that is set and is not the current one.
pub fn check_etag(id: &str, record: &DataSource, given: &str) -> Result<()> {
    if given.is_empty() || given == etag(record.config_revision) {
        Ok(())
    } else {
        Err(RegistryError::EtagMismatch(name(id)))
    }
}

/// Deletes a data source; it can be restored for 30 days.
pub fn delete(tx: &mut Tx<'_>, id: &str, given_etag: &str, force: bool, now_ms: i64) -> Result<DataSource> {
    let mut record = living(tx, id)?;
    check_etag(id, &record, given_etag)?;
    let state = State::of(record.state);
    end_uses(tx, id, force)?;
    if !state.is_at_rest() && !force {
        return Err(RegistryError::WrongState { resource: name(id), state, remedy: "stop it first, or force" });
    }
    record.state = State::Stopped.wire() as i32;
    record.state_message.clear();
    record.delete_ms = now_ms;
    record.config_revision = tx.revision();
    put(tx, id, &record)?;
    Ok(record)
}

/// Restores a deleted data source in state STOPPED.
pub fn undelete(tx: &mut Tx<'_>, id: &str, now_ms: i64) -> Result<DataSource> {
    let mut record = get(tx, id)?;
    if record.delete_ms == 0 {
        return Err(RegistryError::NotDeleted(name(id)));
    }
    if now_ms - record.delete_ms > UNDELETE_MS {
        return Err(RegistryError::NotFound(name(id)));
    }
    record.delete_ms = 0;
    fits(tx, id, &record)?;
    record.config_revision = tx.revision();
    put(tx, id, &record)?;
    Ok(record)
}

/// Applies an event to the data source's state; fails if the event is not possible in it.
pub fn step(tx: &mut Tx<'_>, id: &str, event: Event, message: &str) -> Result<DataSource> {
    let mut record = living(tx, id)?;
    let state = State::of(record.state);
    let Some(next) = state.after(event) else {
        let remedy = "wait until that has ended, then call again";
        return Err(RegistryError::WrongState { resource: name(id), state, remedy });
    };
    if next == state && record.state_message == message {
        return Ok(record);
    }
    record.state = next.wire() as i32;
    record.state_message = message.to_owned();
    put(tx, id, &record)?;
    Ok(record)
}

/// Stops a data source; fails while it is in use, unless `force` ends the uses.
pub fn stop(tx: &mut Tx<'_>, id: &str, force: bool) -> Result<DataSource> {
    living(tx, id)?;
    end_uses(tx, id, force)?;
    step(tx, id, Event::Stop, "")
}

fn end_uses(tx: &mut Tx<'_>, id: &str, force: bool) -> Result<()> {
    loop {
        let uses = tx.page(&USES, &Scope::prefix(&(id.to_owned(),)), None, 500)?;
        match uses.items.first() {
            None => return Ok(()),
            Some(((_, holder), _)) if !force => {
                return Err(RegistryError::InUse { resource: name(id), holder: holder.clone() });
            }
            Some(_) => {}
        }
        for (key, _) in uses.items {
            tx.delete(&USES, &key)?;
        }
    }
}

/// Stores the report of the last check.
pub fn set_report(tx: &mut Tx<'_>, id: &str, report: CheckReport) -> Result<()> {
    let mut record = living(tx, id)?;
    record.last_check = Some(report);
    put(tx, id, &record)
}
