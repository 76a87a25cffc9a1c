//! Writes Delta tables: for the demo, which must show realistic data without a download, and for tests, which must run
//! everywhere.
//!
//! The Delta protocol is written by hand ([`DeltaWriter`]), never through the library that our reader uses: a mistake
//! made the same way on both sides would pass every test.

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
    /// The table's name, which is the name of its folder.
    pub name: String,
    /// The number of rows of its newest version.
    pub rows: u64,
}

/// The folder of a table in the layout that a workspace serves: `<root>/<schema>/<table>`.
fn table_dir(root: &Path, schema: &str, table: &str) -> std::path::PathBuf {
    root.join(schema).join(table)
}
