//! A failed table can be done once the cause is gone: `mms task retry` and `mms job retry` run again what failed, and
//! nothing that was done.

use serde_json::{Value, json};

use crate::support::{Client, name, sandbox, source, start};

#[test]
fn what_failed_runs_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("delta-root");
    let written = mms_sandbox::samples::types(dir.path(), 1_700_000_000_000).unwrap();
    let rows = |table: &str| written.iter().find(|written| written.name == table).unwrap().rows.to_string();
    let ends = sandbox(&dir.path().join("project"), &root, None);
    let data = dir.path().join("data");
    let up = ["up", "--json", "--port-base", "0", "--allow-local-files", "--data-dir", data.to_str().unwrap()];
    let _suite = start(&up);
    let mms = Client(data.to_str().unwrap());
    let file = dir.path().join("source.yaml");
    std::fs::write(&file, source("retried", &ends, &root, &json!({})).to_string()).unwrap();
    mms.one(&["source", "create", "-f", file.to_str().unwrap()]);
    mms.one(&["source", "start", "retried"]);
    mms.json(&["scan", "start", "retried", "--watch"]);

    let table = root.join("samples/nested");
    let mut files = std::fs::read_dir(&table).unwrap().map(|entry| entry.unwrap().path());
    let part = files.find(|path| path.extension().is_some_and(|end| end == "parquet")).unwrap();
    let aside = dir.path().join("aside");
    std::fs::rename(&part, &aside).unwrap();

    let job = mms.one(&["job", "create", "retried", "--table", "samples.nested", "--table", "samples.every_type"]);
    let job = name(&job);
    let watch = || mms.run(&["job", "watch", job]).status.code();
    let tables = || -> Vec<Value> { mms.json(&["job", "tables", job]) };
    let of = |table: &str| tables().into_iter().find(|at| at["table"].as_str().unwrap().ends_with(table)).unwrap();
    let data_task = || {
        let tasks = mms.json(&["task", "list", job]);
        let failed: Vec<Value> = tasks.into_iter().filter(|task| task["state"] == "TASK_STATE_DATA_FAILED").collect();
        assert_eq!(failed.len(), 1, "{failed:?}");
        failed.into_iter().next().unwrap()
    };
    assert_eq!(watch(), Some(1));
    let failed = mms.one(&["job", "get", job]);
    assert_eq!(failed["state"], "JOB_STATE_FAILED");
    assert_eq!(failed["reason"]["reason"], "ERROR_REASON_TASKS_FAILED", "{failed}");
    assert_eq!(of("nested")["state"], "MIGRATION_STATE_FAILED");
    let done = of("every_type");
    assert_eq!((&done["state"], &done["targetRows"]), (&json!("MIGRATION_STATE_DONE"), &json!(rows("every_type"))));

    // The cause persists, so it fails again for the same reason.
    let first = data_task();
    mms.one(&["task", "retry", name(&first)]);
    assert_eq!(watch(), Some(1));
    let second = data_task();
    for failed in [&first, &second] {
        assert_eq!(failed["reason"]["reason"], "ERROR_REASON_SOURCE_CHANGED", "{failed}");
    }
    assert_eq!(name(&second), name(&first));
    assert_ne!(second["attempt"], first["attempt"], "it ran again");

    std::fs::rename(&aside, &part).unwrap();
    mms.one(&["job", "retry", job]);
    assert_eq!(watch(), Some(0));
    let mended = of("nested");
    assert_eq!((&mended["state"], &mended["targetRows"]), (&json!("MIGRATION_STATE_DONE"), &json!(rows("nested"))));
    assert_eq!(of("every_type"), done, "what was done is left alone");
}
