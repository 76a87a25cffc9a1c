//! Which schemas are known to be at the target, so that not each table asks. Never more than a memory: what is not there any more
//! makes a statement fail, and then all of it is forgotten.

use std::collections::HashSet;

use mms_maxcompute::name::{ProjectName, SchemaName};
use parking_lot::Mutex;

/// Schemas that this process has seen at the target, for as long as it has the session. Whoever drops one meanwhile makes a
/// statement fail, and the next attempt looks again.
#[derive(Debug, Default)]
pub struct Schemas(Mutex<HashSet<(ProjectName, SchemaName)>>);

impl Schemas {
    /// Whether it was seen.
    pub fn knows(&self, project: &ProjectName, schema: &SchemaName) -> bool {
        self.0.lock().contains(&(project.clone(), schema.clone()))
    }

    /// It is there.
    pub fn note(&self, project: &ProjectName, schema: &SchemaName) {
        self.0.lock().insert((project.clone(), schema.clone()));
    }

    /// Something that should lie in one of them does not.
    pub fn forget(&self) {
        self.0.lock().clear();
    }
}
