//! Tables that the sandbox writes, by the same comparison as those of Spark. Runs without any peer.

use crate::common::{assert_same_rows, expected_folder, expected_rows, open, rows, texts, totals};
use mms_sandbox::samples;

const WRITTEN_MS: i64 = 1_704_067_200_000;

#[tokio::test]
async fn every_cell_of_every_sample_comes_out_as_it_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let tables = samples::types(folder.path(), WRITTEN_MS).unwrap();
    assert!(tables.len() >= 10);
    for table in tables {
        let snapshot = open(&folder.path().join("delta-root/samples").join(&table.name), None).await.unwrap();
        let schema = snapshot.arrow_schema().clone();
        let columns: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let expected = expected_rows(&expected_folder(&folder.path().join("expected"), &table.name));
        let names: Vec<_> = expected[0].schema().fields().iter().map(|f| f.name().clone()).collect();
        assert_eq!(names, columns, "{}: columns and their order", table.name);
        let found = texts(&rows(&snapshot).await, &columns, |_, text| text);
        assert_same_rows(&table.name, &found, &texts(&expected, &columns, |_, text| text));
        assert_eq!(found.len() as u64, table.rows, "{}", table.name);
        let counted = totals(&snapshot).await;
        assert_eq!(counted.all().rows, Some(table.rows), "{}: rows by the log", table.name);
    }
}

#[tokio::test]
async fn tpch_has_its_rows_in_its_partitions() {
    let folder = tempfile::tempdir().unwrap();
    let tables = samples::tpch(folder.path(), 0.01, WRITTEN_MS).unwrap();
    let counts: Vec<_> = tables.iter().map(|t| (t.name.as_str(), t.rows)).collect();
    assert_eq!(
        counts,
        [
            ("region", 5),
            ("nation", 25),
            ("supplier", 100),
            ("customer", 1_500),
            ("part", 2_000),
            ("partsupp", 8_000),
            ("orders", 15_000),
            ("lineitem", 60_175),
        ]
    );
    for table in &tables {
        let snapshot = open(&folder.path().join(&table.schema).join(&table.name), None).await.unwrap();
        let found: usize = rows(&snapshot).await.iter().map(|b| b.num_rows()).sum();
        assert_eq!(found as u64, table.rows, "{}", table.name);
    }
    let orders = open(&folder.path().join("tpch/orders"), None).await.unwrap();
    assert_eq!(orders.partition_columns(), ["o_orderyear"]);
    let totals = totals(&orders).await;
    let years: Vec<_> = totals.partitions().into_iter().map(|(_, p)| p.values[0].1.clone().unwrap()).collect();
    assert_eq!(years, ["1992", "1993", "1994", "1995", "1996", "1997", "1998"]);
}
