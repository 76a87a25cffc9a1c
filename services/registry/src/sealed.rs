//! Reads and writes the secrets of resources in the store, sealed by the vault. The plain text must never reach the store.

use mms_store::{Read, Tx};

use crate::error::Result;
use crate::secrets::Secrets;
use crate::store::SECRETS;
use crate::vault::{KeyRing, VaultError};

/// The collection of data sources, which is the kind in the key of their secrets.
pub const SOURCE: &str = "dataSources";
/// The collection of network connections, likewise.
pub const NETWORK: &str = "networkConnections";

/// Decrypts the secrets of a resource; empty when it has none.
pub fn read(read: &impl Read, vault: &KeyRing, kind: &str, id: &str) -> Result<Secrets> {
    let Some(sealed) = read.get(&SECRETS, &(kind.to_owned(), id.to_owned()))? else { return Ok(Secrets::default()) };
    let whose = format!("{kind}/{id}");
    let plain = vault.open(&whose, &sealed)?;
    Ok(Secrets::from_bytes(&plain).ok_or(VaultError::Damaged { whose, key_id: sealed.key_id })?)
}

/// Encrypts and replaces all secrets of a resource; deletes the record when there are none.
pub fn write(tx: &mut Tx<'_>, vault: &KeyRing, kind: &str, id: &str, secrets: &Secrets) -> Result<()> {
    let key = (kind.to_owned(), id.to_owned());
    if secrets.is_empty() {
        tx.delete(&SECRETS, &key)?;
        return Ok(());
    }
    let sealed = vault.seal(&format!("{kind}/{id}"), tx.revision(), &secrets.to_bytes())?;
    Ok(tx.put(&SECRETS, &key, &sealed)?)
}
