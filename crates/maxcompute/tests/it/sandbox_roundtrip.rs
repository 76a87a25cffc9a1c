//! The client against the sandbox project, which shares no wire code with it: what is written is read back the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
    TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use mms_maxcompute::instance::InstanceState;
use mms_maxcompute::name::{ColumnName, ProjectName, SchemaName, TableName};
use mms_maxcompute::session::SessionState;
use mms_maxcompute::table::{Column, PartitionSpec, TableDefinition, TableKind, TableRef};
use mms_maxcompute::tunnel::{Codec, PartitionMode, UploadSession, WriteMode};
use mms_maxcompute::{MaxComputeError, Project, RefusalKind, SqlRows, Statement, ddl};
use uuid::Uuid;

use crate::support::{Setting, client, setting};

const LIMIT: Duration = Duration::from_secs(20);

async fn sql(project: &Project, text: &str) -> Result<SqlRows, MaxComputeError> {
    project.run(&Statement::new(text, Uuid::new_v4(), true), LIMIT).await
}

fn target(table: &str) -> TableRef {
    TableRef {
        project: ProjectName::new("demo").unwrap(),
        schema: Some(SchemaName::new("sales").unwrap()),
        table: TableName::new(table).unwrap(),
    }
}

fn column(name: &str, data_type: &str) -> Column {
    Column {
        name: ColumnName::new(name).unwrap(),
        data_type: data_type.parse().unwrap(),
        nullable: name != "id",
        comment: None,
    }
}

fn definition(table: &str, columns: &[(&str, &str)], partitions: &[(&str, &str)]) -> TableDefinition {
    let list = |columns: &[(&str, &str)]| columns.iter().map(|(name, text)| column(name, text)).collect();
    TableDefinition {
        target: target(table),
        kind: TableKind::Ordinary,
        columns: list(columns),
        partition_columns: list(partitions),
        primary_key: Vec::new(),
        comment: Some("it's a table".to_owned()),
        lifecycle_days: Some(7),
        properties: BTreeMap::from([("mms.source".to_owned(), "dataSources/ds".to_owned())]),
    }
}

/// Makes the schema and the table.
async fn create(project: &Project, definition: &TableDefinition) {
    assert_eq!(definition.validate(), []);
    let (name, schema) = (&definition.target.project, definition.target.schema.as_ref().unwrap());
    project.create_schema(name, schema).await.unwrap();
    project.create_schema(name, schema).await.unwrap();
    assert!(project.schema_exists(name, schema).await.unwrap());
    let text = ddl::create_table(definition);
    sql(project, &text).await.unwrap();
    sql(project, &text).await.unwrap();
}

async fn open(project: &Project, table: &TableRef, partition: Option<&PartitionSpec>) -> UploadSession {
    let tunnel = project.tunnel().await.unwrap();
    tunnel.create_upload(table, partition, WriteMode::Overwrite, PartitionMode::MustExist).await.unwrap()
}

async fn count(project: &Project, table: &TableRef) -> u64 {
    sql(project, &ddl::count(table, &[], &[])).await.unwrap().single_number().unwrap()
}

const EVERY_TYPE: &[(&str, &str)] = &[
    ("id", "bigint"),
    ("flag", "boolean"),
    ("ratio", "double"),
    ("price", "decimal(10,2)"),
    ("name", "string"),
    ("raw", "binary"),
    ("day", "date"),
    ("at_ms", "datetime"),
    ("at", "timestamp"),
    ("wall", "timestamp_ntz"),
    ("list", "array<int>"),
    ("pairs", "map<string,bigint>"),
    ("pair", "struct<x:int,y:string>"),
    ("tiny", "tinyint"),
    ("small", "smallint"),
    ("whole", "int"),
    ("single", "float"),
    ("word", "varchar(10)"),
    ("code", "char(5)"),
    ("doc", "json"),
    ("deep", "array<struct<k:string,v:map<string,array<int>>>>"),
];

/// Four types within each other: filled, with NULL at every level, NULL.
fn deep(data_type: &DataType) -> ArrayRef {
    let DataType::List(item) = data_type else { panic!("a list") };
    let DataType::Struct(item_fields) = item.data_type() else { panic!("a struct") };
    let DataType::Map(entries, _) = item_fields[1].data_type() else { panic!("a map") };
    let DataType::Struct(entry_fields) = entries.data_type() else { panic!("entries") };
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), None]);
    let keys = Arc::new(StringArray::from(vec!["m", "n"]));
    let pairs = StructArray::new(entry_fields.clone(), vec![keys, Arc::new(lists)], None);
    let maps = MapArray::new(entries.clone(), OffsetBuffer::new(vec![0, 2, 2].into()), pairs, None, false);
    let names = Arc::new(StringArray::from(vec![Some("a"), None]));
    let items = StructArray::new(item_fields.clone(), vec![names, Arc::new(maps)], None);
    let there = NullBuffer::from(vec![true, true, false]);
    Arc::new(ListArray::new(item.clone(), OffsetBuffer::new(vec![0, 1, 2, 2].into()), Arc::new(items), Some(there)))
}

/// Three rows of every type: values, extremes, NULLs.
fn every_type(schema: &SchemaRef, base: i64) -> RecordBatch {
    let field = |name: &str| schema.field_with_name(name).unwrap().data_type().clone();
    let nanos = TimestampNanosecondArray::from(vec![Some(i64::MIN + 1), Some(i64::MAX), None]);
    let DataType::Map(entries, _) = field("pairs") else { panic!("a map") };
    let DataType::Struct(entry_fields) = entries.data_type().clone() else { panic!("entries") };
    let pairs = StructArray::new(
        entry_fields,
        vec![Arc::new(StringArray::from(vec!["a", "b"])), Arc::new(Int64Array::from(vec![Some(base), None]))],
        None,
    );
    let DataType::Struct(pair_fields) = field("pair") else { panic!("a struct") };
    let pair_columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(1), None, Some(3)])),
        Arc::new(StringArray::from(vec![Some("x"), Some(""), None])),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![base, base + 1, base + 2])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        Arc::new(Float64Array::from(vec![Some(-0.5), Some(f64::MAX), None])),
        Arc::new(
            Decimal128Array::from(vec![Some(-9_999_999_999), Some(1), None]).with_precision_and_scale(10, 2).unwrap(),
        ),
        Arc::new(StringArray::from(vec![Some("中文🙂"), Some(""), None])),
        Arc::new(BinaryArray::from(vec![Some(&[0_u8, 255][..]), Some(&[][..]), None])),
        Arc::new(Date32Array::from(vec![Some(-700_000), Some(2_932_896), None])),
        Arc::new(TimestampMillisecondArray::from(vec![Some(-1), Some(1_709_210_096_789), None])),
        Arc::new(nanos.clone()),
        Arc::new(nanos),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
            Some(vec![Some(1), None]),
            Some(vec![]),
            None,
        ])),
        Arc::new(MapArray::new(entries, OffsetBuffer::new(vec![0, 2, 2, 2].into()), pairs, None, false)),
        Arc::new(StructArray::new(pair_fields, pair_columns, None)),
        Arc::new(Int8Array::from(vec![Some(i8::MIN), Some(i8::MAX), None])),
        Arc::new(Int16Array::from(vec![Some(i16::MIN), Some(i16::MAX), None])),
        Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None])),
        Arc::new(Float32Array::from(vec![Some(f32::MIN), Some(f32::INFINITY), None])),
        Arc::new(StringArray::from(vec![Some("中文🙂4567890"), Some(""), None])),
        Arc::new(StringArray::from(vec![Some("abcde"), Some(""), None])),
        Arc::new(StringArray::from(vec![Some("{\"a\":[1,null]}"), Some("null"), None])),
        deep(&field("deep")),
    ];
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

/// All rows by ascending first column: the order of blocks is the server's affair.
fn sorted(batches: &[RecordBatch]) -> Vec<ArrayRef> {
    let all = concat_batches(batches[0].schema_ref(), batches).unwrap();
    let ids = all.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
    let mut order: Vec<u64> = (0..ids.len() as u64).collect();
    order.sort_by_key(|row| ids.value(usize::try_from(*row).unwrap()));
    let order = UInt64Array::from(order);
    all.columns().iter().map(|array| arrow::compute::take(array, &order, None).unwrap()).collect()
}

#[tokio::test]
async fn every_type_and_every_codec_come_back_the_same() {
    let setting = setting().await;
    for (round, region) in [None, Some("cn-hangzhou")].into_iter().enumerate() {
        let project = client(&setting.endpoint, "key", region);
        let definition = definition(&format!("all_types_{round}"), EVERY_TYPE, &[]);
        create(&project, &definition).await;
        let session = open(&project, &definition.target, None).await;
        let mut receipts = Vec::new();
        let mut written = Vec::new();
        for (id, codec) in (0_u32..).zip([Codec::None, Codec::Zstd, Codec::Lz4, Codec::Deflate]) {
            let mut block = session.open_block(id, codec).await.unwrap();
            for part in 0..2 {
                let batch = every_type(block.schema(), i64::from(id) * 100 + part * 10);
                block.write(&batch).await.unwrap();
                written.push(batch);
            }
            receipts.push(block.finish().await.unwrap());
        }
        assert_eq!(count(&project, &definition.target).await, 0, "nothing is visible before the commit");
        session.check_blocks(&receipts).await.unwrap();
        session.commit(LIMIT).await.unwrap();
        assert_eq!(count(&project, &definition.target).await, 24);
        let download = project.tunnel().await.unwrap().create_download(&definition.target, None).await.unwrap();
        assert_eq!(download.record_count, 24);
        assert_eq!(sorted(&download.read_all().await.unwrap()), sorted(&written));
        let mut part = download.open(5..9).await.unwrap();
        let mut rows = 0;
        while let Some(batch) = part.next_batch().await.unwrap() {
            rows += batch.num_rows();
        }
        assert_eq!(rows, 4);
    }
}

#[tokio::test]
async fn a_table_is_what_its_definition_says() {
    let Setting { project, _far_end, _dir, .. } = setting().await;
    let definition = definition("orders", EVERY_TYPE, &[("pt", "string"), ("h", "int")]);
    assert_eq!(project.table(&definition.target).await.unwrap(), None);
    create(&project, &definition).await;
    let table = project.table(&definition.target).await.unwrap().unwrap();
    assert_eq!(table.columns, definition.columns);
    let types = |columns: &[Column]| columns.iter().map(|c| (c.name.clone(), c.data_type.clone())).collect::<Vec<_>>();
    assert_eq!(types(&table.partition_columns), types(&definition.partition_columns));
    assert_eq!((table.comment, table.lifecycle_days), (definition.comment.clone(), Some(7)));
    assert_eq!(table.properties.get("mms.source").map(String::as_str), Some("dataSources/ds"));
    assert!(!table.is_view);
    assert!(project.info().await.unwrap().has_schemas());
    let schemas = project.schemas(&definition.target.project).await.unwrap();
    assert!(schemas.contains(&"sales".to_owned()), "{schemas:?}");
    sql(&project, &ddl::drop_table(&definition.target)).await.unwrap();
    sql(&project, &ddl::drop_table(&definition.target)).await.unwrap();
    assert_eq!(project.table(&definition.target).await.unwrap(), None);
}

fn spec(pt: &str, h: u32) -> PartitionSpec {
    let name = |text| ColumnName::new(text).unwrap();
    PartitionSpec(vec![(name("pt"), pt.to_owned()), (name("h"), h.to_string())])
}

#[tokio::test]
async fn partitions_are_made_filled_counted_and_emptied_one_by_one() {
    let Setting { project, _far_end, _dir, .. } = setting().await;
    let definition = definition("events", &[("id", "bigint")], &[("pt", "string"), ("h", "int")]);
    create(&project, &definition).await;
    let specs: Vec<PartitionSpec> =
        (0..300).map(|i| spec("a+b c", i)).chain([spec("2024-01-01 00:00:00", 1)]).collect();
    for statement in ddl::add_partitions(&definition.target, &specs) {
        sql(&project, &statement).await.unwrap();
    }
    let listed = project.partitions(&definition.target).await.unwrap();
    assert_eq!(listed.len(), specs.len());
    assert!(project.partition_exists(&definition.target, &specs[7]).await.unwrap());
    assert!(!project.partition_exists(&definition.target, &spec("none", 1)).await.unwrap());

    for (rows, at) in [(3, &specs[7]), (5, &specs[300])] {
        let session = open(&project, &definition.target, Some(at)).await;
        let mut block = session.open_block(0, Codec::Zstd).await.unwrap();
        let ids = Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef;
        block.write(&RecordBatch::try_from_iter([("id", ids)]).unwrap()).await.unwrap();
        let receipt = block.finish().await.unwrap();
        session.check_blocks(&[receipt]).await.unwrap();
        session.commit(LIMIT).await.unwrap();
    }
    let columns = &definition.partition_columns;
    let by_partition = ddl::count_by_partition(&definition.target, columns, &[specs[7].clone(), specs[300].clone()]);
    let mut rows = sql(&project, &by_partition).await.unwrap().rows;
    rows.sort();
    let text = |cells: [&str; 3]| cells.map(|cell| Some(cell.to_owned())).to_vec();
    assert_eq!(rows, [text(["2024-01-01 00:00:00", "1", "5"]), text(["a+b c", "7", "3"])]);
    let one = ddl::count(&definition.target, columns, &specs[7..8]);
    assert_eq!(sql(&project, &one).await.unwrap().single_number(), Some(3));

    sql(&project, "TRUNCATE TABLE demo.sales.events PARTITION (pt='a+b c', h='7');").await.unwrap();
    assert_eq!(sql(&project, &one).await.unwrap().single_number(), Some(0));
    assert_eq!(count(&project, &definition.target).await, 5);
    sql(&project, "ALTER TABLE demo.sales.events DROP IF EXISTS PARTITION (pt='a+b c', h='7');").await.unwrap();
    assert_eq!(project.partitions(&definition.target).await.unwrap().len(), 300);
}

#[tokio::test]
async fn a_session_is_taken_up_by_its_id() {
    let Setting { project, endpoint, _far_end, _dir } = setting().await;
    let definition = definition("taken_up", &[("id", "bigint")], &[]);
    create(&project, &definition).await;
    let first = open(&project, &definition.target, None).await;
    let mut block = first.open_block(0, Codec::Lz4).await.unwrap();
    let ids = |range| RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from_iter_values(range)) as ArrayRef)]);
    block.write(&ids(0..4).unwrap()).await.unwrap();
    let first_block = block.finish().await.unwrap();

    let tunnel = client(&endpoint, "key", None).tunnel().await.unwrap();
    let session = tunnel.upload_session(&definition.target, None, first.id());
    assert_eq!(session.status().await.unwrap(), SessionState::Normal);
    // A block that is dropped half-way leaves nothing behind.
    let mut dropped = session.open_block(1, Codec::None).await.unwrap();
    dropped.write(&ids(0..100_000).unwrap()).await.unwrap();
    drop(dropped);
    let mut block = session.open_block(2, Codec::Zstd).await.unwrap();
    block.write(&ids(4..9).unwrap()).await.unwrap();
    let second_block = block.finish().await.unwrap();
    let refused = session.check_blocks(std::slice::from_ref(&second_block)).await.unwrap_err();
    assert!(matches!(refused, MaxComputeError::BlockList { ref unexpected, .. } if *unexpected == [0]), "{refused}");
    session.check_blocks(&[first_block, second_block]).await.unwrap();
    session.commit(LIMIT).await.unwrap();
    assert_eq!(session.status().await.unwrap(), SessionState::Closed);
    // The predecessor wakes up and repeats what was done.
    first.commit(LIMIT).await.unwrap();
    assert_eq!(count(&project, &definition.target).await, 9);
    let unknown = tunnel.upload_session(&definition.target, None, "never-made");
    assert_eq!(unknown.status().await.unwrap(), SessionState::Missing);
}

#[tokio::test]
async fn refusals_are_typed() {
    let Setting { project, endpoint, _far_end, _dir } = setting().await;
    let missing = sql(&project, "SELECT COUNT(*) FROM `demo`.`default`.`nowhere`;").await.unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
    let nonsense = sql(&project, "SELEKT 1;").await.unwrap_err();
    assert_eq!(nonsense.refusal(), Some(RefusalKind::Syntax), "{nonsense}");
    let stranger = client(&endpoint, "wrong", None).info().await.unwrap_err();
    assert_eq!(stranger.refusal(), Some(RefusalKind::Unauthenticated), "{stranger}");
    let tunnel = project.tunnel().await.unwrap();
    let upload = tunnel.create_upload(&target("nowhere"), None, WriteMode::Overwrite, PartitionMode::MustExist).await;
    assert!(upload.unwrap_err().is_not_found());

    let definition = definition("narrow", &[("id", "bigint")], &[]);
    create(&project, &definition).await;
    let session = open(&project, &definition.target, None).await;
    let mut block = session.open_block(0, Codec::None).await.unwrap();
    let wrong = RecordBatch::try_from_iter([("id", Arc::new(StringArray::from(vec!["1"])) as ArrayRef)]).unwrap();
    let error = block.write(&wrong).await.unwrap_err();
    assert!(matches!(error.error, MaxComputeError::Batch(_)) && !error.may_retry(), "{error}");
}

async fn fill(project: &Project, table: &TableRef, rows: i64) {
    let session = open(project, table, None).await;
    let mut block = session.open_block(0, Codec::Zstd).await.unwrap();
    let ids = Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef;
    block.write(&RecordBatch::try_from_iter([("id", ids)]).unwrap()).await.unwrap();
    session.check_blocks(&[block.finish().await.unwrap()]).await.unwrap();
    session.commit(LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_late_copy_of_a_statement_does_nothing() {
    let Setting { project, _far_end, _dir, .. } = setting().await;
    let definition = definition("replaced", &[("id", "bigint")], &[]);
    create(&project, &definition).await;
    let drop_it = Statement::new(ddl::drop_table(&definition.target), Uuid::new_v4(), true);
    let first = project.submit(&drop_it).await.unwrap();
    project.wait(&first, LIMIT).await.unwrap();
    assert_eq!(project.table(&definition.target).await.unwrap(), None);
    create(&project, &definition).await;
    fill(&project, &definition.target, 5).await;
    // Its copy was held up somewhere, and comes when the table is made anew and full.
    assert_eq!(project.submit(&drop_it).await.unwrap().id, first.id, "the same id is the same instance");
    assert_eq!(project.ended(&first, LIMIT).await.unwrap(), InstanceState::Succeeded);
    assert_eq!(count(&project, &definition.target).await, 5);
    // Many at once are one as well.
    let drop_it = Statement::new(ddl::drop_table(&definition.target), Uuid::new_v4(), true);
    let (a, b) = tokio::join!(project.submit(&drop_it), project.submit(&drop_it));
    assert_eq!(a.unwrap().id, b.unwrap().id);
    assert_eq!(project.table(&definition.target).await.unwrap(), None);
}

#[tokio::test]
async fn a_unit_is_emptied_by_a_session_and_by_that_session_only_once() {
    let Setting { project, _far_end, _dir, .. } = setting().await;
    let definition = definition("emptied", &[("id", "bigint")], &[]);
    create(&project, &definition).await;
    fill(&project, &definition.target, 5).await;
    let session = open(&project, &definition.target, None).await;
    for _ in 0..2 {
        assert_eq!(session.write_no_rows().await.unwrap().rows, 0);
    }
    assert_eq!(count(&project, &definition.target).await, 5, "nothing is changed before the commit");
    session.commit(LIMIT).await.unwrap();
    assert_eq!(count(&project, &definition.target).await, 0);
    fill(&project, &definition.target, 7).await;
    session.commit(LIMIT).await.unwrap();
    assert_eq!(count(&project, &definition.target).await, 7, "a late commit only repeats what is done");
    let other = open(&project, &definition.target, None).await;
    let mut block = other.open_block(3, Codec::Zstd).await.unwrap();
    let ids = Arc::new(Int64Array::from_iter_values(0..1)) as ArrayRef;
    block.write(&RecordBatch::try_from_iter([("id", ids)]).unwrap()).await.unwrap();
    block.finish().await.unwrap();
    assert!(
        matches!(other.write_no_rows().await, Err(MaxComputeError::BlockList { unexpected, .. }) if unexpected == [3])
    );
}
