//! Decides which secrets a session hands out: those that its purposes need, and no others. Pure.

use mms_proto::registry::v1 as pb;
use mms_proto::types::v1::ReadPath;
use pb::SessionPurpose;

use crate::secrets::{join, split};

/// Prefixes of the paths of the secrets that a purpose needs.
fn needs(purpose: SessionPurpose, path: ReadPath) -> &'static [&'static str] {
    match (purpose, path) {
        (SessionPurpose::Unspecified, _) => &[],
        (SessionPurpose::Metadata, _) => &["databricks.", "max_compute."],
        // By SQL, rows are read with the workspace's credentials. Tables that were planned before the data source was changed to
        // SQL are still read from storage.
        (SessionPurpose::ReadRows, ReadPath::Jdbc) => &["databricks."],
        // The credentials of the storage, without those of the workspace.
        (SessionPurpose::ReadRows, ReadPath::Storage | ReadPath::Unspecified) => &["databricks.storage["],
        (SessionPurpose::WriteRows, _) => &["max_compute."],
    }
}

/// Whether a session for this purpose reads tables' files, so that credentials for single tables may be vended to it.
pub fn reads_files(purpose: SessionPurpose) -> bool {
    match purpose {
        SessionPurpose::Metadata | SessionPurpose::ReadRows => true,
        SessionPurpose::WriteRows | SessionPurpose::Unspecified => false,
    }
}

/// Returns the data source with only those secrets that at least one of these purposes needs.
pub fn limited(source: pb::DataSource, purposes: &[SessionPurpose]) -> pb::DataSource {
    let (public, secrets) = split(&source);
    let by = public.databricks().map(pb::DatabricksSource::read_path).unwrap_or_default();
    let needed =
        |path: &str| purposes.iter().flat_map(|purpose| needs(*purpose, by)).any(|start| path.starts_with(start));
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
        handed_out_of(source(), purposes)
    }

    fn handed_out_of(source: pb::DataSource, purposes: &[SessionPurpose]) -> Vec<&'static str> {
        let bytes = prost::Message::encode_to_vec(&limited(source, purposes));
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
    fn whoever_reads_rows_by_sql_gets_the_workspaces_credentials_and_nobody_else() {
        use SessionPurpose::{Metadata, ReadRows, WriteRows};
        let by_sql = || {
            let mut source = source();
            source.databricks_mut().unwrap().set_read_path(ReadPath::Jdbc);
            source
        };
        assert_eq!(handed_out_of(by_sql(), &[ReadRows]), ["canary-workspace", "canary-storage"]);
        assert_eq!(handed_out_of(by_sql(), &[WriteRows]), ["canary-target"]);
        assert_eq!(handed_out_of(by_sql(), &[Metadata]), handed_out(&[Metadata]));
    }

    #[test]
    fn every_purpose_of_the_contract_is_for_something() {
        let kind = descriptor::pool().get_enum_by_name("mms.registry.v1.SessionPurpose").unwrap();
        for value in kind.values().skip(1) {
            let purpose = SessionPurpose::try_from(value.number()).unwrap();
            assert!(!needs(purpose, ReadPath::Storage).is_empty(), "{}", value.name());
        }
    }
}
