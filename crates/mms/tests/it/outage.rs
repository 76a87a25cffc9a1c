//! A watch continues after the suite was killed and started again. If no suite is running, the error names the service
//! and its URL.

use serde_json::json;

use crate::support::{Client, free_port_base, name, port, run, sandbox, source, start, table_of};

#[test]
fn a_watch_goes_on_after_the_suite_was_killed_and_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("delta-root");
    table_of(&root, "one", "integer");
    let ends = sandbox(&dir.path().join("project"), &root, None);
    let ports = (port(&ends.told("/workspace/url")), port(&ends.told("/project/endpoint")));
    let (data, base) = (dir.path().join("data"), free_port_base());
    let data = data.to_str().unwrap();
    let up = ["up", "--json", "--port-base", &base, "--allow-local-files", "--data-dir", data];
    let suite = start(&up);
    let mms = Client(data);
    let file = dir.path().join("source.yaml");
    std::fs::write(&file, source("odds", &ends, &root, &json!({})).to_string()).unwrap();
    mms.one(&["source", "create", "-f", file.to_str().unwrap()]);
    mms.one(&["source", "start", "odds"]);
    mms.json(&["scan", "start", "odds", "--watch"]);
    // Without its source and target the job cannot end.
    ends.kill();
    let job = mms.one(&["job", "create", "odds"]);
    let job = name(&job);

    let watch = start(&["job", "watch", job, "--json", "--data-dir", data]);
    assert_eq!(watch.told["job"]["name"], job);
    suite.kill();
    let _suite = start(&up);
    let _ends = sandbox(&dir.path().join("project"), &root, Some((&ports.0, &ports.1)));
    let (code, answers) = watch.ended();
    assert_eq!(code, Some(0), "{answers:?}");
    assert!(answers.last().unwrap().contains("JOB_STATE_DONE"), "{answers:?}");
}

#[test]
fn nobody_there_is_named_with_its_url() {
    let nobody = run(&["job", "list", "--scheduler", "http://127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(1));
    let told = String::from_utf8(nobody.stderr).unwrap();
    let expected = "UNAVAILABLE: the scheduler at http://127.0.0.1:1 cannot be reached: Connection refused";
    assert!(told.contains(expected) && told.contains("mms up"), "{told}");
}
