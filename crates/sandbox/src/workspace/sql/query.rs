//! Computes the answers to statements, with the Delta reader that workers use. A result is a schema and batches, passed
//! on one by one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, Scalar, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::{and_kleene, cast, filter_record_batch, is_not_null, is_null, kernels::cmp};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{OwnedRow, RowConverter, SortField};
use futures::StreamExt;
use mms_delta::{DeltaTable, ReadOptions, Snapshot, read_files};
use object_store::local::LocalFileSystem;
use serde_json::Value;
use url::Url;

use super::super::folder;
use super::super::objects::State;
use super::statement::{Ask, Condition, Item, Refused, Select};

/// The most groups of a query.
const GROUPS_MAX: usize = 1_000_000;

/// Receives a result: its schema once, then its batches.
pub trait Sink: Send {
    fn begin(&mut self, schema: SchemaRef) -> Result<(), Refused>;
    fn batch(&mut self, batch: RecordBatch) -> Result<(), Refused>;
}

fn internal(error: impl std::fmt::Display) -> Refused {
    Refused::new("INTERNAL_ERROR", "XX000", error.to_string())
}

fn no_column(name: &str) -> Refused {
    Refused::new("UNRESOLVED_COLUMN.WITHOUT_SUGGESTION", "42703", format!("there is no column `{name}`"))
}

/// Computes the result of a statement into `sink`.
pub async fn answer(state: &State, ask: Ask, sink: &mut impl Sink) -> Result<(), Refused> {
    match ask {
        Ask::Nothing => sink.begin(Arc::new(Schema::empty())),
        Ask::Number(number) => {
            let values: ArrayRef = Arc::new(Int64Array::from(vec![number]));
            give(sink, vec![(number.to_string(), values)])
        }
        Ask::Detail(name) => detail(&table(state, &name)?, &name, sink).await,
        Ask::History(name) => history(&table(state, &name)?, sink),
        Ask::Select(select) => {
            let path = table(state, &select.table)?;
            run(&path, *select, sink).await
        }
    }
}

fn give(sink: &mut impl Sink, columns: Vec<(String, ArrayRef)>) -> Result<(), Refused> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, values)| Field::new(name, values.data_type().clone(), true)).collect();
    let batch =
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, values)| values).collect());
    let batch = batch.map_err(internal)?;
    sink.begin(batch.schema())?;
    sink.batch(batch)
}

fn table(state: &State, name: &[String]) -> Result<PathBuf, Refused> {
    let shown = name.iter().map(|part| format!("`{part}`")).collect::<Vec<_>>().join(".");
    let missing =
        || Refused::new("TABLE_OR_VIEW_NOT_FOUND", "42P01", format!("The table or view {shown} cannot be found."));
    let [catalog, schema, table] = name else { return Err(missing()) };
    let path = state.folder.table(schema, table).filter(|_| *catalog == state.catalog).ok_or_else(missing)?;
    let shown = folder::shown(&path).map_err(internal)?;
    match shown.get("table_type").and_then(Value::as_str) {
        Some("VIEW" | "MATERIALIZED_VIEW" | "FOREIGN") => {
            Err(Refused::new("UNSUPPORTED_FEATURE", "0A000", "views have no rows here"))
        }
        _ => Ok(path),
    }
}

async fn open(path: &Path, version: Option<u64>) -> Result<Snapshot, Refused> {
    let url = Url::from_directory_path(path).map_err(|()| internal("the folder has no address"))?;
    let store = Arc::new(LocalFileSystem::new());
    let gone = |error| Refused::new("DELTA_VERSION_NOT_FOUND", "22003", format!("{error}"));
    DeltaTable::open(store, &url, version).await.map_err(gone)
}

async fn run(path: &Path, select: Select, sink: &mut impl Sink) -> Result<(), Refused> {
    let snapshot = open(path, select.version).await?;
    let schema = snapshot.arrow_schema().clone();
    // Spark ignores the case of names.
    let at = |name: &str| {
        let found = schema.fields().iter().position(|field| field.name().to_lowercase() == name.to_lowercase());
        found.ok_or_else(|| no_column(name))
    };
    let filter = select.filter.iter().map(|condition| match condition {
        Condition::IsNull(name, null) => Ok((at(name)?, Test::Null(*null))),
        Condition::Equals(name, text) => {
            let column = at(name)?;
            Ok((column, Test::Equals(literal(text, schema.field(column).data_type())?)))
        }
    });
    let filter: Vec<(usize, Test)> = filter.collect::<Result<_, Refused>>()?;
    let all = || schema.fields().iter().map(|field| Item::Column(field.name().clone(), field.name().clone())).collect();
    let items = select.items.unwrap_or_else(all);
    let counts = items.iter().any(|item| matches!(item, Item::Count(_)));
    let mut groups = select.groups.iter().map(|name| at(name)).collect::<Result<Vec<_>, _>>()?;
    let mut chosen = Vec::new();
    for item in &items {
        chosen.push(match item {
            Item::Column(name, _) => Some(at(name)?),
            Item::Count(_) => None,
        });
    }
    let grouped = counts || !groups.is_empty();
    if grouped && chosen.iter().flatten().any(|column| !groups.contains(column)) {
        return Err(Refused::new("MISSING_AGGREGATION", "42803", "a column is neither grouped by nor counted"));
    }
    let fields = items.iter().zip(&chosen).map(|(item, column)| match (item, column) {
        (Item::Column(_, alias), Some(column)) => schema.field(*column).clone().with_name(alias),
        (Item::Column(_, alias) | Item::Count(alias), _) => Field::new(alias, DataType::Int64, false),
    });
    let given: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    sink.begin(given.clone())?;
    let mut batches =
        read_files(snapshot.shape(), Arc::new(LocalFileSystem::new()), snapshot.scan_files(), ReadOptions::default());
    let mut left = select.limit.unwrap_or(u64::MAX);
    groups.dedup();
    let sorts = groups.iter().map(|column| SortField::new(schema.field(*column).data_type().clone())).collect();
    let rows = RowConverter::new(sorts).map_err(internal)?;
    let mut sums: BTreeMap<OwnedRow, i64> = BTreeMap::new();
    let mut total = 0_i64;
    while let Some(read) = batches.next().await {
        let batch = kept(read.map_err(internal)?.batch, &filter)?;
        if !grouped {
            let columns = chosen.iter().flatten().map(|column| batch.column(*column).clone()).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let batch = RecordBatch::try_new_with_options(given.clone(), columns, &options).map_err(internal)?;
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(batch.num_rows());
            left -= take as u64;
            sink.batch(batch.slice(0, take))?;
            if left == 0 {
                break;
            }
            continue;
        }
        total += i64::try_from(batch.num_rows()).unwrap_or(0);
        if !groups.is_empty() {
            let columns: Vec<ArrayRef> = groups.iter().map(|column| batch.column(*column).clone()).collect();
            for row in &rows.convert_columns(&columns).map_err(internal)? {
                *sums.entry(row.owned()).or_default() += 1;
            }
            if sums.len() > GROUPS_MAX {
                return Err(Refused::new("UNSUPPORTED_FEATURE", "0A000", format!("more than {GROUPS_MAX} groups")));
            }
        }
    }
    if !grouped {
        return Ok(());
    }
    let keys = rows.convert_rows(sums.keys().map(OwnedRow::row)).map_err(internal)?;
    let numbers = match groups.is_empty() {
        true => Int64Array::from(vec![total]),
        false => Int64Array::from_iter_values(sums.into_values()),
    };
    let numbers: ArrayRef = Arc::new(numbers);
    let columns = chosen.iter().map(|column| match column {
        None => Some(numbers.clone()),
        Some(column) => keys.get(groups.iter().position(|group| group == column)?).cloned(),
    });
    let columns = columns.collect::<Option<Vec<_>>>().ok_or_else(|| internal("a group is missing"))?;
    sink.batch(RecordBatch::try_new(given, columns).map_err(internal)?)
}

enum Test {
    Null(bool),
    Equals(Scalar<ArrayRef>),
}

/// A literal as a value of its column's type.
fn literal(text: &str, data_type: &DataType) -> Result<Scalar<ArrayRef>, Refused> {
    let wrong = |error| Refused::new("CAST_INVALID_INPUT", "22018", format!("{text:?} is no {data_type}: {error}"));
    let texts: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let value = match data_type {
        DataType::Timestamp(unit, zone) => {
            // The cast cannot parse times with a named zone, so the text is read as a local time; sessions are in UTC.
            let local = cast(&texts, &DataType::Timestamp(*unit, None)).map_err(wrong)?;
            let local = local.as_any().downcast_ref::<TimestampMicrosecondArray>().cloned();
            let local = local.ok_or_else(|| internal("timestamps are in microseconds"))?;
            Arc::new(local.with_timezone_opt(zone.clone())) as ArrayRef
        }
        _ => cast(&texts, data_type).map_err(wrong)?,
    };
    if value.is_null(0) {
        return Err(Refused::new("CAST_INVALID_INPUT", "22018", format!("{text:?} is no {data_type}")));
    }
    Ok(Scalar::new(value))
}

fn kept(batch: RecordBatch, filter: &[(usize, Test)]) -> Result<RecordBatch, Refused> {
    let mut all: Option<BooleanArray> = None;
    for (column, test) in filter {
        let column = batch.column(*column);
        let passed = match test {
            Test::Null(true) => is_null(column),
            Test::Null(false) => is_not_null(column),
            Test::Equals(value) => cmp::eq(column, value),
        };
        let passed = passed.map_err(internal)?;
        all = Some(match all {
            Some(before) => and_kleene(&before, &passed).map_err(internal)?,
            None => passed,
        });
    }
    match all {
        Some(all) => filter_record_batch(&batch, &all).map_err(internal),
        None => Ok(batch),
    }
}

fn history(path: &Path, sink: &mut impl Sink) -> Result<(), Refused> {
    let (mut versions, mut times, mut operations) = (Vec::new(), Vec::new(), Vec::new());
    for entry in std::fs::read_dir(path.join("_delta_log")).map_err(internal)? {
        let path = entry.map_err(internal)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(version) = name
            .strip_suffix(".json")
            .filter(|digits| digits.len() == 20)
            .and_then(|digits| digits.parse::<i64>().ok())
        else {
            continue;
        };
        let text = std::fs::read_to_string(&path).map_err(internal)?;
        let actions = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let info = actions.into_iter().find_map(|mut action| action.get_mut("commitInfo").map(Value::take));
        versions.push((version, info.unwrap_or_default()));
    }
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    for (_, info) in &versions {
        times.push(info.get("timestamp").and_then(Value::as_i64).map(|ms| ms.saturating_mul(1000)));
        operations.push(info.get("operation").and_then(Value::as_str).map(str::to_owned));
    }
    give(
        sink,
        vec![
            (
                "version".to_owned(),
                Arc::new(Int64Array::from_iter_values(versions.iter().map(|(version, _)| *version))),
            ),
            ("timestamp".to_owned(), Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
            ("operation".to_owned(), Arc::new(StringArray::from(operations))),
        ],
    )
}

async fn detail(path: &Path, name: &[String], sink: &mut impl Sink) -> Result<(), Refused> {
    let snapshot = open(path, None).await?;
    let mut files = snapshot.scan_files();
    let (mut count, mut bytes) = (0_i64, 0_i64);
    while let Some(file) = files.next().await {
        count += 1;
        bytes = bytes.saturating_add(i64::try_from(file.map_err(internal)?.size).unwrap_or(i64::MAX));
    }
    let text = |value: String| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let number = |value: i64| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    give(
        sink,
        vec![
            ("format".to_owned(), text("delta".to_owned())),
            ("id".to_owned(), text(snapshot.table_id().to_owned())),
            ("name".to_owned(), text(name.join("."))),
            ("location".to_owned(), text(snapshot.shape().root().to_string())),
            ("numFiles".to_owned(), number(count)),
            ("sizeInBytes".to_owned(), number(bytes)),
            ("minReaderVersion".to_owned(), number(snapshot.min_reader_version().into())),
        ],
    )
}
