//! Uses of data sources.

/// A job's use of its data source at the registry. The record exists until the use is released, also after the job has
/// ended.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SourceUse {}
