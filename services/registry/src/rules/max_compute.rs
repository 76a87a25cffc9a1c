//! The rules of the target's configuration.

use std::collections::BTreeSet;

use mms_maxcompute::name::ProjectName;
use mms_proto::registry::v1 as pb;
use pb::max_compute_config::Account;

use super::judge::Judge;

pub(super) fn judge(config: &pb::MaxComputeConfig, judge: &mut Judge<'_>) {
    if !config.endpoint.is_empty()
        && let Some(url) = judge.url("max_compute.endpoint", &config.endpoint)
        && url.path().trim_end_matches('/').rsplit('/').next() != Some("api")
    {
        let text = format!(
            "value {:?} must end in /api, as in https://service.cn-shanghai.maxcompute.aliyun.com/api",
            config.endpoint
        );
        judge.add("max_compute.endpoint", text);
    }
    if !config.tunnel_endpoint.is_empty() {
        judge.url("max_compute.tunnel_endpoint", &config.tunnel_endpoint);
    }
    if config.region.chars().any(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')) {
        judge.add("max_compute.region", format!("value {:?} is not a region such as cn-shanghai", config.region));
    }
    match &config.account {
        Some(Account::AccessKey(_)) => {
            judge.secret("max_compute.access_key.access_key_secret");
            judge.optional_secret("max_compute.access_key.security_token");
        }
        Some(Account::BearerToken(_)) => judge.secret("max_compute.bearer_token.token"),
        None => judge.add("max_compute.account", "is required: set one of access_key, bearer_token"),
    }
    let mut seen = BTreeSet::new();
    let listed = config.projects.iter().enumerate().map(|(at, name)| (format!("max_compute.projects[{at}]"), name));
    let single = [("default_project", &config.default_project), ("job_project", &config.job_project)];
    for (field, name) in single.into_iter().map(|(field, name)| (format!("max_compute.{field}"), name)).chain(listed) {
        let listed = field.ends_with(']');
        if name.is_empty() {
            // An empty default_project or job_project is allowed here: it is required by the contract or means the default.
            if listed {
                judge.add(&field, "is empty");
            }
        } else if let Err(error) = ProjectName::new(name.as_str()) {
            judge.add(&field, error.to_string());
        } else if listed && !seen.insert(name.to_ascii_lowercase()) {
            judge.add(&field, format!("value {name:?} is there twice; case does not count"));
        }
    }
}
