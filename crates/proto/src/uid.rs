//! Uids derived from what a resource is: the same parts give the same uid, in every process and at any time.

use sha2::{Digest, Sha256};

/// A UUID (version 8) derived from `parts`: the uid of the containing resource, then what identifies this one there.
pub fn derived(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.as_bytes());
        // Terminated by a byte that UTF-8 never has, so that different lists of parts never give the same bytes.
        digest.update([0xff]);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::derived;

    #[test]
    fn parts_make_one_uid_for_good() {
        assert_eq!(derived(&["a", "b"]), derived(&["a", "b"]));
        assert_ne!(derived(&["a", "b"]), derived(&["ab", ""]));
        let uid = derived(&["a"]);
        assert!(uid.len() == 36 && uid.as_bytes()[14] == b'8', "{uid}");
    }
}
