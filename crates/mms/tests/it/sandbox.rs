//! `mms sandbox --json` prints where both ends are, and a folder that is served again is the same project with the same
//! credentials. `mms migrate` moves its tables through a running suite, also after the suite and the sandbox were
//! killed.

use serde_json::json;

use crate::support::{lines, port, run, sandbox, source, start};

#[test]
fn tables_move_through_a_running_suite_and_outlive_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let tables = mms_sandbox::samples::types(dir.path(), 1_700_000_000_000).unwrap();
    let delta_root = at("delta-root");
    let sandbox_first = sandbox(&at("project"), &delta_root, None);
    let told = sandbox_first.told.clone();
    let cluster = sandbox_first.told("/workspace/cluster_id");
    assert!(sandbox_first.told("/workspace/http_path").ends_with(&format!("/{cluster}")));
    let file = at("source.yaml");
    let names = json!({"tableNames": {"other": "_", "prefix": "t_"}, "columnNames": {"other": "_"}, "partitionValues": {"other": "_"}});
    let mut request = source("samples", &sandbox_first, &delta_root, &names);
    // A secret by reference, below the folder that `mms up` was given for secrets.
    let token = at("token");
    std::fs::write(&token, request["dataSource"]["databricks"]["accessToken"]["token"].as_str().unwrap()).unwrap();
    request["dataSource"]["databricks"]["accessToken"]["token"] = json!(format!("file:{}", token.display()));
    std::fs::write(&file, request.to_string()).unwrap();
    let (data, file) = (at("data"), file.to_str().unwrap().to_owned());
    let data = data.to_str().unwrap();
    let root = dir.path().to_str().unwrap();
    let up =
        ["up", "--json", "--port-base", "0", "--allow-local-files", "--secret-file-root", root, "--data-dir", data];
    let suite = start(&up);

    // A plan that waits for review moves nothing.
    let review = run(&["migrate", "-f", &file, "--review", "--json", "--data-dir", data]);
    assert!(review.status.success());
    let jobs = lines(&run(&["job", "list", "samples", "--json", "--data-dir", data]));
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0]["state"], "JOB_STATE_PENDING_REVIEW");
    let job = jobs[0]["name"].as_str().unwrap().to_owned();

    // Both are killed; with the same folders and ports the work continues.
    let ports = (port(&sandbox_first.told("/workspace/url")), port(&sandbox_first.told("/project/endpoint")));
    suite.kill();
    sandbox_first.kill();
    let sandbox_second = sandbox(&at("project"), &delta_root, Some((&ports.0, &ports.1)));
    assert_eq!(sandbox_second.told, told, "the same project, credentials and ports");
    let suite = start(&up);
    assert!(run(&["job", "approve", &job, "--data-dir", data]).status.success());
    assert!(run(&["job", "watch", &job, "--json", "--data-dir", data]).status.success());
    let moved = lines(&run(&["job", "tables", &job, "--json", "--data-dir", data]));
    assert_eq!(moved.len(), tables.len());
    for table in &tables {
        let moved = moved.iter().find(|moved| moved["table"].as_str().unwrap().ends_with(&table.name)).unwrap();
        assert_eq!(moved["state"], "MIGRATION_STATE_DONE", "{moved}");
        assert_eq!(moved["targetRows"], table.rows.to_string(), "{moved}");
    }

    // Tables that are at the target are left alone and reported as unchanged: the data survived the crash.
    let again = run(&["migrate", "-f", &file, "--schema", "samples", "--json", "--data-dir", data]);
    assert!(again.status.success());
    assert!(lines(&again).iter().all(|table| table["state"] == "UNCHANGED"));
    let jobs = lines(&run(&["job", "list", "samples", "--json", "--data-dir", data]));
    let second = jobs.iter().find_map(|found| found["name"].as_str().filter(|name| *name != job)).unwrap();
    let untouched = lines(&run(&["job", "tables", second, "--json", "--data-dir", data]));
    assert_eq!(untouched.len(), tables.len());
    assert!(untouched.iter().all(|table| table["decision"] == "TABLE_DECISION_UNCHANGED"), "{untouched:?}");

    // The other commands of the client, against what exists now.
    let table = moved[0]["table"].as_str().unwrap();
    let plan = lines(&run(&["table", "plan", table, "--json", "--data-dir", data]));
    assert!(plan[0]["target"]["createSql"].as_str().unwrap().starts_with("CREATE TABLE"));
    let listed = lines(&run(&["table", "list", "samples", "--json", "--data-dir", data]));
    assert_eq!(listed.len(), tables.len());
    let tasks = lines(&run(&["task", "list", &job, "--json", "--data-dir", data]));
    assert!(tasks.iter().all(|task| task["state"] == "TASK_STATE_DONE"));
    let logs = lines(&run(&["task", "logs", tasks[0]["name"].as_str().unwrap(), "--json", "--data-dir", data]));
    assert!(!logs.is_empty());
    let scans = lines(&run(&["scan", "list", "samples", "--json", "--data-dir", data]));
    assert_eq!(scans.len(), 2);
    let shown = run(&["source", "get", "samples", "--json", "--data-dir", data]);
    let secret = told["project"]["access_key"].as_str().unwrap();
    assert!(!String::from_utf8_lossy(&shown.stdout).contains(secret));
    assert!(run(&["source", "check", "samples", "--data-dir", data]).status.success());
    assert_eq!(suite.stop().0, Some(0));
    assert_eq!(sandbox_second.stop(), (Some(0), Vec::new()));
}
