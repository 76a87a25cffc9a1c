//! The rules of the contract, applied: all violations at once, by path, without secrets.

use mms_proto::ErrorReason;
use mms_proto::registry::v1::databricks_config::WorkspaceAuth;
use mms_proto::registry::v1::{
    AccessToken, CreateDataSourceRequest, DataSource, DatabricksConfig, GetDataSourceRequest, MaxComputeConfig,
    UpdateDataSourceRequest,
};
use mms_proto::validate::{clear_output_only, validate, violations};

fn paths<T: prost::Message + prost::Name>(message: &T) -> Vec<String> {
    violations(message).into_iter().map(|violation| violation.field).collect()
}

#[test]
fn every_violation_is_named_at_once() {
    let request = CreateDataSourceRequest {
        data_source_id: "Not An Id".into(),
        data_source: Some(DataSource {
            display_name: "not allowed!".into(),
            network_connection: "dataSources/a".into(),
            databricks: Some(DatabricksConfig {
                workspace_url: "ftp://x".into(),
                read_path: 99,
                workspace_auth: Some(WorkspaceAuth::AccessToken(AccessToken {
                    token: "s3cret".repeat(1000),
                    ..AccessToken::default()
                })),
                ..DatabricksConfig::default()
            }),
            ..DataSource::default()
        }),
        ..CreateDataSourceRequest::default()
    };
    let found = paths(&request);
    for path in [
        "data_source_id",
        "data_source.display_name",
        "data_source.network_connection",
        "data_source.databricks.workspace_url",
        "data_source.databricks.catalog",
        "data_source.databricks.read_path",
        "data_source.databricks.access_token.token",
        "data_source.max_compute",
    ] {
        assert!(found.iter().any(|field| field == path), "{path} is missing in {found:?}");
    }
    let error = validate(&request).unwrap_err();
    assert_eq!((error.code, error.reason), (tonic::Code::InvalidArgument, ErrorReason::InvalidField));
    assert!(!format!("{error:?}").contains("s3cret"), "a violation must not repeat a secret");
}

#[test]
fn a_name_must_have_its_shape() {
    let request = |name: &str| GetDataSourceRequest { name: name.into() };
    assert!(paths(&request("dataSources/a")).is_empty());
    for wrong in ["", "dataSources/-", "dataSources/A", "networkConnections/a", "dataSources/a/jobs/b"] {
        assert_eq!(paths(&request(wrong)), ["name"], "{wrong:?}");
    }
}

#[test]
fn an_update_is_judged_where_its_mask_goes() {
    let update = |mask: &[&str], databricks: Option<DatabricksConfig>| UpdateDataSourceRequest {
        name: "dataSources/a".into(),
        data_source: Some(DataSource { display_name: "new".into(), databricks, ..DataSource::default() }),
        update_mask: Some(prost_types::FieldMask { paths: mask.iter().map(|path| (*path).to_owned()).collect() }),
        ..UpdateDataSourceRequest::default()
    };
    assert!(paths(&update(&["display_name"], None)).is_empty());
    let touched = paths(&update(&["databricks.workspace_url"], Some(DatabricksConfig::default())));
    assert_eq!(touched, ["data_source.databricks.workspace_url"]);
    let mask = update(&["state", "no_such", "databricks.catalog", "display_name"], None);
    let found = paths(&mask);
    for wrong in ["update_mask.paths[0]", "update_mask.paths[1]", "update_mask.paths[2]"] {
        assert!(found.iter().any(|path| path == wrong), "{wrong} is missing in {found:?}");
    }
    assert!(!found.iter().any(|path| path == "update_mask.paths[3]"));
}

#[test]
fn what_the_service_sets_is_ignored_and_cleared() {
    let source = DataSource {
        uid: "mine".into(),
        state: 3,
        display_name: "kept".into(),
        databricks: Some(DatabricksConfig {
            workspace_auth: Some(WorkspaceAuth::AccessToken(AccessToken { token: "t".into(), is_set: true })),
            ..DatabricksConfig::default()
        }),
        max_compute: Some(MaxComputeConfig::default()),
        ..DataSource::default()
    };
    let cleared = clear_output_only(&source);
    assert_eq!((cleared.uid.as_str(), cleared.state, cleared.display_name.as_str()), ("", 0, "kept"));
    let auth = cleared.databricks.and_then(|databricks| databricks.workspace_auth);
    assert_eq!(auth, Some(WorkspaceAuth::AccessToken(AccessToken { token: "t".into(), is_set: false })));
}
