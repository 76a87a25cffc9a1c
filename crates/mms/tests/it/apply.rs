//! A file describes a data source: running `mms migrate -f` or `mms source apply -f` again prints the differences and
//! changes them. A field that cannot change is reported with the ways out, and all typos are reported at once.

use serde_json::json;

use crate::support::{Client, sandbox, source, start, table_of};

#[test]
fn an_edited_file_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("delta-root");
    table_of(&root, "fine", "integer");
    let ends = sandbox(&dir.path().join("project"), &root, None);
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let _suite = start(&["up", "--json", "--port-base", "0", "--allow-local-files", "--data-dir", data]);
    let mms = Client(data);
    let path = dir.path().join("source.yaml");
    let file = path.to_str().unwrap();
    let mut request = source("odds", &ends, &root, &json!({"maxConcurrentTasks": 2, "schemaBlacklist": ["scratch"]}));
    let secrets = [
        request["dataSource"]["databricks"]["accessToken"]["token"].as_str().unwrap().to_owned(),
        request["dataSource"]["maxCompute"]["accessKey"]["accessKeySecret"].as_str().unwrap().to_owned(),
    ];
    let write =
        |request: &serde_json::Value| std::fs::write(&path, serde_json::to_string_pretty(request).unwrap()).unwrap();
    let said = |args: &[&str]| {
        let output = mms.run(args);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };

    write(&request);
    let (code, told) = said(&["source", "apply", "-f", file]);
    assert!(code == Some(0) && told.contains("data source odds created"), "{told}");

    // Nothing differs, but the secrets of the file are sent again: the values behind their references may have changed.
    let (code, told) = said(&["source", "apply", "-f", file]);
    assert!(code == Some(0) && told.contains("data source odds unchanged"), "{told}");
    assert!(
        told.contains("secrets sent again: databricks.accessToken.token, maxCompute.accessKey.accessKeySecret"),
        "{told}"
    );

    // Differences are printed before they are changed; a field that is missing in the file is reset to its default.
    request["dataSource"]["settings"] = json!({"maxConcurrentTasks": 3});
    write(&request);
    let (_, would) = said(&["source", "apply", "-f", file, "--dry-run"]);
    assert!(would.contains("would change") && would.contains("settings.maxConcurrentTasks: 2 -> 3"), "{would}");
    assert_eq!(mms.one(&["source", "get", "odds"])["settings"]["maxConcurrentTasks"], 2);
    let (code, told) = said(&["migrate", "-f", file]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("settings.maxConcurrentTasks: 2 -> 3"), "{told}");
    assert!(told.contains("settings.schemaBlacklist: [\"scratch\"] -> []"), "{told}");
    assert!(secrets.iter().all(|secret| !told.contains(secret)), "{told}");
    let changed = mms.one(&["source", "get", "odds"]);
    assert_eq!(changed["settings"], json!({"maxConcurrentTasks": 3}), "{changed}");

    // A wrong secret in the file is accepted, and the check finds it: this shows that it was sent.
    request["dataSource"]["databricks"]["accessToken"]["token"] = json!("dapi-wrong");
    write(&request);
    let (code, told) = said(&["migrate", "-f", file]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("WORKSPACE") || told.contains("workspace"), "{told}");

    // The catalog of a data source can never change.
    request["dataSource"]["databricks"]["catalog"] = json!("other");
    write(&request);
    let (code, told) = said(&["source", "apply", "-f", file]);
    assert_eq!(code, Some(1));
    let line = std::fs::read_to_string(&path).unwrap().lines().position(|line| line.contains("\"other\"")).unwrap() + 1;
    assert!(told.contains(&format!("source.yaml:{line}: databricks.catalog cannot be changed")), "{told}");
    assert!(told.contains("another dataSourceId") && told.contains("mms source delete odds"), "{told}");

    // All typos are reported at once, with their lines.
    std::fs::write(
        &path,
        "dataSourceId: odds\ndataSource:\n  databrick:\n    catalog: x\n  settings:\n    maxConcurentTasks: 3\n",
    )
    .unwrap();
    let (code, told) = said(&["source", "apply", "-f", file]);
    assert_eq!(code, Some(1));
    assert!(told.contains("line 3: dataSource.databrick; did you mean databricks?"), "{told}");
    assert!(told.contains("line 6: dataSource.settings.maxConcurentTasks; did you mean maxConcurrentTasks?"), "{told}");

    // All missing fields are reported at once, too.
    std::fs::write(&path, "dataSourceId: odds-two\ndataSource:\n  databricks: {}\n  maxCompute: {}\n").unwrap();
    let (code, told) = said(&["source", "apply", "-f", file]);
    assert_eq!(code, Some(1));
    for missing in
        ["source.yaml:3: databricks.workspaceUrl is required", "source.yaml:4: maxCompute.endpoint is required"]
    {
        assert!(told.contains(missing), "{missing} in {told}");
    }
}
