//! From a Databricks table to a MaxCompute table: names, types, partition columns and partition values.
//!
//! [`plan_table`] turns a [`SourceTable`] and [`MappingRules`] into a [`TablePlan`]: the definition to create, what becomes
//! of each column, and the [`Finding`]s. [`PartitionMapping`] then maps the partitions of that table, and
//! [`target_action`] decides what to do with a table that is already there.
//!
//! Everything here is a pure function of its arguments: no I/O, no clock, no rows. And nothing is silent: whatever is
//! not carried exactly has a finding, and what cannot be carried at all is a [`Severity::Blocker`], never left out.

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

/// Most columns of a table, partition columns included.
pub const COLUMNS_MAX: usize = 1_200;
/// Most partition levels; further partition columns become ordinary columns.
pub const PARTITION_LEVELS_MAX: usize = 6;
/// Most partitions of a table.
pub const PARTITIONS_MAX: u64 = 60_000;
/// Longest comment of a table or column, in bytes.
pub const COMMENT_BYTES_MAX: usize = 1_024;
/// Longest partition value, in bytes.
pub const PARTITION_VALUE_BYTES_MAX: usize = 128;
