//! How a record becomes stored values. Owns the frame (version, checksum) and the splitting of large records.
//!
//! sled handles values up to about 4 KiB safely. A larger record becomes a header that names its pieces, each a value
//! of its own, all written in the record's batch. Frame: kind, record version, CRC-32C of the payload, then either the
//! payload or blob id and length.

use std::borrow::Cow;

use crate::backend::View;
use crate::error::{Result, StoreError};
use crate::layout;

/// Largest encoded record, in bytes.
pub const MAX_VALUE_BYTES: usize = 16 << 20;
/// Largest single value that is given to sled, in bytes.
pub(crate) const PIECE_BYTES: usize = 4096;
const FRAME_BYTES: usize = 6;
const INLINE: u8 = 0;
const PIECES: u8 = 1;

/// Physical key and value of each piece of a record.
pub(crate) type Pieces = Vec<(Vec<u8>, Vec<u8>)>;

/// A decoded frame.
pub(crate) struct Frame<'a> {
    pub version: u8,
    checksum: u32,
    body: Body<'a>,
}

enum Body<'a> {
    Inline(&'a [u8]),
    Pieces { blob: [u8; 12], bytes: usize },
}

fn frame(kind: u8, version: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME_BYTES + 16);
    out.extend([kind, version]);
    out.extend(crc32c::crc32c(payload).to_be_bytes());
    out
}

/// Frames a payload. `blob` names its pieces if it needs any. Returns the row's value, and key and value of each piece.
pub(crate) fn encode(table: &'static str, version: u8, payload: &[u8], blob: [u8; 12]) -> Result<(Vec<u8>, Pieces)> {
    if payload.len() > MAX_VALUE_BYTES {
        return Err(StoreError::ValueTooLarge { table, bytes: payload.len(), limit: MAX_VALUE_BYTES });
    }
    if payload.len() + FRAME_BYTES <= PIECE_BYTES {
        let mut value = frame(INLINE, version, payload);
        value.extend(payload);
        return Ok((value, Vec::new()));
    }
    let mut value = frame(PIECES, version, payload);
    value.extend(blob);
    value.extend((payload.len() as u32).to_be_bytes());
    let pieces = (0u32..).zip(payload.chunks(PIECE_BYTES));
    Ok((value, pieces.map(|(n, piece)| (layout::piece(table, blob, n), piece.to_vec())).collect()))
}

impl<'a> Frame<'a> {
    pub fn parse(table: &str, value: &'a [u8]) -> Result<Self> {
        let bad = || StoreError::corrupt(format!("a record of table {table} has no valid frame"));
        let (head, rest) = value.split_first_chunk::<FRAME_BYTES>().ok_or_else(bad)?;
        let [kind, version, crc @ ..] = *head;
        let body = match (kind, rest.split_first_chunk::<12>()) {
            (INLINE, _) => Body::Inline(rest),
            (PIECES, Some((blob, bytes))) => {
                let bytes = u32::from_be_bytes(bytes.try_into().map_err(|_| bad())?) as usize;
                if bytes > MAX_VALUE_BYTES {
                    return Err(bad());
                }
                Body::Pieces { blob: *blob, bytes }
            }
            _ => return Err(bad()),
        };
        Ok(Self { version, checksum: u32::from_be_bytes(crc), body })
    }

    /// The keys of the pieces; none for an inline record.
    pub fn piece_keys(&self, table: &str) -> Vec<Vec<u8>> {
        match self.body {
            Body::Inline(_) => Vec::new(),
            Body::Pieces { blob, bytes } => {
                (0..bytes.div_ceil(PIECE_BYTES) as u32).map(|n| layout::piece(table, blob, n)).collect()
            }
        }
    }

    /// The payload, joined from its pieces and verified by its checksum.
    pub fn payload(&self, table: &str, view: &dyn View) -> Result<Cow<'a, [u8]>> {
        let payload: Cow<'a, [u8]> = match self.body {
            Body::Inline(payload) => payload.into(),
            Body::Pieces { bytes, .. } => {
                let mut whole = Vec::with_capacity(bytes);
                for key in self.piece_keys(table) {
                    let missing = || StoreError::corrupt(format!("a record of table {table} lacks a piece"));
                    whole.extend(view.get(&key)?.ok_or_else(missing)?);
                }
                if whole.len() != bytes {
                    return Err(StoreError::corrupt(format!("a record of table {table} has a torn piece")));
                }
                whole.into()
            }
        };
        if crc32c::crc32c(&payload) != self.checksum {
            return Err(StoreError::corrupt(format!("a record of table {table} fails its checksum")));
        }
        Ok(payload)
    }
}
