//! Which kind of data a store has, and how the data of one release becomes that of the next. Pure declarations.

use crate::error::StoreError;
use crate::tx::Tx;

/// Migrates the data to the next schema version. It runs alone, before the store answers anything; its writes and the
/// new version are one atomic commit.
pub type Migration = fn(&mut Tx<'_>) -> Result<(), StoreError>;

/// Kind and version of a store's data. A new kind starts at version 1, and each migration leads to the next version, so
/// the version that a program knows is one more than the migrations it has.
#[derive(Clone)]
pub struct Schema {
    pub(crate) kind: &'static str,
    pub(crate) migrations: Vec<Migration>,
}

impl Schema {
    /// Version 1 of a kind of data, usually named after the service.
    pub fn new(kind: &'static str) -> Self {
        Self { kind, migrations: Vec::new() }
    }

    /// Adds the migration from the newest version so far to the next one. Migrations are only ever appended.
    #[must_use]
    pub fn migration(mut self, step: Migration) -> Self {
        self.migrations.push(step);
        self
    }

    /// The version that this program writes.
    pub fn version(&self) -> u32 {
        self.migrations.len() as u32 + 1
    }
}
