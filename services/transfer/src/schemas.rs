//! Remembers which schemas exist at the target, so that not every table asks. Only a cache: if a schema was dropped since, a
//! statement fails, the cache is cleared, and the next attempt asks again.

use std::collections::HashSet;

use mms_maxcompute::name::{ProjectName, SchemaName};
use parking_lot::Mutex;

/// Schemas that this process has seen at the target, kept as long as the session of the data source.
#[derive(Debug, Default)]
pub struct Schemas(Mutex<HashSet<(ProjectName, SchemaName)>>);

impl Schemas {
    /// Whether the schema was seen.
    pub fn knows(&self, project: &ProjectName, schema: &SchemaName) -> bool {
        self.0.lock().contains(&(project.clone(), schema.clone()))
    }

    /// Remembers that the schema exists.
    pub fn note(&self, project: &ProjectName, schema: &SchemaName) {
        self.0.lock().insert((project.clone(), schema.clone()));
    }

    /// Clears the cache, because something that should lie in one of the schemas does not exist.
    pub fn forget(&self) {
        self.0.lock().clear();
    }
}
