//! Builds the client of the Databricks workspace from a data source's configuration, and finds where its SQL runs. Sends nothing.

use mms_databricks::{Credential, HttpPath, Workspace, WorkspaceUrl};
use mms_http::HttpClient;
use mms_http::redact::remember;
use mms_proto::registry::v1 as pb;
use pb::databricks_source::WorkspaceAuth;
use secrecy::SecretString;

use crate::EndError;

/// Builds the client of a data source's workspace.
///
/// # Errors
/// Says which field is missing or cannot be used.
pub fn workspace(config: &pb::DatabricksSource, http: &HttpClient) -> Result<Workspace, EndError> {
    let url: Result<WorkspaceUrl, _> = config.workspace_url.parse();
    let url = url.map_err(|error| EndError::of("databricks.workspace_url")(format!("{error}")))?;
    let credential = match &config.workspace_auth {
        Some(WorkspaceAuth::AccessToken(token)) => {
            remember(&token.token);
            Credential::Token(SecretString::from(token.token.as_str()))
        }
        Some(WorkspaceAuth::ClientCredentials(client)) => {
            remember(&client.client_secret);
            let secret = SecretString::from(client.client_secret.as_str());
            Credential::Client { id: client.client_id.clone(), secret }
        }
        None => {
            let nothing = "there is none: set one of access_token, client_credentials";
            return Err(EndError::of("databricks.workspace_auth")(nothing.to_owned()));
        }
    };
    Ok(Workspace::new(http.clone(), url, credential))
}

/// Builds the client of a data source's workspace, and the path on it to which statements are sent.
///
/// # Errors
/// Says which field is missing or cannot be used.
pub fn sql(config: &pb::DatabricksSource, http: &HttpClient) -> Result<(Workspace, HttpPath), EndError> {
    let workspace = workspace(config, http)?;
    let path = HttpPath::of_source(workspace.url(), &config.jdbc_url, &config.cluster_id);
    let path = path.map_err(|error| EndError::of("databricks.jdbc_url")(error.to_string()))?;
    let nowhere = "SQL has no place to run: set cluster_id, or a jdbc_url with an httpPath";
    let path = path.ok_or_else(|| EndError::of("databricks.cluster_id")(nowhere.to_owned()))?;
    Ok((workspace, path))
}
