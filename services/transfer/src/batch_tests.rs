//! Batches of the source become batches of the target exactly, or not at all.

use std::sync::Arc;

use arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Schema};
use mms_delta::{FileBatch, SourceFile};
use mms_maxcompute::name::{ColumnName, ProjectName, TableName};
use mms_maxcompute::table::{TableKind, TableRef};
use mms_maxcompute::tunnel::arrow_schema;
use proptest::prelude::*;

use super::*;

fn column(source: &str, target: &str, role: ColumnRole) -> ColumnMapping {
    ColumnMapping {
        source_column: source.into(),
        target_column: target.into(),
        role: role as i32,
        ..ColumnMapping::default()
    }
}

fn mapping() -> [ColumnMapping; 4] {
    [
        column("b-", "b_", ColumnRole::Data),
        column("a", "a", ColumnRole::Data),
        column("t", "t", ColumnRole::Data),
        column("p", "p", ColumnRole::Partition),
    ]
}

fn columns(list: &[(&str, &str)]) -> Vec<Column> {
    let one = |(name, data_type): &(&str, &str)| Column {
        name: ColumnName::new(*name).expect("a name"),
        data_type: data_type.parse().expect("a type"),
        nullable: true,
        comment: None,
    };
    list.iter().map(one).collect()
}

const PLANNED: [(&str, &str); 3] = [("b_", "timestamp"), ("a", "bigint"), ("t", "string")];

fn shaper(found: &[(&str, &str)]) -> Result<Shaper> {
    let found = columns(found);
    shaper_to(&found, Arc::new(arrow_schema(&found)))
}

/// As by the Storage API, with timestamps in microseconds.
fn storage_shaper() -> Shaper {
    let found = columns(&PLANNED);
    let micros = |field: &Arc<Field>| match field.data_type() {
        DataType::Timestamp(..) => {
            field.as_ref().clone().with_data_type(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        _ => field.as_ref().clone(),
    };
    let schema = arrow_schema(&found).fields().iter().map(micros).collect::<Vec<_>>();
    shaper_to(&found, Arc::new(Schema::new(schema))).expect("as planned")
}

fn shaper_to(found: &[Column], to: SchemaRef) -> Result<Shaper> {
    let planned = TableDefinition {
        target: TableRef {
            project: ProjectName::new("p").expect("a name"),
            schema: None,
            table: TableName::new("t").expect("a name"),
        },
        kind: TableKind::Ordinary,
        columns: columns(&PLANNED),
        partition_columns: columns(&[("p", "bigint")]),
        primary_key: Vec::new(),
        comment: None,
        lifecycle_days: None,
        properties: Default::default(),
    };
    Shaper::new(&mapping(), &planned, found, to)
}

fn source(a: Vec<Option<i64>>, b: Vec<Option<i64>>, t: Vec<String>) -> FileBatch {
    let rows = a.len() as u64;
    let a: ArrayRef = Arc::new(Int64Array::from(a));
    let b: ArrayRef = Arc::new(TimestampMicrosecondArray::from(b).with_timezone("UTC"));
    let t: ArrayRef = Arc::new(StringArray::from(t));
    let p: ArrayRef = Arc::new(Int64Array::from(vec![7; a.len()]));
    let file = SourceFile {
        path: "part-7.parquet".into(),
        size: 1,
        rows: None,
        partition_values: Vec::new(),
        deletion_vector: None,
        statistics: None,
    };
    FileBatch {
        index: 0,
        file: Arc::new(file),
        rows: 1_000..1_000 + rows,
        file_rows: 5_000,
        kept: None,
        batch: RecordBatch::try_from_iter([("a", a), ("p", p), ("b-", b), ("t", t)]).expect("one length"),
    }
}

proptest! {
    #[test]
    fn instants_are_carried_exactly_or_refused(micros in proptest::option::of(any::<i64>())) {
        let shaper = shaper(&PLANNED).expect("as planned");
        let shaped = shaper.shape(&source(vec![Some(1)], vec![micros], vec![String::new()]).into());
        let fits = micros.is_none_or(|us| us.checked_mul(1000).is_some());
        prop_assert_eq!(shaped.is_ok(), fits);
        let beyond = matches!(shaped, Err(TransferError::Beyond { .. }));
        prop_assert!(fits || beyond, "the other way is tried");
        let by_storage = storage_shaper().shape(&source(vec![Some(1)], vec![micros], vec![String::new()]).into());
        let year_0_to_9999 = micros.is_none_or(|us| (-62_167_219_200_000_000..=253_402_300_799_999_999).contains(&us));
        prop_assert_eq!(by_storage.is_ok(), year_0_to_9999);
        if let Ok(carried) = by_storage {
            let found = carried.column(0).as_any().downcast_ref::<TimestampMicrosecondArray>().expect("its type");
            prop_assert_eq!(found.iter().next().flatten(), micros);
        }
        if let Ok(shaped) = shaped {
            let nanos = shaped.column(0).as_any().downcast_ref::<TimestampNanosecondArray>().expect("its type");
            prop_assert_eq!(nanos.iter().next().flatten(), micros.map(|us| us * 1000));
            prop_assert_eq!(shaped.num_columns(), 3);
        }
    }

    #[test]
    fn pieces_are_the_batch_again_and_small(rows in 1_usize..300, goal in 1_u64..5_000) {
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|i| "x".repeat(i % 40))));
        let batch = RecordBatch::try_from_iter([("t", texts)]).expect("one column");
        let parts: Vec<RecordBatch> = pieces(batch.clone(), goal).collect();
        let again = arrow::compute::concat_batches(batch.schema_ref(), &parts).expect("one schema");
        prop_assert_eq!(&again, &batch);
        // No piece is far above the goal: at most the longest row, repeated.
        prop_assert!(parts.iter().all(|part| part.num_rows() == 1 || bytes(part) <= 4 * goal + 200), "{:?}", goal);
    }
}

#[test]
fn a_value_that_does_not_fit_is_named_with_its_row_and_file() {
    let far = i64::MAX / 10;
    let batch = source(vec![Some(1); 5], vec![None, Some(1), Some(2), Some(far), Some(far)], vec![String::new(); 5]);
    let error = shaper(&PLANNED).expect("as planned").shape(&batch.into()).expect_err("out of range").to_string();
    assert!(error.contains("`b-`") && error.contains("row 1003 of part-7.parquet"), "{error}");

    let long = vec!["x".to_owned(), "x".repeat(values::CELL_BYTES_MAX + 1)];
    let batch =
        FileBatch { kept: Some(vec![false, true, false, true].into()), ..source(vec![None; 2], vec![None; 2], long) };
    let error = shaper(&PLANNED).expect("as planned").shape(&batch.into()).expect_err("too long").to_string();
    assert!(error.contains("`t`") && error.contains("8388609 bytes") && error.contains("row 1003 of"), "{error}");
}

#[test]
fn nanoseconds_are_not_cut_to_microseconds() {
    let mut read = source(vec![Some(1)], vec![Some(1)], vec![String::new()]);
    let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_001]));
    let columns = [("a", "a"), ("p", "p"), ("t", "t")].map(|(name, from)| (name, read.batch[from].clone()));
    read.batch = RecordBatch::try_from_iter(columns.into_iter().chain([("b-", nanos)])).expect("one length");
    let error = storage_shaper().shape(&read.clone().into()).expect_err("finer").to_string();
    assert!(error.contains("no way carries both"), "{error}");
    assert!(shaper(&PLANNED).expect("as planned").shape(&read.clone().into()).is_ok(), "the tunnel carries them");
}

#[test]
fn a_table_that_was_altered_since_it_was_planned_is_refused_by_name() {
    for (found, named) in [
        (&[("b_", "timestamp"), ("a", "int"), ("t", "string")][..], "column `a` is INT, planned is BIGINT"),
        (&[("b_", "timestamp_ntz"), ("a", "bigint"), ("t", "string")], "column `b_` is TIMESTAMP_NTZ"),
        (&[("a", "bigint"), ("b_", "timestamp"), ("t", "string")], "in the order a, b_, t"),
        (&[("b_", "timestamp"), ("a", "bigint")], "column `t` is missing"),
        (&[("b_", "timestamp"), ("a", "bigint"), ("t", "string"), ("x", "bigint")], "column `x` is not planned"),
    ] {
        let error = shaper(found).err().expect("not as planned");
        assert!(matches!(error, TransferError::Conflict { .. }), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}
