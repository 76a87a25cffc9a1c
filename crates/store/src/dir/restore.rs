//! Builds the database anew from an export. Owns the choice of the export and what becomes of the broken database. It
//! runs only when the operator asked for it.

use uuid::Uuid;

use super::build::Builder;
use super::export::{self, Head};
use super::files::{Directory, remove_tree, rename, sync_dir};
use super::{Manifest, Summary};
use crate::error::{Result, StoreError};
use crate::layout::SENTINEL_KEY;
use crate::options::Options;
use crate::sentinel::Sentinel;

impl Directory {
    /// Restores the newest complete export. The broken database is kept as `sled.broken`, exactly as it was found:
    /// opening a damaged log with sled changes it.
    pub fn restore(&self, kind: &str, options: &Options) -> Result<()> {
        let mut refused = Vec::new();
        for path in self.export_files()? {
            // The whole file is verified before anything of it is used.
            let head = match export::read(&path, &mut |_, _| Ok(())) {
                Ok(head) => head,
                Err(error) => {
                    refused.push(error.to_string());
                    continue;
                }
            };
            let old = head.sentinel.clone().unwrap_or_default();
            if old.kind != kind {
                return Err(StoreError::WrongKind { expected: kind.into(), found: old.kind });
            }
            let number = self.known_incarnation()?.max(old.incarnation) + 1;
            let fresh =
                Sentinel { format: old.format, ..Sentinel::new(kind, old.schema_version, number, Uuid::new_v4()) };
            let mut builder = Builder::start(self, options)?;
            builder.put(SENTINEL_KEY.to_vec(), fresh.value()?)?;
            export::read(&path, &mut |key, value| builder.put(key, value))?;
            builder.finish()?;
            let broken = self.path().join("sled.broken");
            if self.live().exists() {
                remove_tree(&broken)?;
                rename(&self.live(), &broken)?;
                sync_dir(self.path())?;
            }
            let told = match Manifest::open(self)? {
                // A damaged manifest would make the restored database doubtful, too.
                Some((_, None)) => {
                    Manifest::discard(self)?;
                    None
                }
                other => other.and_then(|(_, told)| told),
            };
            let lost = lost(&head, told);
            tracing::warn!(export = %path.display(), revision = head.revision, incarnation = number, lost, "restored");
            return self.finish_swap();
        }
        let detail = if refused.is_empty() { "there is none".to_owned() } else { refused.join("; ") };
        Err(StoreError::NoUsableExport { dir: self.exports(), detail })
    }
}

/// What the manifest knows and the export does not have, as text for the operator.
fn lost(head: &Head, told: Option<Summary>) -> String {
    let Some(told) = told else {
        return format!("what was acknowledged after revision {}; how much that is, is unknown", head.revision);
    };
    let commits = told.revision.saturating_sub(head.revision);
    if commits == 0 {
        return "nothing".to_owned();
    }
    let tables = match (&head.tally, &told.tally) {
        (Some(is), Some(was)) => is.difference(was),
        _ => None,
    };
    format!("the last {commits} commits, up to revision {}: {}", told.revision, tables.unwrap_or_default())
}
