//! Converts the target's configuration.

use mms_proto::registry::v1 as pb;
use pb::max_compute_config as wire;

use crate::record::{Account, MaxCompute};

pub(super) fn max_compute_from(config: pb::MaxComputeConfig) -> MaxCompute {
    MaxCompute {
        endpoint: config.endpoint,
        region: config.region,
        tunnel_endpoint: config.tunnel_endpoint,
        account: config.account.map(|account| match account {
            wire::Account::AccessKey(key) => Account::AccessKey(key.access_key_id),
            wire::Account::BearerToken(_) => Account::BearerToken(true),
        }),
        default_project: config.default_project,
        projects: config.projects,
        job_project: config.job_project,
        tunnel_quota: config.tunnel_quota,
        compute_quota: config.compute_quota,
        namespace_model: config.namespace_model,
        // Set by the caller that has the secrets.
        security_token: false,
    }
}

/// The secret of the account always counts as set: without it the configuration was not stored.
pub(super) fn max_compute_to(record: &MaxCompute) -> pb::MaxComputeConfig {
    let record = record.clone();
    pb::MaxComputeConfig {
        endpoint: record.endpoint,
        region: record.region,
        tunnel_endpoint: record.tunnel_endpoint,
        account: record.account.map(|account| match account {
            Account::AccessKey(access_key_id) => wire::Account::AccessKey(pb::AccessKey {
                access_key_id,
                is_set: true,
                security_token_is_set: record.security_token,
                ..pb::AccessKey::default()
            }),
            Account::BearerToken(_) => {
                wire::Account::BearerToken(pb::BearerToken { is_set: true, ..pb::BearerToken::default() })
            }
        }),
        default_project: record.default_project,
        projects: record.projects,
        job_project: record.job_project,
        tunnel_quota: record.tunnel_quota,
        compute_quota: record.compute_quota,
        namespace_model: record.namespace_model,
    }
}
