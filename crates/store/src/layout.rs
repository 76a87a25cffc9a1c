//! Where everything lies in the one tree. Owns the physical keys and their limits; knows no types.
//!
//! `table 00 'r' key` is a row; `table 00 'c' revision sequence number` a piece of a large value; `table 00 'i' index
//! 00 index-key key` an index entry; everything that starts with `00` belongs to the store itself.
//!
//! One tree, because one sled batch is atomic within one tree. The limit of keys follows from the longest possible
//! name: a partition's has the names of source, schema and table (2.2 KiB at most) and values that fit into an object's
//! key (1,024 characters, each up to four bytes, three for each when escaped). Pages of such keys exceed 128 KiB, and
//! sled keeps those in files of their own, which `disk_sync` syncs and `tests/it/crash.rs` kills. Measured with 1,000
//! keys of 16 KiB: all there after a reopen, twice their size on the disk, some 40 ms for a commit of ten.
//! after a reopen, twice their size on the disk, a commit of ten in some 40 ms.

use crate::error::{Result, StoreError};

/// Longest encoded key of a row, in bytes.
pub const MAX_KEY_BYTES: usize = 16 << 10;
/// Longest encoded index key together with the key of its row, in bytes.
pub const MAX_INDEX_KEY_BYTES: usize = 20 << 10;

/// The last assigned revision (u64, big-endian).
pub(crate) const REVISION_KEY: &[u8] = b"\0revision";
/// The record that says what this store is: see `sentinel`.
pub(crate) const SENTINEL_KEY: &[u8] = b"\0sentinel";

pub(crate) fn rows(table: &str) -> Vec<u8> {
    [table.as_bytes(), b"\0r"].concat()
}

pub(crate) fn row(table: &str, key: &[u8]) -> Result<Vec<u8>> {
    if key.len() > MAX_KEY_BYTES {
        return Err(StoreError::KeyTooLong { table: table.to_owned(), bytes: key.len(), limit: MAX_KEY_BYTES });
    }
    Ok([table.as_bytes(), b"\0r", key].concat())
}

pub(crate) fn index(table: &str, index: &str) -> Vec<u8> {
    [table.as_bytes(), b"\0i", index.as_bytes(), b"\0"].concat()
}

pub(crate) fn index_entry(table: &str, name: &str, index_key: &[u8], key: &[u8]) -> Result<Vec<u8>> {
    let bytes = index_key.len() + key.len();
    if bytes > MAX_INDEX_KEY_BYTES {
        return Err(StoreError::KeyTooLong { table: format!("{table}.{name}"), bytes, limit: MAX_INDEX_KEY_BYTES });
    }
    Ok([table.as_bytes(), b"\0i", name.as_bytes(), b"\0", index_key, key].concat())
}

/// The key of a piece. It begins with the commit that wrote it, not with the row: keys stay short, and an overwrite
/// never mixes old and new pieces.
pub(crate) fn piece(table: &str, blob: [u8; 12], number: u32) -> Vec<u8> {
    [table.as_bytes(), b"\0c", &blob, &number.to_be_bytes()].concat()
}
