//! A project of the sandbox, and clients of it.

use mms_http::{HttpClient, NetworkConnection};
use mms_maxcompute::name::ProjectName;
use mms_maxcompute::{Account, Project, ProjectConfig};
use mms_sandbox::project as sandbox;

/// A sandbox's project for as long as this lives.
pub struct Setting {
    pub _dir: tempfile::TempDir,
    pub _far_end: sandbox::Project,
    pub endpoint: String,
    pub project: Project,
}

/// A project of its own, and a client of it.
pub async fn setting() -> Setting {
    let dir = tempfile::tempdir().unwrap();
    let far_end = sandbox::Project::start(sandbox::ProjectConfig::new(dir.path().join("project"), "demo", "id", "key"))
        .await
        .unwrap();
    let endpoint = far_end.endpoint().to_owned();
    let project = client(&endpoint, "key", None);
    Setting { _dir: dir, _far_end: far_end, endpoint, project }
}

/// A client of the project at an endpoint.
pub fn client(endpoint: &str, key: &str, region: Option<&str>) -> Project {
    let account = Account::new("id", key.into());
    let mut config = ProjectConfig::new(endpoint.parse().unwrap(), ProjectName::new("demo").unwrap(), account);
    config.region = region.map(str::to_owned);
    Project::new(HttpClient::new(&NetworkConnection::default()).unwrap(), config).unwrap()
}
