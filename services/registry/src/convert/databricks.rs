//! Converts the source's configuration.

use mms_proto::registry::v1 as pb;
use mms_proto::time::{millis, timestamp};
use pb::databricks_source::WorkspaceAuth as WireAuth;
use pb::storage_access::Access;

use crate::record::{Databricks, ServicePrincipal, Storage, StorageAccess, WorkspaceAuth};

pub(super) fn databricks_from(config: pb::DatabricksSource) -> Databricks {
    let storage = |storage: pb::StorageAccess| Storage {
        location_prefix: storage.location_prefix,
        access: storage.access.map(|access| match access {
            Access::AzureSas(sas) => StorageAccess::Sas(millis(sas.expire_time)),
            Access::AzureServicePrincipal(principal) => StorageAccess::ServicePrincipal(ServicePrincipal {
                tenant_id: principal.tenant_id,
                client_id: principal.client_id,
                authority_host: principal.authority_host,
            }),
            Access::Vended(_) => StorageAccess::Vended(true),
            Access::LocalFiles(local) => StorageAccess::LocalFiles(local.root),
        }),
    };
    Databricks {
        workspace_url: config.workspace_url,
        catalog: config.catalog,
        cluster_id: config.cluster_id,
        read_path: config.read_path,
        jdbc_url: config.jdbc_url,
        auth: config.workspace_auth.map(|auth| match auth {
            WireAuth::AccessToken(_) => WorkspaceAuth::AccessToken(true),
            WireAuth::ClientCredentials(client) => WorkspaceAuth::ClientCredentials(client.client_id),
        }),
        storage: config.storage.into_iter().map(storage).collect(),
    }
}

/// The secrets of the chosen accesses always count as set: without them the configuration was not stored.
pub(super) fn databricks_to(record: &Databricks) -> pb::DatabricksSource {
    let record = record.clone();
    let storage = |storage: Storage| pb::StorageAccess {
        location_prefix: storage.location_prefix,
        access: storage.access.map(|access| match access {
            StorageAccess::Sas(expire_ms) => Access::AzureSas(pb::AzureSas {
                is_set: true,
                expire_time: timestamp(expire_ms),
                ..pb::AzureSas::default()
            }),
            StorageAccess::ServicePrincipal(principal) => Access::AzureServicePrincipal(pb::AzureServicePrincipal {
                tenant_id: principal.tenant_id,
                client_id: principal.client_id,
                authority_host: principal.authority_host,
                is_set: true,
                ..pb::AzureServicePrincipal::default()
            }),
            StorageAccess::Vended(_) => Access::Vended(pb::VendedCredentials {}),
            StorageAccess::LocalFiles(root) => Access::LocalFiles(pb::LocalFiles { root }),
        }),
    };
    pb::DatabricksSource {
        workspace_url: record.workspace_url,
        catalog: record.catalog,
        cluster_id: record.cluster_id,
        read_path: record.read_path,
        jdbc_url: record.jdbc_url,
        workspace_auth: record.auth.map(|auth| match auth {
            WorkspaceAuth::AccessToken(_) => {
                WireAuth::AccessToken(pb::AccessToken { is_set: true, ..pb::AccessToken::default() })
            }
            WorkspaceAuth::ClientCredentials(client_id) => WireAuth::ClientCredentials(pb::ClientCredentials {
                client_id,
                is_set: true,
                ..pb::ClientCredentials::default()
            }),
        }),
        storage: record.storage.into_iter().map(storage).collect(),
    }
}
