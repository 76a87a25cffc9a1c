//! Client of a Databricks workspace: Unity Catalog metadata, clusters and vended storage credentials, by REST with a personal
//! access token.
//!
//! What it must never do: decide what is migrated or how (that is the catalog's and the mapping's part), build its own HTTP
//! client (it is handed one), or read table data. Every list is read page by page with a bound; one unreadable object never
//! spoils its page.

mod cluster;
mod credentials;
mod error;
mod fault;
mod model;
mod page;
mod privilege;
mod spark_type;
mod type_json;
mod type_text;
mod unity;
mod workspace;
mod workspace_url;

pub use cluster::{ClusterInfo, ClusterState};
pub use credentials::{StorageSecret, TableCredentials};
pub use error::{DatabricksError, RefusalKind};
pub use fault::{Fault, FaultShape};
pub use model::{
    CatalogInfo, ColumnInfo, ForeignKey, MetastoreAssignment, MetastoreSummary, PrimaryKey, SchemaInfo,
    TableConstraint, TableId, TableInfo, TableKind, TableSummary,
};
pub use page::{Page, Pages, Unreadable};
pub use privilege::{EffectivePrivilege, Securable};
pub use spark_type::{SparkField, SparkType, TypeError};
pub use type_json::DataTypeJson;
pub use type_text::parse_type_text;
pub use workspace::{CurrentUser, Workspace};
pub use workspace_url::WorkspaceUrl;
