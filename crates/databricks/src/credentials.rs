//! Vended credentials: short-lived access to one table's files.

use std::time::{Duration, SystemTime};

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::unity::UNITY;
use crate::workspace::path;
use crate::{DatabricksError, RefusalKind, TableId, Workspace};

/// Read access to the files of one table.
#[derive(Debug, Clone)]
pub struct TableCredentials {
    /// The folder it is good for.
    pub url: String,
    /// When it ends.
    pub expires_at: SystemTime,
    /// The access itself.
    pub secret: StorageSecret,
}

/// How the storage is to be opened.
#[derive(Debug, Clone)]
pub enum StorageSecret {
    /// A shared access signature: the query string without `?`.
    AzureSas(SecretString),
    /// A bearer token of Entra ID.
    AzureBearer(SecretString),
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
    /// Asks for read access to a table's files. Needs external access on the metastore and EXTERNAL USE SCHEMA on the schema.
    pub async fn table_credentials(&self, table: &TableId) -> Result<TableCredentials, DatabricksError> {
        let body = json!({ "table_id": table.as_str(), "operation": "READ" });
        let current = path(UNITY, &["temporary-table-credentials"]);
        let older = path("/api/2.0/unity-catalog", &["temporary-table-credentials"]);
        let answer: Value = match self.post(&current, &body).await {
            Err(error) if error.refusal() == Some(RefusalKind::NoSuchEndpoint) => self.post(&older, &body).await?,
            other => other?,
        };
        // The parser's words are left out: they may quote the secret.
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
}
