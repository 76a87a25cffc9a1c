//! Tells logs apart, so that whoever has read one need not read it again.

use std::sync::LazyLock;

use crate::Snapshot;
use crate::replay::Hashes;

/// Identifies a log as it was when it was opened: table, version, and the files that it is read from with their sizes and
/// times. Equal ids mean the same list of files. Valid in this process only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogId(u128);

/// Keyed once per process, so that ids can be compared.
static HASHES: LazyLock<Hashes> = LazyLock::new(Hashes::default);

impl Snapshot {
    /// Identifies the log that this snapshot was read from.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        let listed = &self.opened().inner.log_segment().listed;
        let files = listed.ascending_commit_files.iter().chain(&listed.checkpoint_parts);
        let files: Vec<_> = files
            .map(|file| (file.location.location.as_str(), file.location.last_modified, file.location.size))
            .collect();
        LogId(HASHES.of(&(self.shape().root().as_str(), self.table_id(), self.version(), files)))
    }
}
