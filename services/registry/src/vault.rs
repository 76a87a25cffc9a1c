//! Encrypts secrets at rest: AES-256-GCM with a random data key for each record, which is wrapped by a key-encryption key of the
//! ring. Both layers authenticate the owner and the version of the secrets, so that no ciphertext can replace another.
//!
//! Must never show a key or a secret, and wipes both from memory after use.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hmac, rand};
use secrecy::zeroize::{Zeroize, Zeroizing};

use crate::record::Sealed;

/// The length of a key in bytes.
pub const KEY_BYTES: usize = 32;

/// Why secrets could not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The key is not configured.
    #[error(
        "the secrets of {whose} are wrapped with key {key_id:?}, which is not configured: add it to registry.other_encryption_keys"
    )]
    NoKey {
        /// The resource that the secrets belong to.
        whose: String,
        /// The id of the missing key.
        key_id: String,
    },
    /// The ciphertext was not made with this key for this resource and version.
    #[error(
        "the secrets of {whose} cannot be decrypted: key {key_id:?} is another than the one they were wrapped with, or the store was tampered with"
    )]
    Damaged {
        /// The resource that the secrets belong to.
        whose: String,
        /// The id of the key.
        key_id: String,
    },
    /// The cryptographic library failed.
    #[error("no random numbers, or a key of the wrong length")]
    Crypto,
}

/// The key-encryption keys of this process.
pub struct KeyRing {
    keys: BTreeMap<String, Zeroizing<[u8; KEY_BYTES]>>,
    active: String,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("active", &self.active).field("keys", &self.keys.len()).finish()
    }
}

impl KeyRing {
    /// A ring whose `active` key wraps everything that is sealed from now on.
    pub fn new(active: impl Into<String>, key: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let active = active.into();
        Self { keys: BTreeMap::from([(active.clone(), key)]), active }
    }

    /// Adds a key that wrapped earlier secrets, or that can be rotated to.
    pub fn add(&mut self, id: impl Into<String>, key: Zeroizing<[u8; KEY_BYTES]>) {
        self.keys.insert(id.into(), key);
    }

    /// Whether the ring has a key with this id.
    pub fn has(&self, id: &str) -> bool {
        self.keys.contains_key(id)
    }

    /// The id of the key that wraps everything that is sealed from now on.
    pub fn active(&self) -> &str {
        &self.active
    }

    /// Encrypts the secrets of the resource `whose`, in this version.
    pub fn seal(&self, whose: &str, version: u64, plain: &[u8]) -> Result<Sealed, VaultError> {
        let mut data_key = Zeroizing::new([0; KEY_BYTES]);
        rand::fill(data_key.as_mut()).map_err(|_| VaultError::Crypto)?;
        let (nonce, ciphertext) = encrypt(&data_key[..], &aad(whose, version), plain)?;
        let mut sealed = Sealed { nonce, ciphertext, version, key_id: self.active.clone(), ..Sealed::default() };
        self.wrap(whose, &mut sealed, &data_key)?;
        Ok(sealed)
    }

    /// Decrypts the secrets of the resource `whose`.
    pub fn open(&self, whose: &str, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let data_key = self.unwrap(whose, sealed)?;
        decrypt(&data_key[..], &sealed.nonce, &aad(whose, sealed.version), &sealed.ciphertext)
            .ok_or_else(|| damaged(whose, sealed))
    }

    /// Wraps the data key again with another key of the ring; the secrets themselves are not encrypted again.
    pub fn rewrap(&self, whose: &str, sealed: &Sealed, key_id: &str) -> Result<Sealed, VaultError> {
        let data_key = self.unwrap(whose, sealed)?;
        let mut sealed = Sealed { key_id: key_id.to_owned(), ..sealed.clone() };
        self.wrap(whose, &mut sealed, &data_key)?;
        Ok(sealed)
    }

    /// A keyed fingerprint (HMAC-SHA256) of a request that may contain secrets, and the id of the key.
    pub fn fingerprint(&self, content: &[u8]) -> (String, Vec<u8>) {
        let tag = self.keys.get(&self.active).map(|key| hmac::sign(&fingerprint_key(key), content));
        (self.active.clone(), tag.map(|tag| tag.as_ref().to_vec()).unwrap_or_default())
    }

    /// Whether a fingerprint is of this content; None when its key is not configured.
    pub fn is_of(&self, key_id: &str, fingerprint: &[u8], content: &[u8]) -> Option<bool> {
        let key = self.keys.get(key_id)?;
        Some(hmac::verify(&fingerprint_key(key), content, fingerprint).is_ok())
    }

    fn wrap(&self, whose: &str, sealed: &mut Sealed, data_key: &[u8; KEY_BYTES]) -> Result<(), VaultError> {
        let key = self.key(whose, &sealed.key_id)?;
        (sealed.wrap_nonce, sealed.wrapped_key) = encrypt(key, &aad(whose, sealed.version), data_key)?;
        Ok(())
    }

    fn unwrap(&self, whose: &str, sealed: &Sealed) -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
        let key = self.key(whose, &sealed.key_id)?;
        let plain = decrypt(key, &sealed.wrap_nonce, &aad(whose, sealed.version), &sealed.wrapped_key)
            .ok_or_else(|| damaged(whose, sealed))?;
        let mut data_key = Zeroizing::new([0; KEY_BYTES]);
        if plain.len() != KEY_BYTES {
            return Err(damaged(whose, sealed));
        }
        data_key.copy_from_slice(&plain);
        Ok(data_key)
    }

    fn key(&self, whose: &str, id: &str) -> Result<&[u8; KEY_BYTES], VaultError> {
        let missing = || VaultError::NoKey { whose: whose.to_owned(), key_id: id.to_owned() };
        self.keys.get(id).map(|key| &**key).ok_or_else(missing)
    }
}

fn damaged(whose: &str, sealed: &Sealed) -> VaultError {
    VaultError::Damaged { whose: whose.to_owned(), key_id: sealed.key_id.clone() }
}

fn aad(whose: &str, version: u64) -> Vec<u8> {
    format!("mms.registry/1/{whose}/{version}").into_bytes()
}

/// Derives a separate key: the wrapping key must not be used with another algorithm.
fn fingerprint_key(key: &[u8; KEY_BYTES]) -> hmac::Key {
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), b"mms.registry/request-fingerprint/1");
    hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
}

fn encrypt(key: &[u8], aad: &[u8], plain: &[u8]) -> Result<(Vec<u8>, Vec<u8>), VaultError> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| VaultError::Crypto)?;
    // Reserve room for the tag, so that no reallocation leaves the plain text in memory.
    let mut buffer = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
    buffer.extend_from_slice(plain);
    match key.seal_in_place_append_tag(Aad::from(aad), &mut buffer) {
        Ok(nonce) => Ok((nonce.as_ref().to_vec(), buffer)),
        Err(_) => {
            buffer.zeroize();
            Err(VaultError::Crypto)
        }
    }
}

fn decrypt(key: &[u8], nonce: &[u8], aad: &[u8], ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let length = key.open_in_place(nonce, Aad::from(aad), &mut buffer).ok()?.len();
    buffer.truncate(length);
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ring() -> KeyRing {
        KeyRing::new("one", Zeroizing::new([7; KEY_BYTES]))
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_and_never_shows(plain in proptest::collection::vec(any::<u8>(), 8..200)) {
            let sealed = ring().seal("dataSources/a", 3, &plain).unwrap();
            prop_assert_eq!(&**ring().open("dataSources/a", &sealed).unwrap(), plain.as_slice());
            prop_assert!(!sealed.ciphertext.windows(plain.len()).any(|window| window == plain.as_slice()));
        }
    }

    #[test]
    fn only_the_same_resource_and_version_open() {
        let sealed = ring().seal("dataSources/a", 3, b"secret").unwrap();
        assert!(matches!(ring().open("dataSources/b", &sealed), Err(VaultError::Damaged { .. })));
        let older = Sealed { version: 2, ..sealed.clone() };
        assert!(matches!(ring().open("dataSources/a", &older), Err(VaultError::Damaged { .. })));
        let mut flipped = sealed.clone();
        flipped.ciphertext[0] ^= 1;
        assert!(ring().open("dataSources/a", &flipped).is_err());
        let other = KeyRing::new("one", Zeroizing::new([8; KEY_BYTES]));
        assert!(matches!(other.open("dataSources/a", &sealed), Err(VaultError::Damaged { .. })));
    }

    #[test]
    fn a_rewrapped_secret_needs_the_new_key_only() {
        let mut both = ring();
        both.add("two", Zeroizing::new([9; KEY_BYTES]));
        let sealed = both.seal("x", 1, b"secret").unwrap();
        let sealed = both.rewrap("x", &sealed, "two").unwrap();
        let newer = KeyRing::new("two", Zeroizing::new([9; KEY_BYTES]));
        assert_eq!(&**newer.open("x", &sealed).unwrap(), b"secret");
        assert!(matches!(ring().open("x", &sealed), Err(VaultError::NoKey { .. })));
    }

    #[test]
    fn a_fingerprint_tells_contents_apart() {
        let (key, print) = ring().fingerprint(b"a");
        assert_eq!(ring().is_of(&key, &print, b"a"), Some(true));
        assert_eq!(ring().is_of(&key, &print, b"b"), Some(false));
        assert_eq!(ring().is_of("gone", &print, b"a"), None);
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", ring()), "KeyRing { active: \"one\", keys: 1 }");
    }
}
