//! `mms demo` migrates every table that can be migrated and gives the reason for every other; its exit code tells the
//! two cases apart.

use crate::support::{lines, run, table_of};

/// The sample tables with a partition value that the target does not accept: the demo maps names, never values.
const REFUSED: [&str; 1] = ["partitioned"];

#[test]
fn every_sample_table_that_can_be_carried_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let tables = mms_sandbox::samples::types(dir.path(), 1_700_000_000_000).unwrap();
    let root = dir.path().join("delta-root");
    let keep = dir.path().join("kept");
    let demo = run(&["demo", "--json", "--delta-root", root.to_str().unwrap(), "--keep", keep.to_str().unwrap()]);
    let results = lines(&demo);
    assert_eq!(results.len(), tables.len());
    for table in &tables {
        let result = results.iter().find(|result| result["table"] == *table.name).unwrap();
        assert_eq!(result["schema"], *table.schema);
        if REFUSED.contains(&table.name.as_str()) {
            assert_eq!(result["state"], "BLOCKED", "{result}");
            assert_eq!(result["reasons"][0]["reason"], "PARTITION_VALUE_UNSUPPORTED", "{result}");
            continue;
        }
        assert_eq!(result["state"], "DONE", "{result}");
        assert_eq!(result["sourceRows"], table.rows.to_string(), "{result}");
        assert_eq!(result["targetRows"], table.rows.to_string(), "{result}");
        assert!(result["deltaVersion"].is_string() && result["reasons"].is_null(), "{result}");
    }
    assert_eq!(demo.status.code(), Some(1));
    // The kept folder has only the project's data: serving it again adds nothing.
    let names = || {
        let entries = std::fs::read_dir(&keep).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect::<std::collections::BTreeSet<_>>()
    };
    let kept = names();
    let served = crate::support::start(&["sandbox", "--json", "--project-dir", keep.to_str().unwrap()]);
    assert!(!served.told("/project/access_key").is_empty());
    assert_eq!(served.stop().0, Some(0));
    assert_eq!(names(), kept);
}

#[test]
fn a_demo_of_nothing_says_why_it_fails() {
    let dir = tempfile::tempdir().unwrap();
    let demo = run(&["demo", "--json", "--delta-root", dir.path().to_str().unwrap()]);
    assert_eq!(demo.status.code(), Some(1));
    assert!(demo.stdout.is_empty());
    let told = String::from_utf8_lossy(&demo.stderr);
    assert!(told.contains("is FAILED: the scope keeps no table"), "{told}");
}

#[test]
fn a_table_that_cannot_be_carried_is_told_and_the_others_go() {
    let dir = tempfile::tempdir().unwrap();
    table_of(dir.path(), "fine-one", "integer");
    table_of(dir.path(), "9lives", "string");
    table_of(dir.path(), "no_such_type", "interval day to second");
    table_of(dir.path(), "broken", "integer");
    std::fs::write(dir.path().join("odd/broken/_delta_log/00000000000000000000.json"), "{\"protocol\":").unwrap();
    let demo = run(&["demo", "--json", "--delta-root", dir.path().to_str().unwrap()]);
    let results = lines(&demo);
    let state = |table: &str| results.iter().find(|result| result["table"] == table).unwrap();
    assert_eq!(results.len(), 4);
    for table in ["fine-one", "9lives"] {
        assert_eq!((&state(table)["state"], &state(table)["targetRows"]), (&"DONE".into(), &"0".into()), "{table}");
    }
    let refused = state("no_such_type");
    assert_eq!(refused["state"], "BLOCKED");
    let why = &refused["reasons"][0];
    assert!(why["message"].as_str().unwrap().contains("INTERVAL"), "{refused}");
    assert!(why["remedy"].as_str().unwrap().contains("CREATE TABLE ... AS SELECT"), "{refused}");
    let broken = state("broken");
    assert_eq!(broken["state"], "BLOCKED");
    assert_eq!(broken["reasons"][0]["reason"], "SOURCE_FAILED", "{broken}");
    assert!(broken["reasons"][0]["message"].as_str().unwrap().contains("Delta log"), "{broken}");
    assert_eq!(demo.status.code(), Some(1));
    let logged = String::from_utf8_lossy(&demo.stderr).into_owned();
    assert!(!logged.contains("opentelemetry"), "no chatter of libraries: {logged}");

    let people = run(&["demo", "--delta-root", dir.path().to_str().unwrap()]);
    let text = String::from_utf8_lossy(&people.stdout).into_owned();
    for part in [
        "odd.9lives",
        "BLOCKED odd.broken",
        "BLOCKED odd.no_such_type",
        "INTERVAL",
        "\n  help: make a table of it",
        "CREATE TABLE",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.contains("4 tables: 2 done, 2 blocked; 0 rows"), "{text}");
    // Without --keep the project no longer exists, so the demo does not say how to read it.
    assert!(text.contains("mms demo --keep") && !text.contains("from odps import ODPS"), "{text}");
    assert_eq!(people.status.code(), Some(1));
}
