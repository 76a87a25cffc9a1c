//! Delta tables that we write ourselves: for the demo, which is to show something realistic without any download, and
//! for tests, which are to run everywhere.
//!
//! It writes the Delta protocol by hand ([`DeltaWriter`]) and never through the library that our reader uses: what both
//! got wrong in the same way, no test would find.

mod error;
mod partition;
mod schema;
mod tpch;
mod type_rows;
mod types;
mod vector;
mod writer;

use std::path::Path;

pub use error::SampleError;
pub use tpch::tpch;
pub use types::types;
pub use writer::{DeltaWriter, Mapping, TableSpec, VectorStorage};

/// A table that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleTable {
    /// The schema (folder) it is in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The rows of its newest version.
    pub rows: u64,
}

/// The folder of a table in the layout that a workspace serves: `<root>/<schema>/<table>`.
fn table_dir(root: &Path, schema: &str, table: &str) -> std::path::PathBuf {
    root.join(schema).join(table)
}
