//! Client of a Databricks workspace: Unity Catalog metadata, clusters and vended storage credentials, by REST with a personal
//! access token or as an OAuth client; with the feature `sql` also statements and their rows (`sql`), which brings Arrow.
//!
//! It must never decide what is migrated or how (that is the catalog's and the mapping's part), build its own HTTP client (it
//! is given one), or read files of tables. Every list is read page by page with a bound; an object that cannot be read never
//! fails its page.

mod cluster;
mod credential;
mod credentials;
mod error;
mod fault;
mod gate;
mod http_path;
mod model;
mod oauth;
mod page;
mod principal;
mod privilege;
#[cfg(feature = "sql")]
pub mod sql;
mod unity;
mod workspace;
mod workspace_url;

pub use cluster::{ClusterInfo, ClusterState};
pub use credential::Credential;
pub use credentials::{NotVended, StorageSecret, TableCredentials};
pub use error::{DatabricksError, RefusalKind};
pub use fault::{Fault, FaultShape};
pub use http_path::HttpPath;
pub use model::{CatalogInfo, ColumnInfo, PrimaryKey, SchemaInfo, TableConstraint, TableId, TableInfo, TableKind};
pub use page::{Page, Pages, Unreadable};
pub use privilege::{EffectivePrivilege, Securable};
pub use workspace::{CurrentUser, Workspace};
pub use workspace_url::WorkspaceUrl;
