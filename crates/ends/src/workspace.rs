//! Builds the client of the Databricks workspace from a data source's configuration.

use mms_databricks::{Credential, Workspace, WorkspaceUrl};
use mms_http::HttpClient;
use mms_http::redact::remember;
use mms_proto::registry::v1 as pb;
use pb::databricks_source::WorkspaceAuth;
use secrecy::SecretString;

use crate::EndError;

/// The workspace of a data source.
///
/// # Errors
/// The field that is unusable.
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
