//! Every subcommand of the client against a running suite: what it does, what it prints, and its exit code.

use serde_json::json;

use crate::support::{Client, name, run, sandbox, source, start, table_of};

#[test]
fn every_subcommand() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("delta-root");
    table_of(&root, "fine", "integer");
    table_of(&root, "no_such_type", "interval day to second");
    let ends = sandbox(&dir.path().join("project"), &root, None);
    let data = dir.path().join("data");
    let _suite =
        start(&["up", "--json", "--port-base", "0", "--allow-local-files", "--data-dir", data.to_str().unwrap()]);
    let mms = Client(data.to_str().unwrap());
    let file = dir.path().join("source.yaml");
    let file = |tasks| {
        std::fs::write(&file, source("odds", &ends, &root, &json!({"maxConcurrentTasks": tasks})).to_string()).unwrap();
        file.to_str().unwrap().to_owned()
    };

    // source
    assert_eq!(name(&mms.one(&["source", "create", "-f", &file(2)])), "dataSources/odds");
    let told = mms.refused(&["source", "create", "-f", &file(2)]);
    assert!(told.contains("ALREADY_EXISTS"), "{told}");
    let changed = mms.one(&["source", "update", "odds", "-f", &file(3), "--field", "settings.maxConcurrentTasks"]);
    assert_eq!(changed["settings"]["maxConcurrentTasks"], 3);
    let check = mms.json(&["source", "check", "odds"]);
    assert!(check.iter().any(|answer| answer["step"]["state"] == "CHECK_STATE_OK"), "{check:?}");
    assert!(check.last().unwrap()["report"].is_object(), "{check:?}");
    assert_eq!(mms.one(&["source", "start", "odds"])["state"], "DATA_SOURCE_STATE_STARTED");
    assert_eq!(mms.one(&["source", "get", "dataSources/odds"])["state"], "DATA_SOURCE_STATE_STARTED");
    assert!(mms.text(&["source", "list"]).lines().any(|line| line.starts_with("odds ")));

    // scan
    let answers = mms.json(&["scan", "start", "odds", "--schema", "odd", "--watch"]);
    let scan = answers.last().unwrap()["scan"].clone();
    assert_eq!(scan["state"], "SCAN_STATE_DONE");
    assert_eq!(mms.one(&["scan", "get", name(&scan)]), scan);
    assert_eq!(mms.one(&["scan", "cancel", name(&scan)])["state"], "SCAN_STATE_DONE", "one that ended stays as it is");
    assert_eq!(mms.json(&["scan", "watch", name(&scan)]).last().unwrap()["scan"], scan);
    for _ in 0..2 {
        mms.text(&["scan", "start", "odds", "--watch"]);
    }
    assert_eq!(mms.json(&["scan", "list", "odds"]).len(), 3);

    // table
    let fine = "dataSources/odds/schemas/odd/tables/fine";
    assert_eq!(mms.json(&["table", "list", "odds"]).len(), 2);
    assert_eq!(mms.json(&["table", "list", "dataSources/odds/schemas/odd"]).len(), 2);
    assert_eq!(mms.one(&["table", "get", fine])["columns"][0]["name"], "a");
    for word in ["odd.fine", "odds/odd.fine"] {
        assert_eq!(mms.one(&["table", "get", word])["name"], fine);
    }
    assert!(mms.refused(&["table", "get", "odd.missing"]).contains("mms table list"));
    assert_eq!(mms.json(&["table", "list", "odds", "--schema", "odd"]).len(), 2);
    assert!(mms.text(&["table", "get", fine]).contains("int"));
    assert!(mms.text(&["table", "plan", fine]).contains("CREATE TABLE"));
    let blocked = mms.run(&["table", "plan", "dataSources/odds/schemas/odd/tables/no_such_type"]);
    assert_eq!(blocked.status.code(), Some(1));
    assert!(String::from_utf8(blocked.stdout).unwrap().contains("BLOCKER"));

    assert_eq!(mms.one(&["schema", "list", "odds"])["sourceName"], "odd");
    assert!(mms.text(&["schema", "list", "odds"]).starts_with("SCHEMA"));
    assert_eq!(mms.json(&["worker", "list"]).len(), 1);

    // job
    let job = mms.one(&["job", "create", "odds", "--table", "odd.fine", "--review"]);
    let job = name(&job).to_owned();
    // Short names are accepted everywhere.
    let short = job.replace("dataSources/", "").replace("/jobs/", "/");
    for word in [&*short, short.rsplit('/').next().unwrap()] {
        assert_eq!(mms.one(&["job", "get", word])["name"], job);
    }
    assert!(mms.refused(&["job", "get", "nowhere"]).contains("mms job list"));
    assert_eq!(mms.run(&["job", "watch", &job]).status.code(), Some(1), "it waits, and is not done");
    assert_eq!(mms.one(&["job", "get", &job])["state"], "JOB_STATE_PENDING_REVIEW");
    assert!(mms.text(&["job", "plan", &job]).contains("1 to move"));
    assert_eq!(mms.json(&["job", "findings", &job]).len(), 0);
    assert_eq!(mms.one(&["job", "stop", &job])["state"], "JOB_STATE_STOPPED");
    assert!(mms.refused(&["job", "retry", &job]).contains("WRONG_STATE"));
    assert_eq!(mms.one(&["job", "start", &job])["state"], "JOB_STATE_PENDING_REVIEW", "nobody has approved it");
    mms.one(&["job", "approve", &job]);
    assert_eq!(mms.json(&["job", "watch", &job]).last().unwrap()["job"]["state"], "JOB_STATE_DONE");
    assert_eq!(mms.json(&["job", "tables", &job])[0]["state"], "MIGRATION_STATE_DONE");
    assert!(mms.text(&["job", "tables", &job]).contains("odd.fine"));

    // task
    let tasks = mms.json(&["task", "list", &job]);
    let task = name(&tasks[0]);
    let mut whole = mms.one(&["task", "get", task]);
    let units = whole.as_object_mut().unwrap().remove("units");
    assert_eq!((units.unwrap().as_array().unwrap().len(), &whole), (1, &tasks[0]), "lists are without units");
    let mut watched = mms.json(&["task", "watch", task]).pop().unwrap()["task"].take();
    watched.as_object_mut().unwrap().remove("units");
    assert_eq!(watched, tasks[0]);
    assert!(mms.text(&["task", "logs", task]).contains("leased to"));
    let short = task.replace("dataSources/", "").replace("/jobs/", "/").replace("/tasks/", "/");
    assert!(mms.text(&["task", "logs", &short]).contains("leased to"));
    assert!(mms.refused(&["task", "retry", task]).contains("WRONG_STATE"));

    // A whole spec from a file, followed at once. With --quiet, only results are printed.
    let spec = dir.path().join("job.yaml");
    std::fs::write(&spec, "tables: {tables: [{schema: odd, table: fine}]}\nforce: true\n").unwrap();
    let create = ["job", "create", "odds", "-f", spec.to_str().unwrap(), "--watch"];
    let forced = mms.run(&create);
    assert_eq!(forced.status.code(), Some(0));
    assert!(String::from_utf8(forced.stderr).unwrap().starts_with("job odds/"), "its name comes first");
    let quiet = mms.run(&[&create[..], &["--quiet"]].concat());
    assert!(quiet.status.success() && quiet.stderr.is_empty() && !quiet.stdout.is_empty());

    // Deleting.
    mms.text(&["job", "delete", &job]);
    assert!(mms.refused(&["job", "get", &job]).contains("NOT_FOUND"));
    // The job releases its use of the source only some time after its end, so --force is needed.
    assert_eq!(mms.one(&["source", "stop", "odds", "--force"])["state"], "DATA_SOURCE_STATE_STOPPED");
    mms.one(&["source", "delete", "odds", "--force"]);
    assert!(mms.json(&["source", "list"]).is_empty());
    assert_eq!(name(&mms.one(&["source", "undelete", "odds"])), "dataSources/odds");
    assert_eq!(mms.json(&["source", "list"]).len(), 1);
}

#[test]
fn every_subcommand_shows_an_example() {
    for (command, least) in
        [("source", 3), ("scan", 3), ("schema", 1), ("table", 3), ("job", 3), ("task", 3), ("worker", 1)]
    {
        let help = String::from_utf8(run(&[command, "--help"]).stdout).unwrap();
        let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
        // Deeper indented lines continue the text of the line above.
        let named = listed.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
        let actions = named.filter_map(|line| line.split_whitespace().next()).filter(|word| *word != "help");
        let mut count = 0;
        for action in actions {
            let help = String::from_utf8(run(&[command, action, "--help"]).stdout).unwrap();
            assert!(help.contains(&format!("mms {command} {action}")) && help.contains("Example"), "{help}");
            count += 1;
        }
        assert!(count >= least, "{help}");
    }
}
