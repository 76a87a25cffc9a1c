//! Declarations of tables and indexes. Owns names, versions and the functions that extract index keys; holds no data,
//! so that a service declares its tables as statics.

use std::marker::PhantomData;

use prost::Message;

use crate::key::Key;
use crate::known::Unknown;

/// Checks that all enum numbers in a record are known.
pub(crate) type Whole<R> = fn(&R) -> Result<(), Unknown>;

/// A table of records `R` under keys `K`.
pub struct Table<K: 'static, R: 'static> {
    pub(crate) name: &'static str,
    pub(crate) version: u8,
    pub(crate) upgrade: Option<fn(u8, R) -> R>,
    pub(crate) indexes: &'static [&'static dyn AnyIndex<K, R>],
    pub(crate) class: Option<fn(&R) -> u32>,
    pub(crate) whole: Option<Whole<R>>,
}

/// A secondary index of a table: each record has an entry under every key that the function extracts from it.
pub struct Index<I, K, R> {
    pub(crate) name: &'static str,
    extract: fn(&K, &R) -> Vec<I>,
    marker: PhantomData<fn() -> I>,
}

/// An index of a table, whatever the type of its keys; only [`Index`] implements it.
pub trait AnyIndex<K, R>: Sync {
    /// The name, unique within its table.
    fn name(&self) -> &'static str;
    /// The encoded index keys of one record.
    fn keys(&self, key: &K, record: &R) -> Vec<Vec<u8>>;
}

const fn check_name(name: &str) {
    let bytes = name.as_bytes();
    assert!(!bytes.is_empty() && bytes.len() <= 64, "a table or index name has 1 to 64 bytes");
    let mut at = 0;
    while at < bytes.len() {
        assert!(bytes[at] == b'_' || bytes[at].is_ascii_alphanumeric(), "a table or index name is [A-Za-z0-9_]+");
        at += 1;
    }
}

impl<K: Key, R: Message + Default> Table<K, R> {
    /// Declares a table. `version` is written into every record; raise it together with an [`upgrade`](Table::upgrade).
    ///
    /// # Panics
    /// When the name is not `[A-Za-z0-9_]{1,64}`; in a `static` that is a compile error.
    pub const fn new(name: &'static str, version: u8) -> Self {
        check_name(name);
        Self { name, version, upgrade: None, indexes: &[], class: None, whole: None }
    }

    /// Declares the table's indexes. Adding one to a table in use needs a migration that calls [`Tx::reindex`].
    ///
    /// [`Tx::reindex`]: crate::Tx::reindex
    #[must_use]
    pub const fn indexed(mut self, indexes: &'static [&'static dyn AnyIndex<K, R>]) -> Self {
        self.indexes = indexes;
        self
    }

    /// Gives each record a class, by which [`Store::count`](crate::Store::count) counts; without this all are of class
    /// 0. It must be a pure function with few values; the class is not stored.
    #[must_use]
    pub const fn classed(mut self, class: fn(&R) -> u32) -> Self {
        self.class = Some(class);
        self
    }

    /// Checks the enum numbers in each record that is read: a record with one that is not [`known`](crate::known) is
    /// damaged.
    #[must_use]
    pub const fn whole(mut self, whole: Whole<R>) -> Self {
        self.whole = Some(whole);
        self
    }

    /// Converts a record of an older version when it is read. If that changes what an index extracts, a migration must
    /// also call [`Tx::reindex`](crate::Tx::reindex).
    #[must_use]
    pub const fn upgrade(mut self, upgrade: fn(u8, R) -> R) -> Self {
        self.upgrade = Some(upgrade);
        self
    }
}

impl<I: Key, K: Key, R> Index<I, K, R> {
    /// Declares an index; `extract` must be a pure function of key and record.
    ///
    /// # Panics
    /// When the name is not `[A-Za-z0-9_]{1,64}`; in a `static` that is a compile error.
    pub const fn new(name: &'static str, extract: fn(&K, &R) -> Vec<I>) -> Self {
        check_name(name);
        Self { name, extract, marker: PhantomData }
    }
}

impl<I: Key, K: Key, R> AnyIndex<K, R> for Index<I, K, R> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn keys(&self, key: &K, record: &R) -> Vec<Vec<u8>> {
        let encode = |index_key: I| {
            let mut out = Vec::new();
            index_key.encode(&mut out);
            out
        };
        (self.extract)(key, record).into_iter().map(encode).collect()
    }
}
