//! A backend in memory, for tests of services and for the conformance suite. Nothing is kept when the process ends.

use std::collections::BTreeMap;
use std::ops::Bound;

use parking_lot::RwLock;

use super::{Backend, Batch, View, Visit};
use crate::error::Result;

/// Rows in a `BTreeMap`.
#[derive(Debug, Default)]
pub struct MemoryBackend {
    rows: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl View for MemoryBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        // `read_recursive`, because the callback of a `visit` may read.
        Ok(self.rows.read_recursive().get(key).cloned())
    }

    fn visit(&self, from: &[u8], to: &[u8], descending: bool, each: &mut Visit<'_>) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        let rows = self.rows.read_recursive();
        let range = rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        let range: Box<dyn Iterator<Item = _>> = if descending { Box::new(range.rev()) } else { Box::new(range) };
        for (key, value) in range {
            if each(key, value)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Backend for MemoryBackend {
    fn apply(&self, batch: Batch) -> Result<()> {
        let mut rows = self.rows.write();
        for (key, value) in batch {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}
