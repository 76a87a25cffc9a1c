//! Tables that Spark wrote, read as a worker reads them and compared with Spark's own rows.

use crate::common::{assert_same_rows, expected_folder, expected_rows, files, open, real_tables, rows, texts};

const TABLES: [(&str, u64); 9] = [
    ("covid19_nyt", 1_111_930),
    ("dv-partitioned-with-checkpoint", 35),
    ("table-with-columnmapping-mode-name", 6),
    ("parquet-all-types", 200),
    ("data-reader-primitives", 11),
    ("data-reader-partition-values", 3),
    ("v2-checkpoint-parquet", 10),
    ("nested_types", 5),
    ("basic_partitioned", 6),
];

#[tokio::test]
async fn every_row_and_every_cell_is_what_spark_reads() {
    let Some(folder) = real_tables() else { return };
    for (table, count) in TABLES {
        let snapshot = open(&folder.join("delta-root/real").join(table), None).await.unwrap();
        let batches = rows(&snapshot).await;
        let found: usize = batches.iter().map(|b| b.num_rows()).sum();
        assert_eq!(found as u64, count, "{table}");
        let counted: Option<u64> = files(&snapshot).await.iter().map(|f| f.rows).sum();
        assert!(counted.is_none() || counted == Some(count), "{table}: the log counts {counted:?}");
        if table == "covid19_nyt" {
            continue;
        }
        let schema = snapshot.arrow_schema().clone();
        let columns: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let expected = expected_rows(&expected_folder(&folder.join("expected"), table));
        let names: Vec<_> = expected[0].schema().fields().iter().map(|f| f.name().clone()).collect();
        assert_eq!(names, columns, "{table}: columns and their order");
        let found = texts(&batches, &columns, |_, text| text);
        let expected = texts(&expected, &columns, |column, text| match (table, column) {
            // Written in America/Los_Angeles without a zone: seven hours after what a reader in UTC has.
            ("data-reader-partition-values", "as_timestamp") => shift(&text, -7 * 3_600_000_000),
            _ => text,
        });
        assert_same_rows(table, &found, &expected);
    }
}

fn shift(text: &str, micros: i64) -> String {
    match text.strip_suffix("instant") {
        Some(number) => format!("{}instant", number.parse::<i64>().unwrap() + micros),
        None => text.to_owned(),
    }
}

#[tokio::test]
async fn an_older_version_has_its_own_rows() {
    let Some(folder) = real_tables() else { return };
    for version in [0, 1] {
        let snapshot = open(&folder.join("delta-root/real/basic_partitioned"), Some(version)).await.unwrap();
        assert_eq!(snapshot.version(), version);
        let expected =
            expected_rows(&folder.join(format!("expected/basic_partitioned/v{version}/table_content.parquet")));
        let columns = ["letter", "number", "a_float"];
        let found = texts(&rows(&snapshot).await, &columns, |_, text| text);
        assert_same_rows("basic_partitioned", &found, &texts(&expected, &columns, |_, text| text));
    }
}

#[tokio::test]
async fn a_snapshot_says_what_the_table_is() {
    let Some(folder) = real_tables() else { return };
    let real = folder.join("delta-root/real");
    let mapped = open(&real.join("table-with-columnmapping-mode-name"), None).await.unwrap();
    assert_eq!(mapped.shape().column_mapping(), mms_delta::ColumnMapping::Name);
    assert_eq!(mapped.properties()["delta.columnMapping.mode"], "name");
    assert!(mapped.reader_features().contains(&"columnMapping".to_owned()), "{:?}", mapped.reader_features());
    let vectors = open(&real.join("dv-partitioned-with-checkpoint"), None).await.unwrap();
    assert_eq!(vectors.partition_columns(), ["part"]);
    assert!(vectors.reader_features().contains(&"deletionVectors".to_owned()));
    let all = files(&vectors).await;
    assert!(all.iter().any(|f| f.deletion_vector.is_some()));
    assert_eq!(all.iter().map(|f| f.rows.unwrap()).sum::<u64>(), 35);
    let nulls = files(&open(&real.join("basic_partitioned"), None).await.unwrap()).await;
    assert!(nulls.iter().any(|f| f.partition_values == [("letter".to_owned(), None)]), "{nulls:?}");
}
