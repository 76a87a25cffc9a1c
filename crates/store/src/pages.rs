//! Reads a table page by page, each page in a read of its own, so that commits can happen in between. A row that is
//! written meanwhile before the present position is not seen.

use prost::Message;

use crate::error::Result;
use crate::key::Key;
use crate::read::Read;
use crate::scope::Scope;
use crate::store::Store;
use crate::table::Table;

/// The pages of a scope; none of them is empty.
pub struct Pages<'a, K: 'static, R: 'static> {
    store: &'a Store,
    table: &'a Table<K, R>,
    scope: Scope<K>,
    size: usize,
    /// The key after which the next page begins; the outer `None` when there is no next page.
    next: Option<Option<K>>,
}

impl Store {
    /// The rows of a scope in pages of up to `size` rows, until none is left.
    pub fn pages<'a, K: Key, R: Message + Default>(
        &'a self,
        table: &'a Table<K, R>,
        scope: Scope<K>,
        size: usize,
    ) -> Pages<'a, K, R> {
        Pages { store: self, table, scope, size, next: Some(None) }
    }
}

impl<K: Key, R: Message + Default> Iterator for Pages<'_, K, R> {
    type Item = Result<Vec<(K, R)>>;

    fn next(&mut self) -> Option<Self::Item> {
        let after = self.next.take()?;
        match self.store.read(|read| read.page(self.table, &self.scope, after.as_ref(), self.size)) {
            Ok(page) => {
                self.next = page.next.map(Some);
                (!page.items.is_empty()).then_some(Ok(page.items))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Schema;

    #[derive(Clone, PartialEq, Message)]
    struct Nothing {}

    static ROWS: Table<u64, Nothing> = Table::new("rows", 1);

    #[tokio::test]
    async fn every_row_comes_once_and_what_is_behind_does_not_come_again() {
        let store = Store::in_memory(Schema::new("test")).expect("opened");
        assert!(store.pages(&ROWS, Scope::all(), 3).next().is_none());
        let put = |keys: std::ops::Range<u64>| {
            store.commit(move |tx| keys.into_iter().try_for_each(|key| tx.put(&ROWS, &key, &Nothing {})))
        };
        put(10..17).await.expect("stored");
        let mut seen = Vec::new();
        for page in store.pages(&ROWS, Scope::all(), 3) {
            seen.push(page.expect("readable").into_iter().map(|(key, _)| key).collect::<Vec<_>>());
            put(0..1).await.expect("stored");
        }
        assert_eq!(seen, [vec![10, 11, 12], vec![13, 14, 15], vec![16]]);
    }
}
