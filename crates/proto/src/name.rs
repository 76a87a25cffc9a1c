//! Resource names as types. Parsing and formatting are exact inverses: each resource has one spelling, so names can be
//! used as keys.
//!
//! The contract defines the grammar. [`segment`] has the segments, [`partition`] the segment of a partition.

pub mod parent;
pub mod partition;
pub mod segment;

pub use parent::Parent;
pub use partition::PartitionId;
pub use segment::{ResourceId, Segment, SourceId};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a name of the shape {shape}: {reason}")]
pub struct NameError {
    /// The text that was parsed.
    pub name: String,
    /// The shape that was expected, as in `dataSources/{data_source}/jobs/{job}`.
    pub shape: &'static str,
    /// Which part of it is wrong, and how.
    pub reason: String,
}

/// A resource name.
pub trait ResourceName: std::fmt::Display + std::str::FromStr<Err = NameError> + Sized {
    /// The collections from the root on, as in `["dataSources", "jobs"]`.
    const COLLECTIONS: &'static [&'static str];
    /// The shape for people, as in `dataSources/{data_source}/jobs/{job}`.
    const SHAPE: &'static str;

    /// Parses a name; the error says which part does not fit the shape.
    fn parse(name: &str) -> Result<Self, NameError>;
}

macro_rules! name {
    (@common $name:ident, $shape:literal, [$($collection:literal),+]) => {
        impl ResourceName for $name {
            const COLLECTIONS: &'static [&'static str] = &[$($collection),+];
            const SHAPE: &'static str = $shape;

            fn parse(name: &str) -> Result<Self, NameError> {
                let segments = segment::split(name, Self::COLLECTIONS)
                    .map_err(|reason| NameError { name: name.to_owned(), shape: Self::SHAPE, reason })?;
                Self::from_segments(&segments)
                    .map_err(|reason| NameError { name: name.to_owned(), shape: Self::SHAPE, reason })
            }
        }
        impl std::str::FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                <Self as ResourceName>::parse(name)
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(name: String) -> Result<Self, NameError> {
                <Self as ResourceName>::parse(&name)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.to_string()
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    };
    ($(#[$doc:meta])* $name:ident($id:ident) $shape:literal, $collection:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name {
            id: $id,
        }
        impl $name {
            /// The name with this id as its last segment.
            pub fn new(id: $id) -> Self {
                Self { id }
            }

            /// The last segment.
            pub fn id(&self) -> &$id {
                &self.id
            }

            fn from_segments(segments: &[&str]) -> Result<Self, String> {
                match segments {
                    [id] => Ok(Self { id: $id::parse_segment(id)? }),
                    _ => Err("it has another number of segments".into()),
                }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($collection, "/{}"), self.id)
            }
        }
        name!(@common $name, $shape, [$collection]);
    };
    ($(#[$doc:meta])* $name:ident($parent:ident, $id:ident) $shape:literal, $($above:literal),+ => $collection:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name {
            parent: $parent,
            id: $id,
        }
        impl $name {
            /// The name with this id as its last segment, under this parent.
            pub fn new(parent: $parent, id: $id) -> Self {
                Self { parent, id }
            }

            /// The name of the resource that contains this one.
            pub fn parent(&self) -> &$parent {
                &self.parent
            }

            /// The last segment.
            pub fn id(&self) -> &$id {
                &self.id
            }

            fn from_segments(segments: &[&str]) -> Result<Self, String> {
                match segments {
                    [above @ .., id] => {
                        Ok(Self { parent: $parent::from_segments(above)?, id: $id::parse_segment(id)? })
                    }
                    [] => Err("it is empty".into()),
                }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!("{}/", $collection, "/{}"), self.parent, self.id)
            }
        }
        name!(@common $name, $shape, [$($above),+, $collection]);
    };
}

name!(
    /// A network connection.
    NetworkConnectionName(ResourceId) "networkConnections/{network_connection}", "networkConnections"
);
name!(
    /// A data source.
    DataSourceName(ResourceId) "dataSources/{data_source}", "dataSources"
);
name!(
    /// A schema of a source.
    SchemaName(DataSourceName, SourceId) "dataSources/{data_source}/schemas/{schema}", "dataSources" => "schemas"
);
name!(
    /// A table of a source.
    TableName(SchemaName, SourceId) "dataSources/{data_source}/schemas/{schema}/tables/{table}",
    "dataSources", "schemas" => "tables"
);
name!(
    /// A partition of a source table.
    PartitionName(TableName, PartitionId)
    "dataSources/{data_source}/schemas/{schema}/tables/{table}/partitions/{partition}",
    "dataSources", "schemas", "tables" => "partitions"
);
name!(
    /// A scan of a data source.
    ScanName(DataSourceName, ResourceId) "dataSources/{data_source}/scans/{scan}", "dataSources" => "scans"
);
name!(
    /// A migration job.
    JobName(DataSourceName, ResourceId) "dataSources/{data_source}/jobs/{job}", "dataSources" => "jobs"
);
name!(
    /// A task of a job.
    TaskName(JobName, ResourceId) "dataSources/{data_source}/jobs/{job}/tasks/{task}", "dataSources", "jobs" => "tasks"
);
name!(
    /// A schema of a source, as a job has it. Only the tables below it are resources.
    JobSchemaName(JobName, SourceId) "dataSources/{data_source}/jobs/{job}/schemas/{schema}",
    "dataSources", "jobs" => "schemas"
);
name!(
    /// A table of a source, as a job has it.
    JobTableName(JobSchemaName, SourceId) "dataSources/{data_source}/jobs/{job}/schemas/{schema}/tables/{table}",
    "dataSources", "jobs", "schemas" => "tables"
);
name!(
    /// A timer.
    TimerName(DataSourceName, ResourceId) "dataSources/{data_source}/timers/{timer}", "dataSources" => "timers"
);
name!(
    /// A run of a timer.
    RunName(TimerName, ResourceId) "dataSources/{data_source}/timers/{timer}/runs/{run}",
    "dataSources", "timers" => "runs"
);
name!(
    /// A transfer worker.
    WorkerName(ResourceId) "workers/{worker}", "workers"
);
name!(
    /// A transfer in a worker's process.
    TransferName(WorkerName, ResourceId) "workers/{worker}/transfers/{transfer}", "workers" => "transfers"
);

macro_rules! under_data_source {
    ($($name:ident),+) => { $(
        impl $name {
            /// The data source that the resource belongs to.
            pub fn data_source(&self) -> &DataSourceName {
                self.parent().data_source()
            }
        }
    )+ };
}

impl DataSourceName {
    /// The name itself, so that all names under a data source have this method.
    pub fn data_source(&self) -> &DataSourceName {
        self
    }
}
under_data_source!(
    SchemaName,
    TableName,
    PartitionName,
    ScanName,
    JobName,
    TaskName,
    JobSchemaName,
    JobTableName,
    TimerName,
    RunName
);
