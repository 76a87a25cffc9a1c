//! Logs as writers, people and disks leave them: read as the protocol defines them, or refused with the file and the reason.

use std::fs;

use serde_json::json;

use crate::common::open;
use crate::handmade::{Table, batch, field, longs, mapped, texts};

fn id() -> Vec<serde_json::Value> {
    vec![field("id", "long")]
}

fn remove(path: &str) -> serde_json::Value {
    json!({ "remove": { "path": path, "deletionTimestamp": 0, "dataChange": true } })
}

/// A table with one file per commit; each has its number as its only row.
fn numbers(commits: i64) -> Table {
    let mut table = Table::new();
    for number in 0..commits {
        let add = table.file(&format!("f{number}.parquet"), &batch(&[("id", longs(&[number]))]));
        if number == 0 {
            table.begin(json!({ "minReaderVersion": 1, "minWriterVersion": 2 }), &id(), &[], json!({}), &[add]);
        } else {
            table.commit(&[add]);
        }
    }
    table
}

#[tokio::test]
async fn one_place_is_one_file_however_it_is_spelled() {
    let mut table = numbers(2);
    let place = format!("{}/f0.parquet", table.place());
    table.commit(&[remove(&place)]);
    assert_eq!(table.read().await.unwrap().0, ["1i64"]);
    let again = json!({ "add": { "path": "f1%2Eparquet", "partitionValues": {}, "size": 1, "modificationTime": 0, "dataChange": true } });
    table.commit(&[again]);
    assert_eq!(table.files().await.len(), 1, "the later entry of the same place counts");
    assert_eq!(table.files().await[0].path, "f1.parquet");
}

#[tokio::test]
async fn a_place_is_live_once_and_a_commit_does_not_contradict_itself() {
    let vector = |offset| json!({ "storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": offset, "sizeInBytes": 40, "cardinality": 1 });
    let mut twice = numbers(1);
    let mut add = twice.add("f0.parquet", json!({ "numRecords": 1 }));
    add["add"]["deletionVector"] = vector(4);
    twice.commit(&[add]);
    let text = twice.refusal().await;
    assert!(text.contains("f0.parquet") && text.contains("twice"), "{text}");

    let mut both = numbers(2);
    let add = both.add("f1.parquet", json!({ "numRecords": 1 }));
    both.commit(&[remove(&format!("{}/f1.parquet", both.place())), add]);
    let text = both.refusal().await;
    assert!(text.contains("f1.parquet") && text.contains("00000000000000000002.json"), "{text}");

    let mut other = numbers(1);
    let (first, mut second) = (other.add("f0.parquet", json!({})), other.add("f0.parquet", json!({})));
    second["add"]["size"] = json!(1);
    other.commit(&[first.clone(), second]);
    assert!(other.refusal().await.contains("twice in one version"));
    let mut same = numbers(1);
    same.commit(&[first.clone(), first]);
    assert_eq!(same.read().await.unwrap().0, ["0i64"]);
}

/// Writes bytes that are not a checkpoint in place of one.
fn spoil(table: &Table, version: u64, bytes: &[u8]) {
    fs::write(table.log(&format!("{version:020}.checkpoint.parquet")), bytes).unwrap();
    let hint = json!({ "version": version, "size": 3 }).to_string();
    fs::write(table.log("_last_checkpoint"), hint).unwrap();
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_read_is_passed_by_while_its_commits_are_there() {
    for bytes in [&b""[..], b"PAR1 and not more"] {
        let table = numbers(4);
        spoil(&table, 2, bytes);
        let (rows, notes) = table.read().await.unwrap();
        assert_eq!(rows, ["0i64", "1i64", "2i64", "3i64"]);
        assert!(notes.iter().any(|note| note.contains("2.checkpoint.parquet")), "{notes:?}");
        // Nothing replaces it once its commits are deleted.
        fs::remove_file(table.log("00000000000000000000.json")).unwrap();
        let text = table.refusal().await;
        assert!(text.contains("checkpoint"), "{text}");
    }
    let stale = numbers(2);
    fs::write(stale.log("_last_checkpoint"), r#"{"version":1,"size":3}"#).unwrap();
    let (rows, notes) = stale.read().await.unwrap();
    assert_eq!((rows.len(), notes.len()), (2, 1), "{notes:?}");
    // Checksums and compacted commits only repeat what commits say.
    let odd = numbers(3);
    fs::write(odd.log("00000000000000000000.00000000000000000001.compacted.json"), "").unwrap();
    fs::write(odd.log("00000000000000000002.crc"), "{}").unwrap();
    assert_eq!(odd.read().await.unwrap().0.len(), 3);
}

#[tokio::test]
async fn nulls_among_texts_are_let_be() {
    let table = Table::new();
    let add = table.file("a.parquet", &batch(&[("id", longs(&[1]))]));
    let mut table = table;
    let configuration = json!({ "owner": null, "delta.appendOnly": "true" });
    table.begin(json!({ "minReaderVersion": 1, "minWriterVersion": 2 }), &id(), &[], configuration, &[add]);
    assert_eq!(table.read().await.unwrap().0, ["1i64"]);
    let snapshot = open(&table.dir, None).await.unwrap();
    assert_eq!(snapshot.properties().keys().collect::<Vec<_>>(), ["delta.appendOnly"]);
}

fn of_mode(mode: &str, reader: i32) -> Table {
    let mut table = Table::new();
    let add = table.file("a.parquet", &batch(&[("col-1", longs(&[10])), ("col-2", texts(&["a"]))]));
    let fields = [mapped("price", "long", 1, "col-1"), mapped("label", "string", 2, "col-2")];
    let configuration = json!({ "delta.columnMapping.mode": mode, "delta.columnMapping.maxColumnId": "2" });
    table.begin(json!({ "minReaderVersion": reader, "minWriterVersion": 5 }), &fields, &[], configuration, &[add]);
    table
}

#[tokio::test]
async fn the_mapping_mode_is_read_as_it_was_typed_or_refused_by_name() {
    for mode in ["name", "NAME", "Name"] {
        assert_eq!(of_mode(mode, 2).read().await.unwrap().0, [r#"10i64 "a""#], "{mode}");
    }
    for (mode, reader) in [(" name", 2), ("names", 2), ("", 2), ("name", 1)] {
        let text = of_mode(mode, reader).refusal().await;
        assert!(text.contains("delta.columnMapping.mode") && text.contains(&format!("{mode:?}")), "{text}");
    }
}

#[tokio::test]
async fn a_column_of_an_unknown_type_or_too_deep_is_named_and_no_other() {
    let mut deep = json!("long");
    for _ in 0..60 {
        deep = json!({ "type": "struct", "fields": [field("s", deep)] });
    }
    let mut table = Table::new();
    let add = table.file("a.parquet", &batch(&[("id", longs(&[1]))]));
    let fields = [field("id", "long"), field("place", "geometry(4326)"), field("d", deep)];
    table.begin(json!({ "minReaderVersion": 1, "minWriterVersion": 2 }), &fields, &[], json!({}), &[add]);
    let snapshot = open(&table.dir, None).await.unwrap();
    let named: Vec<&str> = snapshot.unreadable_columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!(named, ["d", "place"]);
    assert!(snapshot.schema_json().contains("geometry(4326)"));
}

#[tokio::test]
async fn a_log_that_is_broken_says_which_file_and_line() {
    let mut table = numbers(1);
    let path = table.commit(&[json!({ "commitInfo": {} })]);
    fs::write(path, "{\"commitInfo\":{}}\n{\"add\":{\"path\":\n").unwrap();
    let text = table.refusal().await;
    assert!(text.contains("00000000000000000001.json") && text.contains("line"), "{text}");
    assert!(!text.contains("kernel"), "{text}");
}
