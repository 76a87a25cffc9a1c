//! The workspace.

use mms_databricks::{Workspace, WorkspaceUrl};
use mms_http::HttpClient;
use mms_http::redact::remember;
use mms_proto::registry::v1 as pb;
use pb::databricks_source::WorkspaceAuth;
use secrecy::SecretString;

use crate::EndError;

/// The workspace of a data source.
///
/// # Errors
/// The field that no workspace can be reached with.
pub fn workspace(config: &pb::DatabricksSource, http: &HttpClient) -> Result<Workspace, EndError> {
    let url: Result<WorkspaceUrl, _> = config.workspace_url.parse();
    let url = url.map_err(|error| EndError::of("databricks.workspace_url")(format!("{error}")))?;
    match &config.workspace_auth {
        Some(WorkspaceAuth::AccessToken(token)) => {
            remember(&token.token);
            Ok(Workspace::new(http.clone(), url, SecretString::from(token.token.as_str())))
        }
        _ => Err(EndError::of("databricks.workspace_auth")("this version knows access_token only".to_owned())),
    }
}
