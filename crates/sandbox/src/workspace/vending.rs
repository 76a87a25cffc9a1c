//! Vends credentials: a shared access signature of the container, for tables in the one storage account whose key the
//! workspace has. The real workspace signs for the table's folder with a user delegation key, which emulators without
//! folders do not support; callers see no difference.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

use super::answer::{Answer, Refusal};
use super::objects::State;

/// The version of the storage service that the signature is made for.
const VERSION: &str = "2020-12-06";
/// Signatures are valid this many seconds earlier, for clocks that are behind.
const EARLIER: i64 = 60;

/// The storage account for which credentials are vended, and the schemas for which they are denied.
#[derive(Debug, Clone)]
pub struct Vending {
    /// The name of the storage account.
    pub account: String,
    /// The account's key, in base64.
    pub key: SecretString,
    /// How long a credential is valid.
    pub life: Duration,
    /// Schemas for which no caller has EXTERNAL USE SCHEMA.
    pub denied_schemas: Vec<String>,
}

impl State {
    /// Answers `temporary-table-credentials`.
    pub fn table_credentials(&self, body: &[u8]) -> Answer {
        let body: Value = serde_json::from_slice(body).map_err(|error| {
            Refusal::new(StatusCode::BAD_REQUEST, "MALFORMED_REQUEST", format!("Bad JSON: {error}"))
        })?;
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
        let operation = text("operation");
        if !matches!(operation, "READ" | "READ_WRITE") {
            return Err(Refusal::invalid(format!("operation '{operation}' is not one of READ, READ_WRITE.")));
        }
        let (schema, table) = self.table_of_id(text("table_id"))?;
        let Some(vending) = &self.vending else {
            let message =
                "External Data Access from non Databricks Compute environment is disabled for metastore sandbox.";
            let refusal = Refusal::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", message);
            return Err(refusal.because("EXTERNAL_ACCESS_DISABLED_ON_METASTORE"));
        };
        if vending.denied_schemas.contains(&schema) {
            let message = format!("User does not have EXTERNAL USE SCHEMA on Schema '{}.{schema}'.", self.catalog);
            return Err(Refusal::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", message));
        }
        if operation != "READ" {
            let message = "credentials to write are vended by a real workspace only.";
            return Err(Refusal::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", message));
        }
        vending.vend(table["storage_location"].as_str().unwrap_or_default())
    }

    fn table_of_id(&self, wanted: &str) -> Result<(String, Value), Refusal> {
        for schema in self.folder.schemas()? {
            for name in self.folder.tables(&schema)? {
                let Some(path) = self.folder.table(&schema, &name) else { continue };
                let table = self.table_object(&schema, &name, &path)?;
                if table["table_id"] == wanted {
                    return Ok((schema, table));
                }
            }
        }
        Err(Refusal::missing("Table", wanted))
    }
}

impl Vending {
    fn vend(&self, location: &str) -> Answer {
        let elsewhere = || Refusal::invalid(format!("no credential reaches '{location}'."));
        let url = Url::parse(location).map_err(|_| elsewhere())?;
        let account = url.host_str().and_then(|host| host.split('.').next()).unwrap_or_default();
        let container = url.username();
        if !matches!(url.scheme(), "abfss" | "wasbs") || account != self.account || container.is_empty() {
            return Err(elsewhere());
        }
        let clock = |_| Refusal::internal("the clock is out of range");
        let now = jiff::Timestamp::now().as_second();
        let ends = now + i64::try_from(self.life.as_secs()).unwrap_or(i64::MAX / 2_000);
        let [from, until] = [now - EARLIER, ends].map(jiff::Timestamp::from_second);
        let (from, until) = (from.map_err(clock)?.to_string(), until.map_err(clock)?.to_string());
        let sas = self.sign(container, &from, &until)?;
        Ok(json!({
            "url": location,
            "expiration_time": ends * 1000,
            "azure_user_delegation_sas": { "sas_token": sas },
        }))
    }

    /// Signs a service SAS for a container, with the permissions to read and list.
    fn sign(&self, container: &str, from: &str, until: &str) -> Result<String, Refusal> {
        let resource = format!("/blob/{}/{container}", self.account);
        // The fields are: permissions, start, end, resource, policy, addresses, protocol, version, kind, snapshot,
        // encryption scope, then five headers of the answer.
        let fields = ["rl", from, until, &resource, "", "", "https", VERSION, "c", "", "", "", "", "", "", ""];
        let key = STANDARD
            .decode(self.key.expose_secret().trim())
            .map_err(|_| Refusal::internal("the storage account's key is not base64 of a key"))?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key)
            .map_err(|_| Refusal::internal("the storage account's key is not base64 of a key"))?;
        mac.update(fields.join("\n").as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs([("sv", VERSION), ("st", from), ("se", until), ("spr", "https"), ("sr", "c"), ("sp", "rl")]);
        Ok(query.append_pair("sig", &signature).finish())
    }

    /// Whether the key is base64 and not empty.
    pub(super) fn is_usable(&self) -> bool {
        STANDARD.decode(self.key.expose_secret().trim()).is_ok_and(|key| !key.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    /// How much longer a credential is valid, according to its own expiration time.
    fn lasts(answer: &Value) -> Option<Duration> {
        let ends = Duration::from_millis(answer["expiration_time"].as_u64()?);
        ends.checked_sub(SystemTime::UNIX_EPOCH.elapsed().ok()?)
    }

    #[test]
    fn only_places_of_the_account_are_signed_for() {
        let vending = Vending {
            account: "lake".into(),
            key: "a2V5".into(),
            life: Duration::from_secs(60),
            denied_schemas: Vec::new(),
        };
        let answer = vending.vend("abfss://tables@lake.dfs.core.windows.net/sales/orders").unwrap();
        let sas = answer["azure_user_delegation_sas"]["sas_token"].as_str().unwrap();
        assert!(
            sas.contains("sp=rl") && sas.contains("sig=") && lasts(&answer) > Some(Duration::from_secs(50)),
            "{answer}"
        );
        for place in ["abfss://tables@other.dfs.core.windows.net/x", "file:///x", "abfss://lake.dfs.core.windows.net/x"]
        {
            assert_eq!(vending.vend(place).unwrap_err().status, StatusCode::BAD_REQUEST, "{place}");
        }
    }
}
