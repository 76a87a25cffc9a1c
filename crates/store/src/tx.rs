//! A commit while its closure runs. Collects the writes, and keeps index entries and pieces consistent with the rows.
//! It writes nothing itself: the committer applies the collected writes as one batch.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use prost::Message;

use crate::backend::{Batch, View, Visit};
use crate::error::{Result, StoreError};
use crate::key::Key;
use crate::read::{Read, decode, encoded, walk_rows};
use crate::scope::{Scope, after_prefix};
use crate::table::Table;
use crate::value::{self, Frame};
use crate::{Revision, layout};

/// Most bytes that one commit may write.
pub const MAX_TX_BYTES: usize = 64 << 20;
/// Most bytes that one migration may write.
pub const MAX_MIGRATION_BYTES: usize = 256 << 20;

/// A commit while its closure runs: reads see everything applied before it, and its own writes.
pub struct Tx<'a> {
    base: &'a dyn View,
    writes: Batch,
    bytes: usize,
    limit: usize,
    revision: Revision,
    blobs: u32,
    /// By how much the numbers of records change, by table and class.
    classes: Classes,
}

/// By how much the numbers of records change, by table and class.
pub(crate) type Classes = BTreeMap<(&'static str, u32), i64>;

impl<'a> Tx<'a> {
    pub(crate) fn new(base: &'a dyn View, revision: Revision, limit: usize) -> Self {
        Self { base, writes: Batch::new(), bytes: 0, limit, revision, blobs: 0, classes: Classes::new() }
    }

    /// The revision that this commit gets if it writes anything.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Bytes of the keys and values written so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn into_writes(self) -> (Batch, Classes) {
        (self.writes, self.classes)
    }

    pub(crate) fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<()> {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        if self.bytes > self.limit {
            return Err(StoreError::TransactionTooLarge { limit: self.limit });
        }
        self.writes.insert(key, value);
        Ok(())
    }

    /// Writes a record; an existing record under the key is replaced.
    pub fn put<K: Key, R: Message + Default>(&mut self, table: &Table<K, R>, key: &K, record: &R) -> Result<()> {
        let row = layout::row(table.name, &encoded(key))?;
        let mut blob = [0; 12];
        blob[..8].copy_from_slice(&self.revision.to_be_bytes());
        blob[8..].copy_from_slice(&self.blobs.to_be_bytes());
        let (framed, pieces) = value::encode(table.name, table.version, &record.encode_to_vec(), blob)?;
        let entries = entries(table, key, record)?;
        self.remove_old(table, key, &row, &entries)?;
        self.classed(table, Some(record), 1);
        self.blobs += 1;
        for entry in entries {
            self.set(entry, Some(Vec::new()))?;
        }
        for (piece, bytes) in pieces {
            self.set(piece, Some(bytes))?;
        }
        self.set(row, Some(framed))
    }

    /// Deletes a record. Returns false if there was none.
    pub fn delete<K: Key, R: Message + Default>(&mut self, table: &Table<K, R>, key: &K) -> Result<bool> {
        let row = layout::row(table.name, &encoded(key))?;
        let existed = self.remove_old(table, key, &row, &BTreeSet::new())?;
        if existed {
            self.set(row, None)?;
        }
        Ok(existed)
    }

    /// Rebuilds all index entries of a table, after its indexes changed. For migrations.
    pub fn reindex<K: Key, R: Message + Default>(&mut self, table: &Table<K, R>) -> Result<()> {
        let all = [table.name.as_bytes(), b"\0i"].concat();
        let mut stale = Vec::new();
        self.visit(&all, &after_prefix(&all).unwrap_or_default(), false, &mut |entry, _| {
            stale.push(entry.to_vec());
            Ok(ControlFlow::Continue(()))
        })?;
        let mut fresh = BTreeSet::new();
        walk_rows(self, table, &Scope::all(), None, &mut |key, record, _| {
            fresh.extend(entries(table, &key, &record)?);
            Ok(ControlFlow::Continue(()))
        })?;
        for entry in stale {
            self.set(entry, None)?;
        }
        for entry in fresh {
            self.set(entry, Some(Vec::new()))?;
        }
        Ok(())
    }

    /// Counts a record in or out of its class; without classes all are of class 0.
    fn classed<K, R>(&mut self, table: &Table<K, R>, record: Option<&R>, by: i64) {
        let class = table.class.zip(record).map_or(0, |(class, record)| class(record));
        *self.classes.entry((table.name, class)).or_default() += by;
    }

    /// Removes what belongs to the present row: its pieces, and its index entries except those in `kept`.
    fn remove_old<K: Key, R: Message + Default>(
        &mut self,
        table: &Table<K, R>,
        key: &K,
        row: &[u8],
        kept: &BTreeSet<Vec<u8>>,
    ) -> Result<bool> {
        let Some(old) = View::get(self, row)? else { return Ok(false) };
        if table.indexes.is_empty() && table.class.is_none() {
            self.classed(table, None, -1);
        } else {
            let (record, _) = decode(table, &old, self)?;
            self.classed(table, Some(&record), -1);
            for entry in entries(table, key, &record)?.difference(kept) {
                self.set(entry.clone(), None)?;
            }
        }
        for piece in Frame::parse(table.name, &old)?.piece_keys(table.name) {
            self.set(piece, None)?;
        }
        Ok(true)
    }
}

fn entries<K: Key, R>(table: &Table<K, R>, key: &K, record: &R) -> Result<BTreeSet<Vec<u8>>> {
    let mut all = BTreeSet::new();
    let row = encoded(key);
    for index in table.indexes {
        for index_key in index.keys(key, record) {
            all.insert(layout::index_entry(table.name, index.name(), &index_key, &row)?);
        }
    }
    Ok(all)
}

impl Read for Tx<'_> {
    fn view(&self) -> &dyn View {
        self
    }
}

impl View for Tx<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.writes.get(key) {
            Some(pending) => Ok(pending.clone()),
            None => self.base.get(key),
        }
    }

    fn visit(&self, from: &[u8], to: &[u8], descending: bool, each: &mut Visit<'_>) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        let range = self.writes.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        let range: Box<dyn Iterator<Item = _>> = if descending { Box::new(range.rev()) } else { Box::new(range) };
        let mut pending = range.peekable();
        let mut done = false;
        self.base.visit(from, to, descending, &mut |key, value| {
            let before = |own: &[u8]| if descending { own > key } else { own < key };
            while let Some((own, own_value)) = pending.next_if(|(own, _)| before(own)) {
                if let Some(own_value) = own_value
                    && each(own, own_value)?.is_break()
                {
                    done = true;
                    return Ok(ControlFlow::Break(()));
                }
            }
            let flow = match pending.next_if(|(own, _)| own.as_slice() == key) {
                Some((_, None)) => ControlFlow::Continue(()),
                Some((_, Some(own_value))) => each(key, own_value)?,
                None => each(key, value)?,
            };
            done = flow.is_break();
            Ok(flow)
        })?;
        for (own, own_value) in pending.filter(|_| !done) {
            if let Some(own_value) = own_value
                && each(own, own_value)?.is_break()
            {
                break;
            }
        }
        Ok(())
    }
}
