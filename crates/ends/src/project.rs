//! Builds the account and the client settings of the MaxCompute project from a data source's configuration.

use mms_http::Url;
use mms_http::redact::remember;
use mms_maxcompute::name::ProjectName;
use mms_maxcompute::{Account, ProjectConfig};
use mms_proto::registry::v1 as pb;
use secrecy::SecretString;

use crate::EndError;

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn url(field: &'static str, text: &str) -> Result<Url, EndError> {
    Url::parse(text).map_err(|error| EndError::of(field)(format!("{text:?} is not a URL: {error}")))
}

/// The account that the data source names.
///
/// # Errors
/// The data source names no account.
pub fn account(config: &pb::MaxComputeConfig) -> Result<Account, EndError> {
    match &config.account {
        Some(pb::max_compute_config::Account::AccessKey(key)) => {
            remember(&key.access_key_secret);
            remember(&key.security_token);
            let secret = SecretString::from(key.access_key_secret.as_str());
            Ok(match key.security_token.as_str() {
                "" => Account::new(&key.access_key_id, secret),
                token => Account::temporary(&key.access_key_id, secret, SecretString::from(token)),
            })
        }
        Some(pb::max_compute_config::Account::BearerToken(bearer)) => {
            remember(&bearer.token);
            Ok(Account::bearer(SecretString::from(bearer.token.as_str())))
        }
        None => Err(EndError::of("max_compute.account")("is not set: give access_key or bearer_token".to_owned())),
    }
}

/// The project in which the statements of a data source run. The retry policy is the default: the caller sets its own.
///
/// # Errors
/// The field that is unusable.
pub fn project(config: &pb::MaxComputeConfig) -> Result<ProjectConfig, EndError> {
    let account = account(config)?;
    let (field, name) = match config.job_project.as_str() {
        "" => ("max_compute.default_project", &config.default_project),
        _ => ("max_compute.job_project", &config.job_project),
    };
    let name = ProjectName::new(name.as_str()).map_err(|error| EndError::of(field)(error.to_string()))?;
    let mut settings = ProjectConfig::new(url("max_compute.endpoint", &config.endpoint)?, name, account);
    settings.region = given(&config.region);
    settings.tunnel_quota = given(&config.tunnel_quota);
    settings.compute_quota = given(&config.compute_quota);
    settings.tunnel_endpoint =
        given(&config.tunnel_endpoint).map(|text| url("max_compute.tunnel_endpoint", &text)).transpose()?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn config() -> pb::MaxComputeConfig {
        let key = pb::AccessKey {
            access_key_id: "id".into(),
            access_key_secret: "secret".into(),
            ..pb::AccessKey::default()
        };
        pb::MaxComputeConfig {
            endpoint: "https://service.cn-hangzhou.maxcompute.aliyun.com/api".into(),
            default_project: "lake".into(),
            account: Some(pb::max_compute_config::Account::AccessKey(key)),
            ..pb::MaxComputeConfig::default()
        }
    }

    #[test]
    fn statements_run_in_the_job_project_if_there_is_one() {
        assert_eq!(project(&config()).expect("usable").project.as_str(), "lake");
        let with = pb::MaxComputeConfig { job_project: "jobs".into(), ..config() };
        assert_eq!(project(&with).expect("usable").project.as_str(), "jobs");
    }

    /// The list is repeated in the client and in two messages of the contract, and must be complete in all of them.
    #[test]
    fn the_contract_refuses_what_the_client_says_itself() {
        use mms_proto::scheduler::v1::{CreateJobRequest, Job, JobSpec};
        let own: HashMap<String, String> =
            mms_maxcompute::OWN_SETTINGS.map(|name| (name.to_owned(), String::new())).into();
        let settings = pb::MigrationSettings { sql_parameters: own.clone(), ..pb::MigrationSettings::default() };
        let source = pb::DataSource { settings: Some(settings), ..pb::DataSource::default() };
        let source =
            pb::CreateDataSourceRequest { data_source: Some(source), ..pb::CreateDataSourceRequest::default() };
        let spec = JobSpec { sql_parameters: own, ..JobSpec::default() };
        let job = Job { spec: Some(spec), ..Job::default() };
        let job = CreateJobRequest { job: Some(job), ..CreateJobRequest::default() };
        let mut found = mms_proto::validate::violations(&source);
        found.extend(mms_proto::validate::violations(&job));
        for name in mms_maxcompute::OWN_SETTINGS {
            for message in ["data_source.settings", "job.spec"] {
                let field = format!("{message}.sql_parameters[{name:?}]");
                assert!(found.iter().any(|violation| violation.field == field), "{field}: {found:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        type Spoil = fn(&mut pb::MaxComputeConfig);
        let cases: [(&str, Spoil); 4] = [
            ("max_compute.endpoint", |config| config.endpoint = "service".into()),
            ("max_compute.tunnel_endpoint", |config| config.tunnel_endpoint = "dt".into()),
            ("max_compute.job_project", |config| config.job_project = "a b".into()),
            ("max_compute.account", |config| config.account = None),
        ];
        for (field, spoil) in cases {
            let mut config = config();
            spoil(&mut config);
            assert_eq!(project(&config).expect_err("unusable").field, field);
        }
    }
}
