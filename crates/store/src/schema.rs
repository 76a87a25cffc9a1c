//! Which service a store belongs to, and how its data moves forward between releases. Pure declarations.

use crate::error::StoreError;
use crate::tx::Tx;

/// Moves the data one schema version forward. It runs alone, before the store answers; its writes and the new version
/// are one atomic commit.
pub type Migration = fn(&mut Tx<'_>) -> Result<(), StoreError>;

/// Kind and version of a store's data. A new kind starts at version 1; each migration makes the next version, so the
/// version a program knows is one more than the migrations it has.
#[derive(Clone)]
pub struct Schema {
    pub(crate) kind: &'static str,
    pub(crate) migrations: Vec<Migration>,
}

impl Schema {
    /// Version 1 of a kind, usually the name of the service.
    pub fn new(kind: &'static str) -> Self {
        Self { kind, migrations: Vec::new() }
    }

    /// Adds the step from the newest version so far to the next. Steps are only ever appended.
    #[must_use]
    pub fn migration(mut self, step: Migration) -> Self {
        self.migrations.push(step);
        self
    }

    /// The version this program writes.
    pub fn version(&self) -> u32 {
        self.migrations.len() as u32 + 1
    }
}
