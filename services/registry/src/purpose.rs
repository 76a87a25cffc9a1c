//! Decides which secrets a session hands out: those that its purposes need, and no others. Pure.

use mms_proto::registry::v1 as pb;
use pb::SessionPurpose;

use crate::secrets::{join, split};

/// Prefixes of the paths of the secrets that a purpose needs.
fn needs(purpose: SessionPurpose) -> &'static [&'static str] {
    match purpose {
        SessionPurpose::Unspecified => &[],
        SessionPurpose::Metadata => &["databricks.", "max_compute."],
        // The credentials of the storage, but not those of the workspace.
        SessionPurpose::ReadRows => &["databricks.storage["],
        SessionPurpose::WriteRows => &["max_compute."],
    }
}

/// Whether such a session reads tables' files, so that it may be vended credentials for single tables.
pub fn reads_files(purpose: SessionPurpose) -> bool {
    match purpose {
        SessionPurpose::Metadata | SessionPurpose::ReadRows => true,
        SessionPurpose::WriteRows | SessionPurpose::Unspecified => false,
    }
}

/// The data source with only the secrets that these purposes need together.
pub fn limited(source: pb::DataSource, purposes: &[SessionPurpose]) -> pb::DataSource {
    let (public, secrets) = split(&source);
    let needed = |path: &str| purposes.iter().flat_map(|purpose| needs(*purpose)).any(|start| path.starts_with(start));
    join(&public, &secrets.only(needed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_proto::descriptor;

    fn source() -> pb::DataSource {
        let sas = pb::AzureSas { sas: "canary-storage".into(), ..pb::AzureSas::default() };
        let storage = pb::StorageAccess {
            location_prefix: "abfss://a@b".into(),
            access: Some(pb::storage_access::Access::AzureSas(sas)),
        };
        let token = pb::AccessToken { token: "canary-workspace".into(), ..pb::AccessToken::default() };
        let databricks = pb::DatabricksSource {
            workspace_auth: Some(pb::databricks_source::WorkspaceAuth::AccessToken(token)),
            storage: vec![storage],
            ..pb::DatabricksSource::default()
        };
        let key = pb::AccessKey { access_key_secret: "canary-target".into(), ..pb::AccessKey::default() };
        pb::DataSource {
            source: Some(databricks.into()),
            max_compute: Some(pb::MaxComputeConfig {
                account: Some(pb::max_compute_config::Account::AccessKey(key)),
                ..pb::MaxComputeConfig::default()
            }),
            ..pb::DataSource::default()
        }
    }

    fn handed_out(purposes: &[SessionPurpose]) -> Vec<&'static str> {
        let bytes = prost::Message::encode_to_vec(&limited(source(), purposes));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let all = ["canary-workspace", "canary-storage", "canary-target"];
        all.into_iter().filter(|canary| text.contains(canary)).collect()
    }

    #[test]
    fn a_session_hands_out_what_its_purposes_need() {
        use SessionPurpose::{Metadata, ReadRows, WriteRows};
        assert_eq!(handed_out(&[Metadata]), ["canary-workspace", "canary-storage", "canary-target"]);
        assert_eq!(handed_out(&[ReadRows]), ["canary-storage"]);
        assert_eq!(handed_out(&[WriteRows]), ["canary-target"]);
        assert_eq!(handed_out(&[ReadRows, WriteRows]), ["canary-storage", "canary-target"], "a worker");
        assert!(handed_out(&[SessionPurpose::Unspecified]).is_empty());
    }

    #[test]
    fn every_purpose_of_the_contract_is_for_something() {
        let kind = descriptor::pool().get_enum_by_name("mms.registry.v1.SessionPurpose").unwrap();
        for value in kind.values().skip(1) {
            let purpose = SessionPurpose::try_from(value.number()).unwrap();
            assert!(!needs(purpose).is_empty(), "{}", value.name());
        }
    }
}
