//! What the generated code of data sources lacks: looking into a oneof that has one member so far.

use crate::registry::v1::data_source::Source;
use crate::registry::v1::{DataSource, DatabricksSource};

impl DataSource {
    /// The Databricks end, if that is where tables come from.
    pub fn databricks(&self) -> Option<&DatabricksSource> {
        self.source.as_ref().map(|Source::Databricks(databricks)| databricks)
    }

    /// The same, to be changed.
    pub fn databricks_mut(&mut self) -> Option<&mut DatabricksSource> {
        self.source.as_mut().map(|Source::Databricks(databricks)| databricks)
    }
}

impl From<DatabricksSource> for Source {
    fn from(databricks: DatabricksSource) -> Self {
        Self::Databricks(databricks)
    }
}
