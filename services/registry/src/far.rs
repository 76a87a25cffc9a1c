//! Creates the workspace and project clients of checks. A caller waits for the answer, so calls are tried at most twice within 5
//! seconds. Sends nothing itself.

use std::time::Duration;

use mms_databricks::Workspace;
use mms_http::retry::RetryPolicy;
use mms_http::{HttpClient, HttpError, Traffic};
use mms_maxcompute::Project;
use mms_proto::registry::v1 as pb;

fn short() -> RetryPolicy {
    RetryPolicy {
        first_delay: Duration::from_millis(500),
        max_delay: Duration::from_secs(2),
        factor: 2.0,
        max_attempts: Some(2),
        total: Duration::from_secs(5),
    }
}

/// The HTTP client for the source and the target, with short timeouts; its traffic is counted in `traffic`.
pub fn http(network: Option<&pb::NetworkConnection>, traffic: &Traffic) -> Result<HttpClient, HttpError> {
    let mut connection = mms_ends::connection(network)?;
    (connection.connect_timeout, connection.read_timeout) = (Duration::from_secs(10), Duration::from_secs(20));
    Ok(HttpClient::new(&connection)?.counted_in(traffic))
}

/// The workspace client of a data source; the error says what is wrong with the configuration.
pub fn workspace(config: &pb::DatabricksSource, http: &HttpClient) -> Result<Workspace, String> {
    let workspace = mms_ends::workspace(config, http).map_err(|error| error.to_string())?;
    Ok(workspace.with_policy(short()))
}

/// The client of the project that runs the data source's statements; the error says what is wrong with the configuration.
pub fn project(config: &pb::MaxComputeConfig, http: &HttpClient) -> Result<Project, String> {
    let mut settings = mms_ends::project(config).map_err(|error| error.to_string())?;
    settings.retry = short();
    Project::new(http.clone(), settings).map_err(|error| error.to_string())
}
