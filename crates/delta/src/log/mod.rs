//! How the log of a table is read. The Delta kernel replays it; what the kernel takes on trust is looked at on its way in:
//! which files are there ([`storage`]), what commits say ([`json`]), what checkpoints say ([`parquet`]). Paths reach it as
//! places, so that one place has one spelling; schemas without the types that it cannot parse.
//!
//! Nothing here decides which files are live: that is the kernel's replay alone.

mod engine;
mod files;
mod json;
mod lines;
mod normal;
mod parquet;
mod schema_text;
mod storage;

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};

use delta_kernel::{Engine, FileMeta, KernelError};
use object_store::ObjectStore;
use url::Url;

pub(crate) use engine::engine;
pub(crate) use files::LogFile;
pub(crate) use schema_text::SchemaText;
pub use schema_text::UnreadableColumn;

use crate::error::kernel_text;
use crate::place::Places;

/// Log files read ahead. The kernel's own figure is a thousand, which no stated bound of memory bears.
pub(crate) const LOG_READ_AHEAD: NonZero<usize> = NonZero::new(8).expect("eight is not zero");
/// Log entries in one piece.
pub(crate) const LOG_BATCH_ROWS: NonZero<usize> = NonZero::new(1000).expect("a thousand is not zero");

/// Something of a log that was passed by, since the rest of it says the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogNote {
    /// The file, by its name in the log.
    pub file: String,
    /// What is wrong with it, and what was done instead.
    pub message: String,
}

/// What is left out of a log while it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Without {
    /// Versions whose checkpoints cannot be read.
    pub checkpoints: BTreeSet<u64>,
    /// `_last_checkpoint`, which points to none.
    pub hint: bool,
}

/// One reading of a log, and what came up in it.
pub(crate) struct LogReading {
    pub store: Arc<dyn ObjectStore>,
    pub places: Places,
    pub without: Without,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    trouble: Option<Trouble>,
    /// Checkpoints of no bytes, which were left out.
    empty: BTreeSet<String>,
    schema: Option<SchemaText>,
}

/// A file of the log that cannot be read.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// The file, or one of those that make a checkpoint.
    pub file: String,
    /// The version, where the file is of a checkpoint.
    pub checkpoint: Option<u64>,
    /// The version, where it is a commit.
    pub commit: Option<u64>,
    pub reason: String,
}

impl LogReading {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, root: &Url, without: Without) -> Arc<Self> {
        Arc::new(Self { store, places: Places::new(root.clone()), without, seen: Mutex::default() })
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is wrong with a file, and passes the error on. A store that does not answer is no fault of the file.
    fn failed(&self, file: &LogFile, error: KernelError) -> KernelError {
        let absent = matches!(&error, KernelError::FileNotFound(_));
        if absent || crate::error::store_error(&error).is_none() {
            let trouble = Trouble {
                file: file.name.clone(),
                checkpoint: file.checkpoint,
                commit: file.commit,
                reason: kernel_text(&error),
            };
            self.seen().trouble.get_or_insert(trouble);
        }
        error
    }

    /// What was wrong with a file, if that is why the log could not be read.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.seen().trouble.take()
    }

    /// Checkpoints that have no bytes: they were never written to their end.
    pub(crate) fn empty_checkpoints(&self) -> Vec<String> {
        self.seen().empty.iter().cloned().collect()
    }

    fn saw_empty(&self, file: String) {
        self.seen().empty.insert(file);
    }

    /// The newest schema that went by, as the log has it.
    pub(crate) fn schema(&self) -> Option<SchemaText> {
        self.seen().schema.clone()
    }

    fn saw_schema(&self, schema: SchemaText) {
        self.seen().schema.get_or_insert(schema);
    }
}

/// The lines of commits, in the order in which they are named.
pub(crate) fn commits(store: Arc<dyn ObjectStore>, files: Vec<FileMeta>) -> lines::Files {
    lines::files(store, files)
}

/// An error of ours on its way through the kernel.
fn refuse(reason: impl Into<String>) -> KernelError {
    KernelError::Generic(reason.into())
}

/// The engine that the kernel reads data files' deletion vectors with: no log is read by it.
pub(crate) fn plain_engine(
    store: Arc<dyn ObjectStore>,
    batch_rows: NonZero<usize>,
) -> Result<Arc<dyn Engine>, crate::DeltaError> {
    engine::default_engine(store, NonZero::<usize>::MIN, batch_rows)
}
