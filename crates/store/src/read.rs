//! Typed reads, the same inside and outside a commit. Owns decoding and paging; never writes.

use std::ops::ControlFlow;

use prost::Message;

use crate::backend::View;
use crate::error::{Result, StoreError};
use crate::key::Key;
use crate::layout;
use crate::scope::Scope;
use crate::table::{Index, Table};
use crate::value::Frame;

/// Most items of one page, whatever was asked for.
pub const MAX_PAGE_ITEMS: usize = 1000;
/// A page ends after the item with which it reaches this many encoded bytes.
pub const MAX_PAGE_BYTES: usize = 8 << 20;

/// One page of a walk over a scope.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T, C> {
    /// The items, in the scope's order.
    pub items: Vec<T>,
    /// Where the next page continues (`after`); `None` at the end.
    pub next: Option<C>,
}

/// Reads of typed tables: from a [`Reader`](crate::Reader) (the applied state) or a [`Tx`](crate::Tx) (its own writes
/// too).
pub trait Read {
    #[doc(hidden)]
    fn view(&self) -> &dyn View;

    /// The record under a key; `None` if there is none.
    fn get<K: Key, R: Message + Default>(&self, table: &Table<K, R>, key: &K) -> Result<Option<R>> {
        let stored = self.view().get(&layout::row(table.name, &encoded(key))?)?;
        stored.map(|value| decode(table, &value, self.view()).map(|(record, _)| record)).transpose()
    }

    /// Calls `each` for every row of the scope until it breaks. For walks within the process, which end by themselves;
    /// remote callers get a [`page`](Read::page).
    fn scan<K: Key, R: Message + Default>(
        &self,
        table: &Table<K, R>,
        scope: &Scope<K>,
        mut each: impl FnMut(K, R) -> ControlFlow<()>,
    ) -> Result<()>
    where
        Self: Sized,
    {
        walk_rows(self.view(), table, scope, None, &mut |key, record, _| Ok(each(key, record)))
    }

    /// Up to `limit` rows (1 to [`MAX_PAGE_ITEMS`]) of the scope, beginning after the key `after`.
    fn page<K: Key, R: Message + Default>(
        &self,
        table: &Table<K, R>,
        scope: &Scope<K>,
        after: Option<&K>,
        limit: usize,
    ) -> Result<Page<(K, R), K>> {
        let mut page = PageBuilder::new(limit);
        walk_rows(self.view(), table, scope, after, &mut |key, record, bytes| {
            Ok(page.offer(key.clone(), (key, record), bytes))
        })?;
        Ok(page.finish())
    }

    /// Up to `limit` rows that the index has under the keys of the scope, in index order. A row that is indexed under
    /// several keys of the scope is returned once for each.
    fn index_page<I: Key, K: Key, R: Message + Default>(
        &self,
        table: &Table<K, R>,
        index: &Index<I, K, R>,
        scope: &Scope<I>,
        after: Option<&(I, K)>,
        limit: usize,
    ) -> Result<Page<(K, R), (I, K)>> {
        let mut page = PageBuilder::new(limit);
        walk_index(self.view(), table, index, scope, after, &mut |index_key, key| {
            let (record, bytes) = filed(self.view(), table, index, &key)?;
            Ok(page.offer((index_key, key.clone()), (key, record), bytes))
        })?;
        Ok(page.finish())
    }

    /// As [`scan`](Read::scan), over the rows that the index has under the keys of the scope, in index order.
    fn index_scan<I: Key, K: Key, R: Message + Default>(
        &self,
        table: &Table<K, R>,
        index: &Index<I, K, R>,
        scope: &Scope<I>,
        mut each: impl FnMut(K, R) -> ControlFlow<()>,
    ) -> Result<()> {
        walk_index(self.view(), table, index, scope, None, &mut |_, key| {
            let (record, _) = filed(self.view(), table, index, &key)?;
            Ok(each(key, record))
        })
    }

    /// As [`index_page`](Read::index_page), without reading the rows.
    fn index_keys<I: Key, K: Key, R: Message + Default>(
        &self,
        table: &Table<K, R>,
        index: &Index<I, K, R>,
        scope: &Scope<I>,
        after: Option<&(I, K)>,
        limit: usize,
    ) -> Result<Page<K, (I, K)>> {
        let mut page = PageBuilder::new(limit);
        walk_index(self.view(), table, index, scope, after, &mut |index_key, key| {
            Ok(page.offer((index_key, key.clone()), key, 0))
        })?;
        Ok(page.finish())
    }

    /// The keys of all rows that the index has under the keys of the scope; only for scopes known to have few.
    fn all_index_keys<I: Key, K: Key, R: Message + Default>(
        &self,
        table: &Table<K, R>,
        index: &Index<I, K, R>,
        scope: &Scope<I>,
    ) -> Result<Vec<K>> {
        let mut keys = Vec::new();
        walk_index(self.view(), table, index, scope, None, &mut |_, key| {
            keys.push(key);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(keys)
    }
}

/// The row that an index entry names, and its encoded size.
fn filed<I, K: Key, R: Message + Default>(
    view: &dyn View,
    table: &Table<K, R>,
    index: &Index<I, K, R>,
    key: &K,
) -> Result<(R, usize)> {
    let stored = view.get(&layout::row(table.name, &encoded(key))?)?;
    let torn = || StoreError::corrupt(format!("index {}.{} names a missing row", table.name, index.name));
    decode(table, &stored.ok_or_else(torn)?, view)
}

struct PageBuilder<T, C> {
    items: Vec<T>,
    last: Option<C>,
    more: bool,
    bytes: usize,
    limit: usize,
}

impl<T, C> PageBuilder<T, C> {
    fn new(limit: usize) -> Self {
        let limit = limit.clamp(1, MAX_PAGE_ITEMS);
        Self { items: Vec::new(), last: None, more: false, bytes: 0, limit }
    }

    /// Adds an item; or, if the page is full, notes that more follow and ends the walk.
    fn offer(&mut self, cursor: C, item: T, bytes: usize) -> ControlFlow<()> {
        if self.items.len() == self.limit || self.bytes >= MAX_PAGE_BYTES {
            self.more = true;
            return ControlFlow::Break(());
        }
        self.items.push(item);
        self.last = Some(cursor);
        self.bytes += bytes;
        ControlFlow::Continue(())
    }

    fn finish(self) -> Page<T, C> {
        Page { items: self.items, next: if self.more { self.last } else { None } }
    }
}

pub(crate) fn encoded(key: &impl Key) -> Vec<u8> {
    let mut out = Vec::new();
    key.encode(&mut out);
    out
}

/// Decodes a stored value; returns the record and its encoded size.
pub(crate) fn decode<K, R: Message + Default>(
    table: &Table<K, R>,
    value: &[u8],
    view: &dyn View,
) -> Result<(R, usize)> {
    let frame = Frame::parse(table.name, value)?;
    if frame.version > table.version {
        return Err(StoreError::NewerRecord { table: table.name, found: frame.version, known: table.version });
    }
    let payload = frame.payload(table.name, view)?;
    let bad = |error| StoreError::corrupt(format!("a record of table {}: {error}", table.name));
    let record = R::decode(payload.as_ref()).map_err(bad)?;
    let upgraded = match table.upgrade {
        Some(upgrade) if frame.version < table.version => upgrade(frame.version, record),
        _ => record,
    };
    if let Some(whole) = table.whole {
        whole(&upgraded)
            .map_err(|unknown| StoreError::corrupt(format!("a record of table {}: {unknown}", table.name)))?;
    }
    Ok((upgraded, payload.len()))
}

pub(crate) fn walk_rows<K: Key, R: Message + Default>(
    view: &dyn View,
    table: &Table<K, R>,
    scope: &Scope<K>,
    after: Option<&K>,
    each: &mut dyn FnMut(K, R, usize) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let prefix = layout::rows(table.name);
    let span = scope.span(&prefix, after.map(encoded).as_deref());
    view.visit(&span.from, &span.to, span.descending, &mut |key, value| {
        let bad = || StoreError::corrupt(format!("a key of table {} cannot be read", table.name));
        let key = K::decode(&mut &key[prefix.len()..]).ok_or_else(bad)?;
        let (record, bytes) = decode(table, value, view)?;
        each(key, record, bytes)
    })
}

fn walk_index<I: Key, K: Key, R: Message + Default>(
    view: &dyn View,
    table: &Table<K, R>,
    index: &Index<I, K, R>,
    scope: &Scope<I>,
    after: Option<&(I, K)>,
    each: &mut dyn FnMut(I, K) -> Result<ControlFlow<()>>,
) -> Result<()> {
    if !table.indexes.iter().any(|declared| declared.name() == index.name) {
        return Err(StoreError::UnknownIndex { table: table.name, index: index.name });
    }
    let prefix = layout::index(table.name, index.name);
    let span = scope.span(&prefix, after.map(encoded).as_deref());
    view.visit(&span.from, &span.to, span.descending, &mut |entry, _| {
        let bad = || StoreError::corrupt(format!("an entry of index {}.{} cannot be read", table.name, index.name));
        let mut rest = &entry[prefix.len()..];
        let index_key = I::decode(&mut rest).ok_or_else(bad)?;
        each(index_key, K::decode(&mut rest).ok_or_else(bad)?)
    })
}
