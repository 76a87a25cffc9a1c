//! The Databricks end.

use mms_proto::registry::v1 as pb;
use pb::databricks_config as wire;

use super::{millis, time};
use crate::record::{Databricks, ServicePrincipal, StorageAccess, WorkspaceAuth};

pub(super) fn databricks_from(config: pb::DatabricksConfig) -> Databricks {
    Databricks {
        workspace_url: config.workspace_url,
        catalog: config.catalog,
        cluster_id: config.cluster_id,
        read_path: config.read_path,
        jdbc_url: config.jdbc_url,
        auth: config.workspace_auth.map(|auth| match auth {
            wire::WorkspaceAuth::AccessToken(_) => WorkspaceAuth::AccessToken(true),
            wire::WorkspaceAuth::ClientCredentials(client) => WorkspaceAuth::ClientCredentials(client.client_id),
        }),
        storage: config.storage_access.map(|access| match access {
            wire::StorageAccess::Sas(sas) => StorageAccess::Sas(millis(sas.expire_time)),
            wire::StorageAccess::ServicePrincipal(principal) => StorageAccess::ServicePrincipal(ServicePrincipal {
                tenant_id: principal.tenant_id,
                client_id: principal.client_id,
                authority_host: principal.authority_host,
            }),
            wire::StorageAccess::Vended(_) => StorageAccess::Vended(true),
            wire::StorageAccess::LocalFiles(local) => StorageAccess::LocalFiles(local.root),
        }),
    }
}

/// Every stored end has the secrets of the access it chose: without them it was not stored.
pub(super) fn databricks_to(record: &Databricks) -> pb::DatabricksConfig {
    let record = record.clone();
    pb::DatabricksConfig {
        workspace_url: record.workspace_url,
        catalog: record.catalog,
        cluster_id: record.cluster_id,
        read_path: record.read_path,
        jdbc_url: record.jdbc_url,
        workspace_auth: record.auth.map(|auth| match auth {
            WorkspaceAuth::AccessToken(_) => {
                wire::WorkspaceAuth::AccessToken(pb::AccessToken { is_set: true, ..pb::AccessToken::default() })
            }
            WorkspaceAuth::ClientCredentials(client_id) => {
                wire::WorkspaceAuth::ClientCredentials(pb::ClientCredentials {
                    client_id,
                    is_set: true,
                    ..pb::ClientCredentials::default()
                })
            }
        }),
        storage_access: record.storage.map(|access| match access {
            StorageAccess::Sas(expire_ms) => wire::StorageAccess::Sas(pb::SasToken {
                is_set: true,
                expire_time: time(expire_ms),
                ..pb::SasToken::default()
            }),
            StorageAccess::ServicePrincipal(principal) => wire::StorageAccess::ServicePrincipal(pb::ServicePrincipal {
                tenant_id: principal.tenant_id,
                client_id: principal.client_id,
                authority_host: principal.authority_host,
                is_set: true,
                ..pb::ServicePrincipal::default()
            }),
            StorageAccess::Vended(_) => wire::StorageAccess::Vended(pb::VendedCredentials {}),
            StorageAccess::LocalFiles(root) => wire::StorageAccess::LocalFiles(pb::LocalFiles { root }),
        }),
    }
}
