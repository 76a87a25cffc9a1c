//! Everything that can go wrong in the store, in one typed error. Owns the wording; decides nothing.

use std::{io, path::Path, path::PathBuf, sync::Arc};

/// Why the store refused or failed. Cheap to clone, because one failed flush is the answer to every commit of its
/// group.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process (or another `Store` of this one) has the directory open.
    #[error(
        "store directory {dir} is in use by {holder}: one process owns a data directory; stop the other one or choose another directory"
    )]
    InUse {
        /// The store's directory.
        dir: PathBuf,
        /// What the lock file says about its holder.
        holder: String,
    },
    /// The operating system refused a file operation.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, as in "open".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: Arc<io::Error>,
    },
    /// Stored bytes are not what was written.
    #[error(
        "store is corrupt: {what}; start once with --recover newest-export (what was acknowledged after the newest of its exports/ is lost), or put a backup in its place"
    )]
    Corrupt {
        /// What was found, and where.
        what: String,
    },
    /// The directory has held a store before, but its database is not there.
    #[error(
        "store directory {dir} was in use before but holds no database: refusing to start empty; restore `sled/`, or start once with --recover newest-export"
    )]
    Missing {
        /// The store's directory.
        dir: PathBuf,
    },
    /// The database may be complete, but it is not known to be the one that the store left in this directory.
    #[error(
        "store directory {dir}: {what}; if you put it there (a copy, a restored backup), start once with --recover accept-copy, which begins a new incarnation; if not, start once with --recover newest-export (what was acknowledged after the newest of its exports/ is lost), or put a backup in its place"
    )]
    Doubtful {
        /// The store's directory.
        dir: PathBuf,
        /// The reason for the doubt.
        what: String,
    },
    /// A write was refused before anything was written. Reads go on, and so do writes once there is space.
    #[error(
        "the disk of {dir} is full: {free} bytes are free, {needed} are needed to write safely; free some, writing goes on by itself"
    )]
    DiskFull {
        /// The store's directory.
        dir: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be free for the write.
        needed: u64,
    },
    /// A write failed before the store last ended, and the disk has no space to write the database anew.
    #[error(
        "a write to {dir} failed before the store ended, so it starts only with its database written anew, and there is no room for that: {free} bytes are free, {needed} are needed; free some on this disk and start again, nothing acknowledged is lost"
    )]
    NoRoomToRebuild {
        /// The store's directory.
        dir: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be free to write the database anew.
        needed: u64,
    },
    /// Recovery from an export was asked for, and no export is complete.
    #[error("no usable export under {dir}: {detail}")]
    NoUsableExport {
        /// The directory of the exports.
        dir: PathBuf,
        /// Why each export was rejected.
        detail: String,
    },
    /// The directory belongs to another service.
    #[error("store holds data of kind {found:?}, not {expected:?}: check the data directory in the configuration")]
    WrongKind {
        /// The kind that the program expects.
        expected: String,
        /// The kind that the store has.
        found: String,
    },
    /// The data was written by a release whose data this one cannot read.
    #[error("{why}")]
    OlderData {
        /// What the operator is to do, as a whole sentence.
        why: &'static str,
    },
    /// The data was written by a newer release.
    #[error(
        "store has schema version {found}, this program knows up to {known}: run a newer release, data is never migrated backwards"
    )]
    NewerSchema {
        /// The version in the store.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The files have another layout than the one that this crate reads.
    #[error("store has layout format {found}, this program reads format {known}: run the release that wrote it")]
    UnknownFormat {
        /// The format in the store.
        found: u32,
        /// The format that this program reads.
        known: u32,
    },
    /// A record was written by a newer release.
    #[error("a record of table {table} has version {found}, this program knows up to {known}: run a newer release")]
    NewerRecord {
        /// The table's name.
        table: &'static str,
        /// The version of the record.
        found: u8,
        /// The newest version that this program knows.
        known: u8,
    },
    /// A migration failed.
    #[error("migration of {kind} from schema version {from} failed: {detail}")]
    Migration {
        /// The kind of store.
        kind: String,
        /// The schema version that it started from.
        from: u32,
        /// What the migration reported.
        detail: String,
    },
    /// An encoded key is longer than allowed.
    #[error(
        "key of table {table} is {bytes} bytes long, the limit is {limit}: shorten the key, or key by a digest of it"
    )]
    KeyTooLong {
        /// The table, or table and index.
        table: String,
        /// Length of the encoded key.
        bytes: usize,
        /// Greatest length, in bytes.
        limit: usize,
    },
    /// A record is larger than allowed.
    #[error("record of table {table} is {bytes} bytes large, the limit is {limit}: split it over several records")]
    ValueTooLarge {
        /// The table's name.
        table: &'static str,
        /// Size of the encoded record.
        bytes: usize,
        /// Greatest size, in bytes.
        limit: usize,
    },
    /// One commit writes more than allowed.
    #[error("one commit writes more than {limit} bytes: split it into several commits")]
    TransactionTooLarge {
        /// Most bytes in one commit.
        limit: usize,
    },
    /// A read asked for an index that its table does not declare.
    #[error("index {index} is not declared on table {table}: add it to Table::indexed")]
    UnknownIndex {
        /// The table's name.
        table: &'static str,
        /// The index's name.
        index: &'static str,
    },
    /// The closure of a commit panicked; nothing of it was written.
    #[error("the commit's closure panicked ({message}); nothing of it was written")]
    ClosurePanicked {
        /// The panic's message.
        message: String,
    },
    /// An earlier write or flush failed, so nothing can be read or acknowledged any more.
    #[error("store stopped after a failed write: {cause}; restart the process, it reopens with what the disk has")]
    Stopped {
        /// The failure that stopped the store.
        cause: Arc<StoreError>,
    },
    /// The store was closed.
    #[error("store is closed: the process is shutting down; try again after the restart")]
    Closed,
}

impl StoreError {
    /// Whether [`Recovery::NewestExport`](crate::Recovery::NewestExport) can help.
    pub(crate) fn is_about_the_database(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Missing { .. } | Self::Doubtful { .. })
    }

    /// Whether the store has ended for good, so that the same call may succeed only after a restart.
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Stopped { .. } | Self::Closed)
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source: Arc::new(source) }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}

pub(crate) type Result<T, E = StoreError> = std::result::Result<T, E>;
