//! Ids that are the same on every start: a UUID made of what it stands for.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// The id of the thing that `parts` describe. Lengths go into the hash, so that `a.b` + `c` is not `a` + `b.c`.
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

/// A number that puts names in an order that means nothing.
pub fn scatter(name: &str) -> u64 {
    let (high, _) = uuid_of(&["order", name]).as_u64_pair();
    high
}
