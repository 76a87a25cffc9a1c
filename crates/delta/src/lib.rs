//! A pinned Delta snapshot, the files it consists of, and their rows as Arrow batches.
//!
//! Planning opens a [`Snapshot`] once and streams its [`SourceFile`]s into manifests; a worker reads those files with
//! nothing but the [`TableShape`], never the log. Rows come out in the table's logical schema, partition columns
//! included, deletion vectors applied, in the order of the files and of the rows in them: the same files give the same
//! batches every time, which is what makes blocks of the target repeatable.
//!
//! Nothing here decides what is migrated or where to, and nothing here touches a file that lies outside the table's
//! root. The kernel blocks, so it runs on threads of its own (the module `drive`), never on the caller's async workers.

mod data_file;
mod deleted;
mod drive;
mod error;
mod features;
mod file;
mod list;
mod log;
mod log_id;
mod partition;
mod place;
mod read;
mod replay;
mod scan;
mod shape;
mod snapshot;
mod statistics;
mod totals;
mod values;

pub use data_file::FilePins;
/// The Delta type system, as the kernel has it.
pub use delta_kernel::schema;
pub use error::{DeltaError, Difference};
pub use features::READER_FEATURES;
pub use file::{DeletionVector, PartitionValues, SourceFile};
pub use list::{Budget, FileList, FilePage};
pub use log::{LogNote, UnreadableColumn};
pub use log_id::LogId;
pub use read::{Differences, FileBatch, ReadNotes, ReadOptions, read_files};
pub use replay::{Changes, LoggedFile};
pub use shape::{ColumnMapping, ShapeText, TableShape};
pub use snapshot::{DeltaTable, Snapshot};
pub use statistics::{ColumnStatistics, FileStatistics, StatisticsText, TimeColumn};
pub use totals::{PartitionTotals, TableTotals, Totals};
