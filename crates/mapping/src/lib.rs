//! Maps a Databricks table to a MaxCompute table: names, types, partition columns and partition values.
//!
//! [`plan_table`] turns a [`SourceTable`] and [`MappingRules`] into a [`TablePlan`]: the definition to create, the mapping of
//! each column, and the [`Finding`]s. [`PartitionMapping`] then maps the partitions of that table, and [`target_action`] decides
//! what to do with a target table that exists already.
//!
//! Everything here is a pure function of its arguments: no I/O, no clock, no rows. Nothing may be lost silently: whatever is not
//! carried over exactly has a finding, and what cannot be carried over at all is a [`Severity::Blocker`], never left out.

mod canonical;
mod characters;
mod error;
mod existing;
mod finding;
mod names;
mod partition;
mod plan;
mod rules;
mod schema_json;
mod source;
mod table_facts;
mod type_text;
mod types;

pub use canonical::{NULL_PARTITION, canonical_text};
pub use characters::{CharacterMap, Others};
pub use error::{MappingError, PartitionProblem};
pub use existing::{Difference, ExistingTable, TargetAction, TargetPolicy, check_existing, target_action};
pub use finding::{Finding, Reason, Severity};
pub use partition::{MappedPartition, PartitionClash, PartitionLevel, PartitionMapping, partition_clashes};
pub use plan::{ColumnMapping, ColumnRole, TablePlan, ValueConversion, plan_table};
pub use rules::{MappingRules, NONCE_PROPERTY, OWNER_PROPERTY, SchemaRule, owner_of};
pub use schema_json::parse_schema;
pub use source::{ColumnExtra, SourceColumn, SourceTable, SparkField, SparkType};

/// Maximum number of columns of a table, partition columns included.
pub const COLUMNS_MAX: usize = 1_200;
/// Maximum number of partition levels; further partition columns become ordinary columns.
pub const PARTITION_LEVELS_MAX: usize = 6;
/// Maximum number of partitions of a table.
pub const PARTITIONS_MAX: u64 = 60_000;
/// Maximum length of the comment of a table or column, in bytes.
pub const COMMENT_BYTES_MAX: usize = 1_024;
/// Maximum length of a partition value, in bytes.
pub const PARTITION_VALUE_BYTES_MAX: usize = 128;
