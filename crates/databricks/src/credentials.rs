//! Vended credentials: short-lived access to the files of one table.

use std::time::{Duration, SystemTime};

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::unity::UNITY;
use crate::workspace::path;
use crate::{DatabricksError, Fault, RefusalKind, TableId, Workspace};

/// Read access to the files of one table.
#[derive(Debug, Clone)]
pub struct TableCredentials {
    /// URL of the folder that it is valid for.
    pub url: String,
    /// When it expires.
    pub expires_at: SystemTime,
    /// The secret itself.
    pub secret: StorageSecret,
}

/// How the storage is opened.
#[derive(Debug, Clone)]
pub enum StorageSecret {
    /// A shared access signature: the query string without `?`.
    AzureSas(SecretString),
    /// A bearer token of Entra ID.
    AzureBearer(SecretString),
}

/// Why the workspace vends no credential, where its answer says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotVended {
    /// The caller lacks EXTERNAL USE SCHEMA on the table's schema.
    NoExternalUse,
    /// The metastore lets nobody outside Databricks read data.
    ExternalAccessOff,
}

impl NotVended {
    /// What has to be done, and by whom.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::NoExternalUse => {
                "have the catalog's owner GRANT EXTERNAL USE SCHEMA on the schema to who the data source comes as; no other right includes it"
            }
            Self::ExternalAccessOff => {
                "have a metastore administrator turn on external data access in the metastore's details; or read this place with azure_sas or azure_service_principal"
            }
        }
    }

    /// The reason that a refusal itself gives.
    fn read(fault: &Fault) -> Option<Self> {
        let message = fault.message.to_ascii_lowercase();
        if fault.reason.as_deref() == Some("EXTERNAL_ACCESS_DISABLED_ON_METASTORE")
            || message.contains("external data access") && message.contains("disabled")
        {
            return Some(Self::ExternalAccessOff);
        }
        message.contains("external use schema").then_some(Self::NoExternalUse)
    }
}

#[derive(Deserialize)]
struct Metastore {
    #[serde(default)]
    external_access_enabled: Option<bool>,
}

#[derive(Deserialize)]
struct Answer {
    url: String,
    expiration_time: u64,
    azure_user_delegation_sas: Option<Sas>,
    azure_aad: Option<Aad>,
}

#[derive(Deserialize)]
struct Sas {
    sas_token: String,
}

#[derive(Deserialize)]
struct Aad {
    aad_token: String,
}

impl Workspace {
    /// Requests read access to a table's files. This needs external data access on the metastore, and EXTERNAL USE SCHEMA on
    /// the table's schema.
    ///
    /// # Errors
    /// [`DatabricksError::NotVended`] if one of these is missing and the workspace's answers show which.
    pub async fn table_credentials(&self, table: &TableId) -> Result<TableCredentials, DatabricksError> {
        let body = json!({ "table_id": table.as_str(), "operation": "READ" });
        let current = path(UNITY, &["temporary-table-credentials"]);
        let older = path("/api/2.0/unity-catalog", &["temporary-table-credentials"]);
        let answer: Result<Value, _> = match self.post(&current, &body).await {
            Err(error) if error.refusal() == Some(RefusalKind::NoSuchEndpoint) => self.post(&older, &body).await,
            other => other,
        };
        let answer = match answer {
            Err(DatabricksError::Refused { call, fault }) if fault.kind() == RefusalKind::PermissionDenied => {
                return Err(match self.why_not(&fault).await {
                    Some(why) => DatabricksError::NotVended { why, fault },
                    None => DatabricksError::Refused { call, fault },
                });
            }
            other => other?,
        };
        // The parser's message is left out, because it may quote the secret.
        let refuse =
            |what: &str| DatabricksError::Answer { call: format!("POST {}", current.join("/")), what: what.to_owned() };
        let answer: Answer = serde_json::from_value(answer).map_err(|_| refuse("url or expiration_time is missing"))?;
        let expires_at = SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_millis(answer.expiration_time))
            .ok_or_else(|| refuse("expiration_time is out of range"))?;
        let secret = match (answer.azure_user_delegation_sas, answer.azure_aad) {
            (Some(sas), _) => StorageSecret::AzureSas(sas.sas_token.into()),
            (None, Some(aad)) => StorageSecret::AzureBearer(aad.aad_token.into()),
            (None, None) => {
                return Err(refuse("it holds no Azure credential; storage of other clouds is not supported"));
            }
        };
        Ok(TableCredentials { url: answer.url, expires_at, secret })
    }

    /// The refusal's reason, else what the metastore's settings show: the workspace's wording has changed before and may
    /// change again.
    async fn why_not(&self, fault: &Fault) -> Option<NotVended> {
        if let Some(why) = NotVended::read(fault) {
            return Some(why);
        }
        let metastore: Metastore = self.get(&path(UNITY, &["metastore_summary"]), &[]).await.ok()?;
        (metastore.external_access_enabled == Some(false)).then_some(NotVended::ExternalAccessOff)
    }
}
