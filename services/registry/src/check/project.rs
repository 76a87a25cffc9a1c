//! Checks the target: each project that tables go to, whether it has schemas, whether the tunnel can be reached, and whether
//! statements run. Must never change anything there.

use std::collections::BTreeSet;
use std::time::Duration;

use mms_http::{HttpClient, Method, Url};
use mms_maxcompute::name::ProjectName;
use mms_maxcompute::project::{Project, ProjectInfo};
use mms_maxcompute::{MaxComputeError, RefusalKind, Statement};
use mms_proto::registry::v1 as pb;
use pb::{CheckStepId, NamespaceModel};
use uuid::Uuid;

use super::steps::{Finding, Gone, Steps};
use crate::far;

/// The steps of this module, in order.
pub const STEPS: &[CheckStepId] = &[
    CheckStepId::ProjectReachable,
    CheckStepId::ProjectSchemas,
    CheckStepId::TunnelReachable,
    CheckStepId::StatementsRun,
];
/// Time limit of a statement that reads nothing; below the 30 s of a step.
const STATEMENT_LIMIT: Duration = Duration::from_secs(25);

/// The projects of a configuration, each once, the default project first.
fn projects(config: &pb::MaxComputeConfig) -> Vec<ProjectName> {
    let mut seen = BTreeSet::new();
    let names = [&config.default_project, &config.job_project].into_iter().chain(&config.projects);
    let names = names.filter_map(|name| ProjectName::new(name.as_str()).ok());
    names.filter(|name| seen.insert(name.key())).collect()
}

pub(super) async fn try_project(config: &pb::MaxComputeConfig, http: &HttpClient) -> Result<(), (CheckStepId, String)> {
    let fail = |text: String| (CheckStepId::ProjectReachable, text);
    let project = far::project(config, http).map_err(fail)?;
    let name = ProjectName::new(config.default_project.as_str()).map_err(|error| fail(error.to_string()))?;
    project.info_of(&name).await.map(drop).map_err(|error| fail(error.to_string()))
}

pub(super) async fn check(config: &pb::MaxComputeConfig, http: &HttpClient, steps: &mut Steps) -> Result<(), Gone> {
    let (mut default, mut client) = (None, None);
    let reached = steps.step(CheckStepId::ProjectReachable, async {
        let project = match far::project(config, http) {
            Ok(project) => &*client.insert(project),
            Err(text) => return Finding::failed(text, "correct max_compute"),
        };
        let all = projects(config);
        for name in &all {
            match project.info_of(name).await {
                Ok(info) => {
                    default.get_or_insert(info);
                }
                Err(error) => return Finding::failed(error.to_string(), remedy(&error, name)),
            }
        }
        let names: Vec<&str> = all.iter().map(ProjectName::as_str).collect();
        Finding::ok(format!("the signature is accepted; reachable: {}", names.join(", ")))
    });
    let reached = reached.await?;
    let (Some(info), Some(project), true) = (default, client, reached) else {
        return steps.skip(&STEPS[1..], "the project was not reached").await;
    };
    steps.note(CheckStepId::ProjectSchemas, schemas(config.namespace_model(), &info)).await?;
    steps.step(CheckStepId::TunnelReachable, tunnel(config, &project, http)).await?;
    steps.step(CheckStepId::StatementsRun, statement(config, &project)).await.map(drop)
}

/// Whether the service names a tunnel for the quota, and this machine can connect to it: any answer will do.
async fn tunnel(config: &pb::MaxComputeConfig, project: &Project, http: &HttpClient) -> Finding {
    let of_quota = match config.tunnel_quota.as_str() {
        "" => "the shared quota".to_owned(),
        quota => format!("quota {quota}"),
    };
    let named = match project.discover_tunnel().await {
        Ok(url) => url,
        Err(error) => {
            let remedy =
                "check max_compute.tunnel_quota, and that the account may use it; or leave it empty for the shared one";
            return Finding::failed(format!("no tunnel for {of_quota}: {error}"), remedy);
        }
    };
    let url = match config.tunnel_endpoint.as_str() {
        "" => named,
        given => match Url::parse(given) {
            Ok(url) => url,
            Err(error) => {
                return Finding::failed(format!("{given} is no URL: {error}"), "correct max_compute.tunnel_endpoint");
            }
        },
    };
    match http.request(Method::GET, url.clone()).send().await {
        Ok(_) => Finding::ok(format!("the tunnel of {of_quota} answers at {url}")),
        Err(error) => Finding::failed(
            format!("the tunnel at {url}: {error}"),
            "let this machine and the workers get there, or set max_compute.tunnel_endpoint to one that they get to",
        ),
    }
}

/// Whether a statement runs in the project for jobs, with its quota. It reads and changes nothing.
async fn statement(config: &pb::MaxComputeConfig, project: &Project) -> Finding {
    let of_quota = match config.compute_quota.as_str() {
        "" => "its default quota".to_owned(),
        quota => format!("quota {quota}"),
    };
    let name = project.name();
    let statement = Statement::new("SELECT 1;", Uuid::new_v4(), false);
    match project.run(&statement, STATEMENT_LIMIT).await {
        Ok(_) => Finding::ok(format!("statements run in project {name} with {of_quota}")),
        Err(error) => Finding::failed(
            format!("a statement in project {name} with {of_quota}: {error}"),
            format!(
                "let the account create instances in {name}, and check max_compute.job_project and max_compute.compute_quota"
            ),
        ),
    }
}

fn remedy(error: &MaxComputeError, project: &ProjectName) -> String {
    match error.refusal() {
        Some(RefusalKind::Unauthenticated) => {
            "check max_compute.access_key, max_compute.region and this machine's clock".to_owned()
        }
        Some(RefusalKind::Forbidden) => format!("add the account to project {project} and let it create tables"),
        Some(RefusalKind::NotFound) => format!("check the name {project}, and that it is in this endpoint's region"),
        _ => "check max_compute.endpoint, and that this machine (or the network connection's proxy) gets there"
            .to_owned(),
    }
}

fn schemas(model: NamespaceModel, info: &ProjectInfo) -> Finding {
    let (name, has) = (&info.name, info.has_schemas());
    match (model, has) {
        (NamespaceModel::ThreeTier, false) => Finding::failed(
            format!("project {name} has no schemas, but namespace_model is THREE_TIER"),
            "turn schemas on in the project (odps.schema.model.enabled), or use TWO_TIER",
        ),
        (NamespaceModel::TwoTier, true) => Finding::warning(
            format!("project {name} has schemas, but namespace_model is TWO_TIER: tables go to its schema `default`"),
            "use AUTO unless that is meant",
        ),
        (_, true) => Finding::ok(format!("project {name} has schemas: names are project.schema.table")),
        (_, false) => Finding::ok(format!("project {name} has no schemas: names are project.table")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::CheckState;

    #[test]
    fn the_namespace_model_must_fit_the_project() {
        let info = |enabled: &str| ProjectInfo {
            name: "p".into(),
            owner: None,
            region: None,
            properties: [("odps.schema.model.enabled".to_owned(), enabled.to_owned())].into(),
        };
        let state = |model, enabled| schemas(model, &info(enabled)).state;
        assert_eq!(state(NamespaceModel::ThreeTier, "false"), CheckState::Failed);
        assert_eq!(state(NamespaceModel::TwoTier, "true"), CheckState::Warning);
        assert_eq!(state(NamespaceModel::Unspecified, "true"), CheckState::Ok);
        assert_eq!(state(NamespaceModel::Auto, "false"), CheckState::Ok);
    }

    #[test]
    fn each_project_is_asked_once() {
        let config = pb::MaxComputeConfig {
            default_project: "Main".into(),
            job_project: "main".into(),
            projects: vec!["other".into(), "OTHER".into()],
            ..pb::MaxComputeConfig::default()
        };
        let names: Vec<String> = projects(&config).into_iter().map(String::from).collect();
        assert_eq!(names, ["Main", "other"]);
    }
}
