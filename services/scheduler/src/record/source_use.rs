//! Uses of data sources that are held at the registry.

/// That a job holds its data source, or did and has not given it back yet.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SourceUse {}
