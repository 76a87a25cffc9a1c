//! Canonical proto JSON both ways: unknown fields are rejected by path, secrets are never printed.

use mms_proto::json::{self, Fields, JsonError};
use mms_proto::registry::v1::databricks_source::WorkspaceAuth;
use mms_proto::registry::v1::{CreateDataSourceRequest, DataSource};

const REQUEST: &str = r#"{
  "dataSourceId": "azure",
  "dataSource": {
    "display_name": "Azure",
    "databricks": {
      "workspaceUrl": "https://adb-1.azuredatabricks.net",
      "catalog": "main",
      "accessToken": {"token": "dapi-canary"},
      "readPath": "READ_PATH_STORAGE"
    }
  }
}"#;

#[test]
fn what_is_read_is_printed_without_secrets() {
    let request: CreateDataSourceRequest = json::from_str(REQUEST).unwrap();
    let databricks = request.data_source.clone().and_then(|source| source.databricks().cloned()).unwrap();
    assert!(
        matches!(&databricks.workspace_auth, Some(WorkspaceAuth::AccessToken(token)) if token.token == "dapi-canary")
    );
    let printed = json::to_value(&request, Fields::Set);
    assert_eq!(printed["dataSource"]["databricks"]["readPath"], "READ_PATH_STORAGE");
    assert_eq!(printed["dataSource"]["databricks"]["accessToken"]["token"], "***");
    assert!(!json::to_string(&request).contains("canary"));
    let all = json::to_value(&request, Fields::All);
    assert_eq!(all["validateOnly"], false);
}

#[test]
fn every_unknown_field_is_named() {
    let text = r#"{"dataSource": {"databricks": {"workspaceUri": "x"}, "typo": 1}, "extra": null}"#;
    let error = json::from_str::<CreateDataSourceRequest>(text).unwrap_err();
    let JsonError::Unknown { fields, .. } = error else { panic!("{error}") };
    let mut paths: Vec<&str> = fields.iter().map(|field| field.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["dataSource.databricks.workspaceUri", "dataSource.typo", "extra"]);
    // The error also says which fields there are.
    let meant = fields.iter().find(|field| field.path.ends_with("workspaceUri")).unwrap();
    assert!(meant.known.iter().any(|known| known == "workspaceUrl"), "{meant:?}");
}

#[test]
fn a_wrong_value_says_what_was_expected() {
    let error = json::from_str::<DataSource>(r#"{"state": "NO_SUCH_STATE"}"#).unwrap_err();
    assert!(error.to_string().contains("mms.registry.v1.DataSource"), "{error}");
    assert!(matches!(json::from_str::<DataSource>("{"), Err(JsonError::Syntax(_))));
}
