//! Deletes large ranges in many small commits, page by page.

use mms_store::{Key, Read, Scope, Table, Tx};
use prost::Message;

use crate::error::Result;

/// Most rows that one commit reads for a change of many.
pub const ROWS_AT_ONCE: usize = 500;

/// Deletes one page of rows. Returns whether there were any.
pub fn clear_some<K: Key, R: Message + Default>(
    tx: &mut Tx<'_>,
    table: &Table<K, R>,
    scope: &Scope<K>,
) -> Result<bool> {
    let page = tx.page(table, scope, None, ROWS_AT_ONCE)?;
    for (key, _) in &page.items {
        tx.delete(table, key)?;
    }
    Ok(!page.items.is_empty())
}
