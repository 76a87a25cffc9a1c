//! Accessors that the generated code of `DataSource` lacks, for a oneof that has only one member so far.

use crate::registry::v1::data_source::Source;
use crate::registry::v1::{DataSource, DatabricksSource};

impl DataSource {
    /// The Databricks source; `None` if no source is set.
    pub fn databricks(&self) -> Option<&DatabricksSource> {
        self.source.as_ref().map(|Source::Databricks(databricks)| databricks)
    }

    /// The Databricks source, to be changed; `None` if no source is set.
    pub fn databricks_mut(&mut self) -> Option<&mut DatabricksSource> {
        self.source.as_mut().map(|Source::Databricks(databricks)| databricks)
    }
}

impl From<DatabricksSource> for Source {
    fn from(databricks: DatabricksSource) -> Self {
        Self::Databricks(databricks)
    }
}
