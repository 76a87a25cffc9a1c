//! Reads the log of a table. The Delta kernel replays it; what the kernel would trust is checked before it gets there: the
//! list of files ([`storage`]), commits ([`json`]) and checkpoints ([`parquet`]). Paths are given to it in one normal
//! spelling, so that one file has one name, and schemas without the types that it cannot parse.
//!
//! Nothing here decides which files are live: only a replay does.

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

/// Log files that are read ahead. The kernel's own default is a thousand, which no bound of memory allows.
pub(crate) const LOG_READ_AHEAD: NonZero<usize> = NonZero::new(8).expect("eight is not zero");
/// Log entries of one batch.
pub(crate) const LOG_BATCH_ROWS: NonZero<usize> = NonZero::new(1000).expect("a thousand is not zero");

/// A part of a log that was skipped, because the rest of the log says the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogNote {
    /// Name of the file in the log.
    pub file: String,
    /// What is wrong with it, and what was read instead.
    pub message: String,
}

/// Parts of a log that are ignored while it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Without {
    /// Versions of checkpoints that cannot be read.
    pub checkpoints: BTreeSet<u64>,
    /// Whether to ignore `_last_checkpoint`, because it names a checkpoint that does not exist.
    pub hint: bool,
}

/// One reading of a log, with what was found on the way.
pub(crate) struct LogReading {
    pub store: Arc<dyn ObjectStore>,
    pub places: Places,
    pub without: Without,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    trouble: Option<Trouble>,
    /// Checkpoints without bytes, which were ignored.
    empty: BTreeSet<String>,
    schema: Option<SchemaText>,
}

/// A file of the log that cannot be read.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// The file; of a checkpoint of several files, one of them.
    pub file: String,
    /// Version, if the file is part of a checkpoint.
    pub checkpoint: Option<u64>,
    /// Version, if the file is a commit.
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

    /// Remembers what is wrong with a file, and returns the error. An error of the store is not the file's.
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

    /// What is wrong with a file, if that is why the log could not be read. Taken: the next call returns None.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.seen().trouble.take()
    }

    /// Checkpoints that have no bytes, because their writer did not finish.
    pub(crate) fn empty_checkpoints(&self) -> Vec<String> {
        self.seen().empty.iter().cloned().collect()
    }

    fn saw_empty(&self, file: String) {
        self.seen().empty.insert(file);
    }

    /// The newest schema that was read, as the log has it.
    pub(crate) fn schema(&self) -> Option<SchemaText> {
        self.seen().schema.clone()
    }

    fn saw_schema(&self, schema: SchemaText) {
        self.seen().schema.get_or_insert(schema);
    }
}

/// The lines of commits, in the order of `files`.
pub(crate) fn commits(store: Arc<dyn ObjectStore>, files: Vec<FileMeta>) -> lines::Files {
    lines::files(store, files)
}

/// An error of this crate that passes through the kernel.
fn refuse(reason: impl Into<String>) -> KernelError {
    KernelError::Generic(reason.into())
}

/// The engine that the kernel reads deletion vectors of data files with. It reads no log.
pub(crate) fn plain_engine(
    store: Arc<dyn ObjectStore>,
    batch_rows: NonZero<usize>,
) -> Result<Arc<dyn Engine>, crate::DeltaError> {
    engine::default_engine(store, NonZero::<usize>::MIN, batch_rows)
}
