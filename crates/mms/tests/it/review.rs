//! `--review` shows the whole plan: target, rows, bytes and tasks of each table, findings with their remedy, totals,
//! and what could not be read. The command that it prints starts the plan.

use serde_json::json;

use crate::support::{Client, printed, run_printed, sandbox, source, start, table_of};

#[test]
fn a_plan_is_shown_and_started_as_printed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("delta-root");
    for (table, column) in [("fine", "integer"), ("no_such_type", "interval day to second"), ("broken", "integer")] {
        table_of(&root, table, column);
    }
    std::fs::write(root.join("odd/broken/_delta_log/00000000000000000000.json"), "{\"protocol\":").unwrap();
    let ends = sandbox(&dir.path().join("project"), &root, None);
    let data = dir.path().join("data of mine");
    let data = data.to_str().unwrap();
    let _suite = start(&["up", "--json", "--port-base", "0", "--allow-local-files", "--data-dir", data]);
    let mms = Client(data);
    let file = dir.path().join("source.yaml");
    std::fs::write(&file, source("odds", &ends, &root, &json!({})).to_string()).unwrap();
    let review = mms.run(&["migrate", "-f", file.to_str().unwrap(), "--review"]);
    assert_eq!(review.status.code(), Some(1), "a table is blocked");
    let (plan, told) = (String::from_utf8(review.stdout).unwrap(), String::from_utf8(review.stderr).unwrap());
    let row = |table: &str| plan.lines().find(|line| line.starts_with(table)).unwrap_or_else(|| panic!("{plan}"));
    for part in ["MOVE", "mms_sandbox.odd.fine", "0"] {
        assert!(row("odd.fine").contains(part), "{plan}");
    }
    assert!(row("odd.no_such_type").contains("BLOCKED"), "{plan}");
    assert!(plan.contains("blocker TYPE_UNSUPPORTED") && plan.contains("\n  help: make a table of it"), "{plan}");
    assert!(plan.contains("\nodd.broken\n  SOURCE_FAILED: file 00000000000000000000.json of the Delta log"), "{plan}");
    assert!(plan.contains("1 to move (0 rows, 0 B, ") && plan.contains(", 2 blocked\n"), "{plan}");
    assert!(plan.contains("\nestimated: "), "{plan}");

    let approve = printed(&told, "start it:");
    assert!(approve.contains("--accept-blocked") && approve.contains("--data-dir '"), "{approve}");
    assert!(run_printed(approve).status.success());
    let watch = mms.run(&["job", "watch", approve.split(' ').nth(3).unwrap()]);
    assert_eq!(watch.status.code(), Some(1), "what is blocked fails it");
    let tables = mms.text(&["job", "tables", approve.split(' ').nth(3).unwrap()]);
    assert!(tables.lines().any(|line| line.starts_with("odd.fine") && line.contains("DONE")), "{tables}");
}
