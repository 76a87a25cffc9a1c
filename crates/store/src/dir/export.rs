//! Exports: the whole store in one file that does not depend on sled. Owns the format, and which files are kept.
//!
//! `MMSEXP1\n`, then frames: length (u32), CRC-32C (u32), payload; all numbers big-endian. A payload begins with `H`
//! (the store's sentinel and the revision), `B` (keys and values) or `E` (the number of rows; nothing follows). A file
//! without its `E` frame is not complete.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use prost::Message;

use super::END;
use super::compare::Summary;
use super::files::{Directory, make_dir, names, remove_matching, rename, sync_dir};
use crate::backend::View;
use crate::error::{Result, StoreError};
use crate::layout::SENTINEL_KEY;
use crate::sentinel::Sentinel;
use crate::tally::Tally;

const MAGIC: &[u8] = b"MMSEXP1\n";
const BLOCK_BYTES: usize = 256 << 10;
/// Larger frames are rejected: no block is this large, because a row has at most a few KiB.
const MAX_FRAME_BYTES: u32 = 1 << 20;
const SUFFIX: &str = ".mmsexport";
const PARTIAL: &str = "partial";

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Head {
    #[prost(message, optional, tag = "1")]
    pub sentinel: Option<Sentinel>,
    #[prost(uint64, tag = "2")]
    pub revision: u64,
    /// The counts and digests of the rows; `None` in exports of a release that did not count.
    #[prost(message, optional, tag = "3")]
    pub tally: Option<Tally>,
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
    /// Writes an export, and removes the oldest ones of this incarnation beyond `keep`; exports of earlier incarnations
    /// are removed by operators only. A failed export leaves no file behind, because it may have taken the last free
    /// space.
    pub fn export(&self, view: &dyn View, sentinel: &Sentinel, found: &Summary, keep: usize) -> Result<()> {
        let dir = self.exports();
        make_dir(&dir)?;
        sync_dir(self.path())?;
        let partial = dir.join(PARTIAL);
        let head = Head {
            sentinel: Some(Sentinel { identity: None, ..sentinel.clone() }),
            revision: found.revision,
            tally: found.tally.clone(),
        };
        if let Err(error) = write(&partial, view, &head) {
            self.clear_partial()?;
            return Err(error);
        }
        rename(&partial, &dir.join(file_name(sentinel.incarnation, found.revision)))?;
        sync_dir(&dir)?;
        let own = self.export_names()?.into_iter().filter(|((number, _), _)| *number == sentinel.incarnation);
        let old: Vec<_> = own.skip(keep).map(|(_, name)| name).collect();
        remove_matching(&dir, |name| old.iter().any(|old| old == name))
    }

    /// Removes the file of an export that was interrupted.
    pub fn clear_partial(&self) -> Result<()> {
        remove_matching(&self.exports(), |name| name == PARTIAL)
    }

    /// The revision of the newest export of an incarnation; 0 if there is none.
    pub fn newest_export(&self, incarnation: u64) -> Result<u64> {
        let found = self.export_names()?.into_iter().find(|((number, _), _)| *number == incarnation);
        Ok(found.map_or(0, |((_, revision), _)| revision))
    }

    /// The file name of the newest export, and what the export knows. If its head is damaged, the name alone still says
    /// which revision it has.
    pub fn newest_known(&self) -> Result<Option<(String, Summary)>> {
        let Some(((incarnation, revision), name)) = self.export_names()?.into_iter().next() else { return Ok(None) };
        let mut known = Summary { incarnation, revision, ..Summary::default() };
        match read_head(&self.exports().join(&name)) {
            Ok(Head { sentinel: Some(sentinel), revision: told, tally }) if told == revision => {
                known.incarnation_id = sentinel.incarnation_id;
                known.tally = tally;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the newest export is damaged; only its name is compared"),
        }
        Ok(Some((name, known)))
    }

    /// The files of all exports, newest first.
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
    let (mut rows, mut block, mut bytes, mut tally) = (0, Block::default(), 0, Tally::default());
    view.visit(&[], END, false, &mut |key, value| {
        if key != SENTINEL_KEY {
            rows += 1;
            tally.add(key, value);
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
    if let Some(difference) = head.tally.as_ref().and_then(|written| tally.difference(written)) {
        return Err(StoreError::corrupt(format!("the database does not hold what was written: {difference}")));
    }
    frame(b'B', block.encode_to_vec())?;
    frame(b'E', End { rows }.encode_to_vec())?;
    let file = out.into_inner().map_err(|error| StoreError::io("write", path)(error.into_error()))?;
    file.sync_all().map_err(StoreError::io("sync", path))
}

/// Reads the frames of an export.
struct Frames<'a> {
    path: &'a Path,
    file: BufReader<File>,
}

impl<'a> Frames<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let file = BufReader::new(File::open(path).map_err(StoreError::io("open", path))?);
        let mut frames = Self { path, file };
        let mut magic = [0; 8];
        frames.file.read_exact(&mut magic).map_err(|_| frames.bad("too short"))?;
        if magic == MAGIC { Ok(frames) } else { Err(frames.bad("not an export, or of another release")) }
    }

    fn bad(&self, what: &str) -> StoreError {
        StoreError::corrupt(format!("export {}: {what}", self.path.display()))
    }

    /// The payload of the next frame, its checksum verified.
    fn next(&mut self) -> Result<Vec<u8>> {
        let mut frame = [0; 8];
        self.file.read_exact(&mut frame).map_err(|_| self.bad("it is incomplete"))?;
        let [a, b, c, d, crc @ ..] = frame;
        let length = u32::from_be_bytes([a, b, c, d]);
        if length > MAX_FRAME_BYTES {
            return Err(self.bad("a frame is too long"));
        }
        let mut payload = vec![0; length as usize];
        self.file.read_exact(&mut payload).map_err(|_| self.bad("it is incomplete"))?;
        if crc32c::crc32c(&payload) != u32::from_be_bytes(crc) {
            return Err(self.bad("a frame fails its checksum"));
        }
        Ok(payload)
    }

    fn head(&mut self) -> Result<Head> {
        match self.next()?.split_first() {
            Some((b'H', body)) => Head::decode(body).map_err(|_| self.bad("a frame cannot be decoded")),
            _ => Err(self.bad("no head")),
        }
    }
}

fn read_head(path: &Path) -> Result<Head> {
    Frames::open(path)?.head()
}

/// Reads an export and gives each row to `each`. Fails unless the file is complete and undamaged.
pub(crate) fn read(path: &Path, each: &mut dyn FnMut(Vec<u8>, Vec<u8>) -> Result<()>) -> Result<Head> {
    let mut frames = Frames::open(path)?;
    let head = frames.head()?;
    let (mut rows, mut tally) = (0, Tally::default());
    loop {
        let payload = frames.next()?;
        match payload.split_first() {
            Some((b'B', body)) => {
                for row in Block::decode(body).map_err(|_| frames.bad("a frame cannot be decoded"))?.rows {
                    rows += 1;
                    tally.add(&row.key, &row.value);
                    each(row.key, row.value)?;
                }
            }
            Some((b'E', body)) => {
                let end = End::decode(body).map_err(|_| frames.bad("a frame cannot be decoded"))?;
                let whole = head.tally.as_ref().is_none_or(|written| tally == *written);
                return if end.rows == rows && whole { Ok(head) } else { Err(frames.bad("rows are missing")) };
            }
            _ => return Err(frames.bad("a frame out of place")),
        }
    }
}
