//! Ids that are the same at every start: UUIDs derived from what they name.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// The id of the object that `parts` name. The lengths are hashed too, so that `a.b` + `c` differs from `a` + `b.c`.
pub fn uuid_of(parts: &[&str]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// A number that orders names arbitrarily, but always in the same way.
pub fn scatter(name: &str) -> u64 {
    let (high, _) = uuid_of(&["order", name]).as_u64_pair();
    high
}
