//! Every state of a table has its own word, for people and in JSON. A running job is not called failed, an unchanged
//! table shows its rows, and every run ends with a summary and what to do next.

use serde_json::json;

use crate::support::{Client, lines, name, port, sandbox, source, start, table_of};

#[test]
fn each_state_is_told_by_its_word_and_the_run_is_summed_up() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("delta-root");
    let written = mms_sandbox::samples::types(dir.path(), 1_700_000_000_000).unwrap();
    let rows = written.iter().find(|written| written.name == "every_type").unwrap().rows.to_string();
    table_of(&root, "no_such_type", "interval day to second");
    let ends = sandbox(&dir.path().join("project"), &root, None);
    let ports = (port(&ends.told("/workspace/url")), port(&ends.told("/project/endpoint")));
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let _suite = start(&["up", "--json", "--port-base", "0", "--allow-local-files", "--data-dir", data]);
    let mms = Client(data);
    let file = dir.path().join("source.yaml");
    std::fs::write(&file, source("words", &ends, &root, &json!({})).to_string()).unwrap();
    let migrate =
        ["migrate", "-f", file.to_str().unwrap(), "--table", "samples.every_type", "--table", "odd.no_such_type"];
    let run = |more: &[&str]| {
        let output = mms.run(&[&migrate, more].concat());
        let (out, err) =
            (String::from_utf8(output.stdout.clone()).unwrap(), String::from_utf8(output.stderr.clone()).unwrap());
        (output.status.code(), out, err, output)
    };

    // Planned and not yet moved: neither table is called failed.
    let (_, _, _, reviewed) = run(&["--review", "--json"]);
    let tables = lines(&reviewed);
    assert_eq!(tables.len(), 2, "{tables:?}");
    let job = mms.json(&["job", "list", "words"]);
    let job = name(&job[0]);
    let waiting = mms.text(&["job", "tables", job]);
    let row = |text: &str, table: &str| text.lines().find(|line| line.starts_with(table)).unwrap().to_owned();
    assert!(row(&waiting, "samples.every_type").contains("WAITING"), "{waiting}");
    assert!(row(&waiting, "odd.no_such_type").contains("BLOCKED"), "{waiting}");
    assert!(!waiting.contains("FAILED"), "{waiting}");

    // Without source and target the table does not end, and is not called failed either.
    ends.kill();
    mms.text(&["job", "approve", job, "--accept-blocked"]);
    let going = mms.text(&["job", "tables", job]);
    let going = row(&going, "samples.every_type");
    assert!(["PLANNING", "WAITING", "RUNNING"].iter().any(|word| going.contains(word)), "{going}");
    let _ends = sandbox(&dir.path().join("project"), &root, Some((&ports.0, &ports.1)));
    assert_eq!(mms.run(&["job", "watch", job]).status.code(), Some(1), "one is blocked");

    let (code, told, _, _) = run(&[]);
    assert_eq!(code, Some(1));
    let unchanged = row(&told, "samples.every_type");
    assert!(
        unchanged.contains("UNCHANGED") && unchanged.split_whitespace().any(|word| word == rows),
        "its rows are there: {unchanged}"
    );
    assert!(told.contains("2 tables: 1 unchanged, 1 blocked; 0 rows, 0 B in "), "{told}");
    assert!(told.contains("next: fix what is named above, then: mms job retry words/"), "{told}");
    // What to do is on its own line, and commands replace the names of RPCs.
    assert!(told.contains("\n  help: make a table of it"), "{told}");
    assert!(!told.contains("RetryJob") && !told.contains("ListFindings"), "{told}");

    let (_, out, err, output) = run(&["--json"]);
    let state = |table: &str| {
        let found = lines(&output).into_iter().find(|found| found["table"] == table);
        found.unwrap_or_else(|| panic!("{table} in {out}"))
    };
    assert_eq!(
        (&state("every_type")["state"], &state("every_type")["targetRows"]),
        (&json!("UNCHANGED"), &json!(rows))
    );
    assert_eq!(state("no_such_type")["state"], "BLOCKED");
    assert!(err.contains("2 tables: 1 unchanged, 1 blocked"), "{err}");
}
