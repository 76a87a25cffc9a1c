//! Verifies at every start that the configured encryption keys are those that the store was written with: a lost or wrong key
//! must not show later as damage, one data source after the other.
//!
//! The store has a canary for each key that ever wrapped secrets: a known text, sealed with that key.

use std::collections::BTreeMap;

use mms_store::{Read, Scope, Store, StoreError};

use crate::error::RegistryError;
use crate::record::Sealed;
use crate::store::{CANARIES, SECRETS, SecretKey};
use crate::vault::{KeyRing, VaultError};

const WHOSE: &str = "canary";
const TEXT: &[u8] = b"mms registry canary";
/// Secrets read or deleted in one commit.
const AT_ONCE: usize = 500;

/// Why the registry does not start.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// The key configured under this id is another one.
    #[error(
        "encryption key {key_id:?} is not the one that this store was written with: put the right key back under that id; if it is lost, give the new one another id (registry.encryption_key_id) and name {key_id:?} in registry.lost_encryption_keys, which gives up the {secrets} sets of secrets that it wraps"
    )]
    WrongKey {
        /// The id of the key.
        key_id: String,
        /// How many sets of secrets it wraps.
        secrets: usize,
    },
    /// Secrets are wrapped with a key that is not configured.
    #[error(
        "encryption key {key_id:?} is not configured, and {secrets} sets of secrets are wrapped with it: add it to registry.other_encryption_keys; if it is lost, name it in registry.lost_encryption_keys, which gives them up"
    )]
    NoKey {
        /// The id of the key.
        key_id: String,
        /// How many sets of secrets it wraps.
        secrets: usize,
    },
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The secrets of a lost key could not be deleted.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Deletes the secrets that `lost` keys wrap, opens every canary, and stores one for the active key if there is none.
pub async fn check(store: &Store, vault: &KeyRing, lost: &[String]) -> Result<(), CanaryError> {
    for key_id in lost {
        give_up(store, key_id).await?;
    }
    let wrapped = wrapped(store)?;
    let canaries = store.read(|read| Ok::<_, StoreError>(read.page(&CANARIES, &Scope::all(), None, AT_ONCE)?.items))?;
    let canaries: BTreeMap<String, Sealed> = canaries.into_iter().collect();
    // A store written before there were canaries is verified by its secrets.
    let ids = canaries.keys().chain(wrapped.keys());
    for key_id in ids {
        let secrets = wrapped.get(key_id).map_or(0, |(count, _)| *count);
        let opens = |whose: &str, sealed: &Sealed| vault.open(whose, sealed).is_ok();
        let right = match (canaries.get(key_id), wrapped.get(key_id)) {
            _ if !vault.has(key_id) && secrets == 0 => continue,
            _ if !vault.has(key_id) => return Err(CanaryError::NoKey { key_id: key_id.clone(), secrets }),
            (Some(canary), _) => opens(WHOSE, canary),
            (None, Some((_, (key, sealed)))) => opens(&format!("{}/{}", key.0, key.1), sealed),
            (None, None) => true,
        };
        if !right {
            return Err(CanaryError::WrongKey { key_id: key_id.clone(), secrets });
        }
    }
    if canaries.contains_key(vault.active()) {
        return Ok(());
    }
    let (sealed, key_id) = (vault.seal(WHOSE, 0, TEXT)?, vault.active().to_owned());
    match store.commit(move |tx| tx.put(&CANARIES, &key_id, &sealed)).await {
        // Serving the existing data matters more; the next start repeats this.
        Err(StoreError::DiskFull { .. }) => Ok(()),
        other => Ok(other?),
    }
}

/// For each key, how many sets of secrets it wraps, and one of them.
type Wrapped = BTreeMap<String, (usize, (SecretKey, Sealed))>;

fn wrapped(store: &Store) -> Result<Wrapped, StoreError> {
    let mut found = Wrapped::new();
    for page in store.pages(&SECRETS, Scope::all(), AT_ONCE) {
        for (key, sealed) in page? {
            found.entry(sealed.key_id.clone()).or_insert_with(|| (0, (key, sealed))).0 += 1;
        }
    }
    Ok(found)
}

async fn give_up(store: &Store, key_id: &str) -> Result<(), CanaryError> {
    let mut after = None;
    loop {
        let (from, id) = (after.clone(), key_id.to_owned());
        let (next, gone) = store
            .commit(move |tx| {
                let page = tx.page(&SECRETS, &Scope::all(), from.as_ref(), AT_ONCE)?;
                let mut gone = Vec::new();
                for (key, _) in page.items.into_iter().filter(|(_, sealed)| sealed.key_id == id) {
                    tx.delete(&SECRETS, &key)?;
                    gone.push(format!("{}/{}", key.0, key.1));
                }
                tx.delete(&CANARIES, &id)?;
                Ok::<_, RegistryError>((page.next, gone))
            })
            .await?;
        for whose in gone {
            tracing::warn!(whose, key_id, "secrets deleted: their encryption key is lost; send them again");
        }
        after = next;
        if after.is_none() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::KEY_BYTES;
    use secrecy::zeroize::Zeroizing;

    fn ring(id: &str, byte: u8) -> KeyRing {
        KeyRing::new(id, Zeroizing::new([byte; KEY_BYTES]))
    }

    fn store() -> Store {
        Store::in_memory(crate::store::schema()).unwrap()
    }

    async fn put_secret(store: &Store, ring: &KeyRing) {
        let sealed = ring.seal("dataSources/a", 1, b"{}").unwrap();
        store.commit(move |tx| tx.put(&SECRETS, &("dataSources".into(), "a".into()), &sealed)).await.unwrap();
    }

    #[tokio::test]
    async fn a_wrong_key_is_noticed_before_anything_is_wrapped_with_it() {
        let store = store();
        check(&store, &ring("main", 1), &[]).await.unwrap();
        check(&store, &ring("main", 1), &[]).await.unwrap();
        let error = check(&store, &ring("main", 2), &[]).await.unwrap_err();
        assert!(matches!(&error, CanaryError::WrongKey { key_id, secrets: 0 } if key_id == "main"), "{error}");
        assert!(error.to_string().contains("\"main\""), "{error}");
    }

    #[tokio::test]
    async fn secrets_of_a_release_without_canaries_tell_as_well() {
        let store = store();
        put_secret(&store, &ring("main", 1)).await;
        let error = check(&store, &ring("main", 2), &[]).await.unwrap_err();
        assert!(matches!(error, CanaryError::WrongKey { secrets: 1, .. }), "{error}");
        check(&store, &ring("main", 1), &[]).await.unwrap();
    }

    #[tokio::test]
    async fn a_key_that_is_still_needed_is_asked_for_and_can_be_given_up() {
        let store = store();
        check(&store, &ring("main", 1), &[]).await.unwrap();
        put_secret(&store, &ring("main", 1)).await;
        let error = check(&store, &ring("next", 2), &[]).await.unwrap_err();
        assert!(matches!(&error, CanaryError::NoKey { key_id, secrets: 1 } if key_id == "main"), "{error}");
        check(&store, &ring("next", 2), &["main".into()]).await.unwrap();
        check(&store, &ring("next", 2), &[]).await.unwrap();
        assert_eq!(wrapped(&store).unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_key_that_wraps_nothing_any_more_can_go() {
        let store = store();
        check(&store, &ring("main", 1), &[]).await.unwrap();
        check(&store, &ring("next", 2), &[]).await.unwrap();
    }
}
