//! The manifest beside the database: the revision that the database had after its last flush, and what it held then.
//! Owns the file; `compare` judges by it.
//!
//! Two slots of 16 KiB, written in turn and in place, each with its own checksum, so that a torn one leaves the other.
//! It is written after the flush and before the acknowledgements, and not synced: after a power cut it may be older
//! than the database, never newer.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use prost::Message;

use super::compare::Summary;
use super::files::{Directory, rename, sync_dir};
use crate::error::{Result, StoreError};

const NAME: &str = "manifest";
const SLOT_BYTES: usize = 16 << 10;
const MAGIC: &[u8; 8] = b"MMSMAN1\n";
const HEAD_BYTES: usize = 16;

/// The open manifest file.
pub(crate) struct Manifest {
    file: File,
    path: PathBuf,
    /// The slot to write next: the one that does not hold the newest summary.
    next: u64,
}

impl Manifest {
    /// Opens the file and reads its newest complete slot, `None` if both are damaged; `None` altogether if there is no
    /// file.
    pub fn open(directory: &Directory) -> Result<Option<(Self, Option<Summary>)>> {
        let path = directory.path().join(NAME);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(StoreError::io("open", &path))?,
        };
        let mut newest: Option<(u64, Summary)> = None;
        for slot in 0..2 {
            let mut bytes = vec![0; SLOT_BYTES];
            let length = read_slot(&file, slot, &mut bytes).map_err(StoreError::io("read", &path))?;
            if let Some(found) = parse(&bytes[..length])
                && newest.as_ref().is_none_or(|(_, other)| found.moment() > other.moment())
            {
                newest = Some((slot, found));
            }
        }
        let next = newest.as_ref().map_or(0, |(slot, _)| 1 - slot);
        Ok(Some((Self { file, path, next }, newest.map(|(_, summary)| summary))))
    }

    /// Removes the file durably.
    pub fn discard(directory: &Directory) -> Result<()> {
        let path = directory.path().join(NAME);
        std::fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        sync_dir(directory.path())
    }

    /// Creates a file that holds `summary`, durably.
    pub fn create(directory: &Directory, summary: &Summary) -> Result<Self> {
        let (fresh, path) = (directory.path().join("manifest.new"), directory.path().join(NAME));
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&fresh);
        let file = opened.map_err(StoreError::io("create", &fresh))?;
        file.write_all_at(&vec![0; 2 * SLOT_BYTES], 0).map_err(StoreError::io("write", &fresh))?;
        let mut made = Self { file, path: fresh.clone(), next: 0 };
        made.write(summary)?;
        made.sync()?;
        rename(&fresh, &path)?;
        sync_dir(directory.path())?;
        Ok(Self { path, ..made })
    }

    /// Overwrites the older slot.
    pub fn write(&mut self, summary: &Summary) -> Result<()> {
        let payload = summary.encode_to_vec();
        if payload.len() + HEAD_BYTES > SLOT_BYTES {
            // More tables than any service has: without the tally, at least the revision can be compared.
            return self.write(&Summary { tally: None, ..summary.clone() });
        }
        let head = [MAGIC.as_slice(), &(payload.len() as u32).to_be_bytes(), &crc32c::crc32c(&payload).to_be_bytes()];
        let slot = [head.concat(), payload].concat();
        let at = self.next * SLOT_BYTES as u64;
        self.file.write_all_at(&slot, at).map_err(StoreError::io("write", &self.path))?;
        self.next = 1 - self.next;
        Ok(())
    }

    /// Makes what was written durable.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(StoreError::io("sync", &self.path))
    }
}

fn read_slot(file: &File, slot: u64, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], slot * SLOT_BYTES as u64 + length as u64)? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

fn parse(slot: &[u8]) -> Option<Summary> {
    let (head, rest) = slot.split_first_chunk::<HEAD_BYTES>()?;
    let (length, crc) = head.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    let payload = rest.get(..u32::from_be_bytes(*length) as usize)?;
    let whole = crc32c::crc32c(payload).to_be_bytes() == crc;
    if whole { Summary::decode(payload).ok() } else { None }
}
