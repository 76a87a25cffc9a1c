//! Exports: the whole store in one file that does not depend on sled. Owns the format and which files are kept.
//!
//! `MMSEXP1\n`, then frames: length (u32), CRC-32C (u32), payload; all numbers big-endian. A payload begins with `H` (the
//! store's own record and the revision), `B` (keys and values) or `E` (the count of rows; nothing follows). A file
//! without its `E` is not complete.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use prost::Message;

use super::END;
use super::files::{Directory, names, remove_matching, rename, sync_dir};
use crate::backend::View;
use crate::error::{Result, StoreError};
use crate::layout::SENTINEL_KEY;
use crate::sentinel::Sentinel;

const MAGIC: &[u8] = b"MMSEXP1\n";
const BLOCK_BYTES: usize = 256 << 10;
/// No block is larger: a row has at most a few KiB.
const MAX_FRAME_BYTES: u32 = 1 << 20;
const SUFFIX: &str = ".mmsexport";

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Head {
    #[prost(message, optional, tag = "1")]
    pub sentinel: Option<Sentinel>,
    #[prost(uint64, tag = "2")]
    pub revision: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Block {
    #[prost(message, repeated, tag = "1")]
    rows: Vec<Row>,
}

#[derive(Clone, PartialEq, Message)]
struct Row {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct End {
    #[prost(uint64, tag = "1")]
    rows: u64,
}

fn file_name(incarnation: u64, revision: u64) -> String {
    format!("{incarnation:010}-{revision:020}{SUFFIX}")
}

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (incarnation, revision) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    Some((incarnation.parse().ok()?, revision.parse().ok()?))
}

impl Directory {
    /// Writes an export and drops the oldest beyond `keep`.
    pub fn export(&self, view: &dyn View, sentinel: &Sentinel, revision: u64, keep: usize) -> Result<()> {
        let dir = self.exports();
        fs::create_dir_all(&dir).map_err(StoreError::io("create directory", &dir))?;
        sync_dir(self.path())?;
        let partial = dir.join("partial");
        let head = Head { sentinel: Some(Sentinel { identity: None, ..sentinel.clone() }), revision };
        write(&partial, view, &head)?;
        rename(&partial, &dir.join(file_name(sentinel.incarnation, revision)))?;
        sync_dir(&dir)?;
        let old: Vec<_> = self.export_names()?.into_iter().skip(keep).map(|(_, name)| name).collect();
        remove_matching(&dir, |name| old.iter().any(|old| old == name))
    }

    /// Revision of the newest export of an incarnation; 0 without one.
    pub fn newest_export(&self, incarnation: u64) -> Result<u64> {
        let found = self.export_names()?.into_iter().find(|((number, _), _)| *number == incarnation);
        Ok(found.map_or(0, |((_, revision), _)| revision))
    }

    /// Files, newest first.
    pub fn export_files(&self) -> Result<Vec<PathBuf>> {
        Ok(self.export_names()?.into_iter().map(|(_, name)| self.exports().join(name)).collect())
    }

    fn export_names(&self) -> Result<Vec<((u64, u64), String)>> {
        let mut found: Vec<_> =
            names(&self.exports())?.into_iter().filter_map(|name| Some((parse_name(&name)?, name))).collect();
        found.sort_by(|a, b| b.cmp(a));
        Ok(found)
    }
}

fn write(path: &Path, view: &dyn View, head: &Head) -> Result<()> {
    let file = File::create(path).map_err(StoreError::io("create", path))?;
    let mut out = BufWriter::new(file);
    out.write_all(MAGIC).map_err(StoreError::io("write", path))?;
    let mut frame = |kind: u8, message: Vec<u8>| -> Result<()> {
        let payload = [&[kind], message.as_slice()].concat();
        let head = [(payload.len() as u32).to_be_bytes(), crc32c::crc32c(&payload).to_be_bytes()].concat();
        out.write_all(&head).and_then(|()| out.write_all(&payload)).map_err(StoreError::io("write", path))
    };
    frame(b'H', head.encode_to_vec())?;
    let (mut rows, mut block, mut bytes) = (0, Block::default(), 0);
    view.visit(&[], END, false, &mut |key, value| {
        if key != SENTINEL_KEY {
            rows += 1;
            bytes += key.len() + value.len();
            block.rows.push(Row { key: key.to_vec(), value: value.to_vec() });
        }
        if bytes >= BLOCK_BYTES {
            bytes = 0;
            let full = std::mem::take(&mut block);
            frame(b'B', full.encode_to_vec())?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    frame(b'B', block.encode_to_vec())?;
    frame(b'E', End { rows }.encode_to_vec())?;
    let file = out.into_inner().map_err(|error| StoreError::io("write", path)(error.into_error()))?;
    file.sync_all().map_err(StoreError::io("sync", path))
}

/// Reads an export, giving each row to `each`. Fails on anything but a complete, unharmed file.
pub(crate) fn read(path: &Path, each: &mut dyn FnMut(Vec<u8>, Vec<u8>) -> Result<()>) -> Result<Head> {
    let bad = |what: &str| StoreError::corrupt(format!("export {}: {what}", path.display()));
    let mut file = BufReader::new(File::open(path).map_err(StoreError::io("open", path))?);
    let mut magic = [0; 8];
    file.read_exact(&mut magic).map_err(|_| bad("too short"))?;
    if magic != MAGIC {
        return Err(bad("not an export, or of another release"));
    }
    let (mut head, mut rows) = (None, 0);
    loop {
        let mut frame = [0; 8];
        file.read_exact(&mut frame).map_err(|_| bad("it breaks off"))?;
        let [a, b, c, d, crc @ ..] = frame;
        let length = u32::from_be_bytes([a, b, c, d]);
        if length > MAX_FRAME_BYTES {
            return Err(bad("a frame is too long"));
        }
        let mut payload = vec![0; length as usize];
        file.read_exact(&mut payload).map_err(|_| bad("it breaks off"))?;
        if crc32c::crc32c(&payload) != u32::from_be_bytes(crc) {
            return Err(bad("a frame fails its checksum"));
        }
        let unreadable = |_| bad("a frame cannot be decoded");
        match (payload.split_first(), &head) {
            (Some((b'H', body)), None) => head = Some(Head::decode(body).map_err(unreadable)?),
            (Some((b'B', body)), Some(_)) => {
                for row in Block::decode(body).map_err(unreadable)?.rows {
                    rows += 1;
                    each(row.key, row.value)?;
                }
            }
            (Some((b'E', body)), Some(_)) => {
                let complete = End::decode(body).map_err(unreadable)?.rows == rows;
                return if complete { head.ok_or_else(|| bad("no head")) } else { Err(bad("rows are missing")) };
            }
            _ => return Err(bad("a frame out of place")),
        }
    }
}
