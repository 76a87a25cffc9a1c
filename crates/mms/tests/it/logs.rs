//! What an operator reads in the log of a suite: a line when a scan or a job begins, waits, is stopped, ends or fails,
//! with its name, counts, seconds and reason. Libraries log nothing below a warning, and unchanged tables cause no
//! rejected call.

use serde_json::{Value, json};

use crate::support::{Client, name, sandbox, source, start_logged, table_of};

#[test]
fn scans_and_jobs_are_told_from_their_beginning_to_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("delta-root");
    table_of(&root, "one", "integer");
    let ends = sandbox(&dir.path().join("project"), &root, None);
    let (data, log) = (dir.path().join("data"), dir.path().join("log"));
    let data = data.to_str().unwrap();
    let up = ["up", "--json", "--port-base", "0", "--allow-local-files", "--data-dir", data, "--log-format", "json"];
    let suite = start_logged(&up, &log);
    let mms = Client(data);
    let file = dir.path().join("source.yaml");
    std::fs::write(&file, source("odds", &ends, &root, &json!({})).to_string()).unwrap();
    let migrate = ["migrate", "-f", file.to_str().unwrap()];
    let job_of = |state: &str| {
        let jobs = mms.json(&["job", "list", "odds"]);
        let job = jobs.iter().find(|job| job["state"] == state).unwrap_or_else(|| panic!("{state} in {jobs:?}"));
        name(job).to_owned()
    };

    assert!(mms.run(&migrate).status.success());
    let moved = job_of("JOB_STATE_DONE");
    // The second run finds nothing changed.
    assert!(mms.run(&migrate).status.success());
    let waits = name(&mms.one(&["job", "create", "odds", "--force", "--review"])).to_owned();
    mms.run(&["job", "watch", &waits]);
    mms.one(&["job", "stop", &waits]);
    // A table that does not exist fails the job.
    let empty = name(&mms.one(&["job", "create", "odds", "--table", "odd.none"])).to_owned();
    assert_eq!(mms.run(&["job", "watch", &empty]).status.code(), Some(1));
    assert_eq!(suite.stop().0, Some(0));

    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |key: &str, name: &str| -> Vec<&Value> { lines.iter().filter(|line| line[key] == name).collect() };
    let messages = |told: &[&Value]| -> Vec<String> {
        told.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    };
    let told = of("job", &moved);
    assert_eq!(
        messages(&told),
        ["the job is made", "the job is planned; its tasks wait for workers", "the job runs", "the job is done"]
    );
    let end = told.last().unwrap();
    assert_eq!((&end["tables"], &end["tables_done"], &end["rows"]), (&json!(1), &json!(1), &json!(0)), "{end}");
    assert!(end["seconds"].is_i64(), "{end}");
    assert!(messages(&of("job", &waits)).ends_with(&["the job is stopped".to_owned()]), "{text}");
    assert!(messages(&of("job", &waits)).contains(&"the job is planned and waits for review".to_owned()), "{text}");
    let failed = of("job", &empty).pop().unwrap();
    assert_eq!((&failed["level"], &failed["message"]), (&json!("WARN"), &json!("the job failed")), "{failed}");
    assert_eq!(failed["reason"], "TABLE_UNKNOWN", "{failed}");
    assert!(failed["why"].as_str().unwrap().contains("odd.none"), "{failed}");

    let scan = lines.iter().find(|line| line["message"] == "the scan begins").expect("a scan");
    let done = of("scan", scan["scan"].as_str().unwrap()).pop().unwrap();
    assert_eq!((&done["message"], &done["tables"]), (&json!("the scan is done"), &json!(1)), "{done}");

    let foreign = lines.iter().filter(|line| !line["target"].as_str().unwrap().starts_with("mms"));
    let chatter: Vec<&Value> = foreign.filter(|line| line["level"] != "WARN" && line["level"] != "ERROR").collect();
    assert!(chatter.is_empty(), "{chatter:?}");
    // The first run asks whether the data source exists. The unchanged table, whose plan ends early, causes no rejected
    // call.
    let refused: Vec<&Value> = lines.iter().filter(|line| line["message"] == "call refused").collect();
    let asked =
        |line: &&Value| line["code"] == "NotFound" && line["path"].as_str().unwrap().ends_with("/GetDataSource");
    assert!(refused.len() == 1 && refused.iter().all(asked), "{refused:?}");
}
