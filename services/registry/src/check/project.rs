//! The MaxCompute end: each project that tables go to, and whether it has schemas.

use std::collections::BTreeSet;

use mms_http::HttpClient;
use mms_maxcompute::name::ProjectName;
use mms_maxcompute::project::ProjectInfo;
use mms_maxcompute::{MaxComputeError, RefusalKind};
use mms_proto::registry::v1 as pb;
use pb::{CheckStepId, NamespaceModel};

use super::steps::{Finding, Gone, Steps};
use crate::far;

/// The steps of this end.
pub const STEPS: &[CheckStepId] = &[CheckStepId::ProjectReachable, CheckStepId::ProjectSchemas];

/// The projects of a configuration, the default one first, each once.
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
    let mut default = None;
    let reached = steps.step(CheckStepId::ProjectReachable, async {
        let project = match far::project(config, http) {
            Ok(project) => project,
            Err(text) => return Finding::failed(text, "mend max_compute"),
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
    match default {
        Some(info) if reached => {
            steps.note(CheckStepId::ProjectSchemas, schemas(config.namespace_model(), &info)).await.map(drop)
        }
        _ => steps.skip(&STEPS[1..], "the project was not reached").await,
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
