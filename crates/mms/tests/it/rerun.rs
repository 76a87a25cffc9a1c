//! A scope has one open job: a second `mms migrate` takes it up and never creates another beside it. Ctrl-C ends the
//! command, not the job.

use serde_json::{Value, json};

use crate::support::{Client, lines, port, printed, run_printed, sandbox, source, start, table_of, tell};

#[test]
fn a_second_run_takes_up_the_open_job_and_an_interrupted_one_runs_on() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("delta-root");
    for table in ["one", "two"] {
        table_of(&root, table, "integer");
    }
    let ends = sandbox(&dir.path().join("project"), &root, None);
    let ports = (port(&ends.told("/workspace/url")), port(&ends.told("/project/endpoint")));
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let _suite = start(&["up", "--json", "--port-base", "0", "--allow-local-files", "--data-dir", data]);
    let mms = Client(data);
    let file = dir.path().join("source.yaml");
    std::fs::write(&file, source("odds", &ends, &root, &json!({})).to_string()).unwrap();
    let file = file.to_str().unwrap();
    let jobs = || -> Vec<Value> { mms.json(&["job", "list", "odds"]) };
    let said = |args: &[&str]| {
        let output = mms.run(args);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };

    // The job's name is printed before anything else about it.
    let (code, first) = said(&["migrate", "-f", file, "--review"]);
    assert_eq!(code, Some(0), "{first}");
    let job = jobs()[0]["name"].as_str().unwrap().to_owned();
    let short = job.replace("dataSources/", "").replace("/jobs/", "/");
    let created = first.find(&format!("job {short} created")).unwrap();
    assert!(first.find("job PLANNING").is_none_or(|planning| created < planning), "{first}");

    // It waits for review: this is printed with what to do, and no second job is created.
    let (code, again) = said(&["migrate", "-f", file]);
    assert_eq!(code, Some(1), "nothing has been moved");
    assert!(again.contains(&format!("job {short} waits for review")), "{again}");
    let (code, overlapping) = said(&["migrate", "-f", file, "--table", "odd.one"]);
    assert_eq!(code, Some(1));
    assert!(overlapping.contains("one job at a time") && overlapping.contains("mms job stop"), "{overlapping}");
    assert_eq!(jobs().len(), 1, "{:?}", jobs());

    // Source and target are stopped, so that the job cannot end while it is followed.
    ends.kill();
    assert!(run_printed(printed(&again, "start it:")).status.success());
    let following = tell(&["migrate", "-f", file, "--data-dir", data]);
    let told = following.until("has not ended; following it");
    assert!(told.last().unwrap().contains(&short), "{told:?}");
    let (code, told) = following.interrupt();
    assert_eq!(code, Some(130), "{told}");
    assert!(told.contains(&format!("interrupted: job {short} runs on")), "{told}");
    assert!(printed(&told, "stop it:").starts_with("mms job stop"), "{told}");
    assert_eq!(jobs().len(), 1, "{:?}", jobs());

    let _ends = sandbox(&dir.path().join("project"), &root, Some((&ports.0, &ports.1)));
    let watched = run_printed(printed(&told, "watch it:"));
    assert!(watched.status.success(), "{}", String::from_utf8_lossy(&watched.stdout));
    let moved = mms.run(&["migrate", "-f", file, "--json"]);
    assert!(moved.status.success());
    assert_eq!(lines(&moved).len(), 2);
    assert_eq!(jobs().len(), 2, "one that has ended is not taken up");
}
