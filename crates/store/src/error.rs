//! Everything that can go wrong in the store, in one typed error. Owns the wording; decides nothing.

use std::{io, path::Path, path::PathBuf, sync::Arc};

/// Why the store refused or failed. Cheap to clone: one failed flush is the answer to every commit of its group.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process (or another `Store` of this one) has the directory open.
    #[error(
        "store directory {dir} is in use by {holder}: one process owns a data directory; stop the other one or choose another directory"
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// What the lock file says of its holder.
        holder: String,
    },
    /// The operating system refused a file operation.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
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
    /// The directory was a store before, but its data is not there.
    #[error(
        "store directory {dir} was in use before but holds no database: refusing to start empty; restore `sled/`, or start once with --recover newest-export"
    )]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// The database may be whole, but it is not known to be the one that was left here.
    #[error(
        "store directory {dir}: {what}; if you put it there (a copy, a restored backup), start once with --recover accept-copy, which begins a new incarnation; if not, start once with --recover newest-export (what was acknowledged after the newest of its exports/ is lost), or put a backup in its place"
    )]
    Doubtful {
        /// The directory.
        dir: PathBuf,
        /// What speaks against it.
        what: String,
    },
    /// A write was refused before anything was touched; reading goes on, and so does writing once there is room.
    #[error(
        "the disk of {dir} is full: {free} bytes are free, {needed} are needed to write safely; free some, writing goes on by itself"
    )]
    DiskFull {
        /// The directory of the store.
        dir: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be.
        needed: u64,
    },
    /// A write failed before the last end, and the disk has no room for the database to be written anew.
    #[error(
        "a write to {dir} failed before the store ended, so it starts only with its database written anew, and there is no room for that: {free} bytes are free, {needed} are needed; free some on this disk and start again, nothing acknowledged is lost"
    )]
    NoRoomToRebuild {
        /// The directory of the store.
        dir: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be.
        needed: u64,
    },
    /// Recovery was asked for, and no export is complete.
    #[error("no usable export under {dir}: {detail}")]
    NoUsableExport {
        /// The exports directory.
        dir: PathBuf,
        /// Why each one was refused.
        detail: String,
    },
    /// The directory belongs to another service.
    #[error("store holds data of kind {found:?}, not {expected:?}: check the data directory in the configuration")]
    WrongKind {
        /// The kind that was asked for.
        expected: String,
        /// The kind that is stored.
        found: String,
    },
    /// The data was written by a release whose data this one does not take.
    #[error("{why}")]
    OlderData {
        /// What whoever starts the program is to do.
        why: &'static str,
    },
    /// The data was written by a newer release.
    #[error(
        "store has schema version {found}, this program knows up to {known}: run a newer release, data is never migrated backwards"
    )]
    NewerSchema {
        /// Version in the store.
        found: u32,
        /// Newest version known here.
        known: u32,
    },
    /// The files were written in another layout than this crate's.
    #[error("store has layout format {found}, this program reads format {known}: run the release that wrote it")]
    UnknownFormat {
        /// Format in the store.
        found: u32,
        /// Format known here.
        known: u32,
    },
    /// A record was written by a newer release.
    #[error("a record of table {table} has version {found}, this program knows up to {known}: run a newer release")]
    NewerRecord {
        /// Table.
        table: &'static str,
        /// Version of the record.
        found: u8,
        /// Newest version known here.
        known: u8,
    },
    /// A migration refused.
    #[error("migration of {kind} from schema version {from} failed: {detail}")]
    Migration {
        /// Kind of store.
        kind: String,
        /// Version it started from.
        from: u32,
        /// What the migration said.
        detail: String,
    },
    /// An encoded key is longer than allowed.
    #[error(
        "key of table {table} is {bytes} bytes long, the limit is {limit}: shorten the key, or key by a digest of it"
    )]
    KeyTooLong {
        /// Table, or table and index.
        table: String,
        /// Encoded length.
        bytes: usize,
        /// Limit.
        limit: usize,
    },
    /// A record is larger than allowed.
    #[error("record of table {table} is {bytes} bytes large, the limit is {limit}: split it over several records")]
    ValueTooLarge {
        /// Table.
        table: &'static str,
        /// Encoded size.
        bytes: usize,
        /// Limit.
        limit: usize,
    },
    /// One commit writes more than allowed.
    #[error("one commit writes more than {limit} bytes: split it into several commits")]
    TransactionTooLarge {
        /// Limit.
        limit: usize,
    },
    /// An index was asked for that its table does not declare.
    #[error("index {index} is not declared on table {table}: add it to Table::indexed")]
    UnknownIndex {
        /// Table.
        table: &'static str,
        /// Index.
        index: &'static str,
    },
    /// The closure of a commit panicked; nothing of it was written.
    #[error("the commit's closure panicked ({message}); nothing of it was written")]
    ClosurePanicked {
        /// The panic's message.
        message: String,
    },
    /// An earlier write or flush failed, so nothing can be promised any more.
    #[error("store stopped after a failed write: {cause}; restart the process, it reopens with what the disk has")]
    Stopped {
        /// The first failure.
        cause: Arc<StoreError>,
    },
    /// The store was closed.
    #[error("store is closed: the process is shutting down; try again after the restart")]
    Closed,
}

impl StoreError {
    /// Whether there is a way back with [`Recovery::NewestExport`](crate::Recovery::NewestExport).
    pub(crate) fn is_about_the_database(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Missing { .. } | Self::Doubtful { .. })
    }

    /// Whether the store answers nothing any more, so that the same call may succeed after a restart.
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
