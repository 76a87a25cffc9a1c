//! The memory that a worker takes for tables of three shapes: many columns, many partitions, wide columns. Each is
//! judged against a bound that follows from the table: 64 MiB, plus one row group's columns for each task at once, 4
//! MiB for each open block, and what is fetched ahead. For wide columns it is two row groups' columns: besides the
//! stored bytes of a row group, each column has a page and a dictionary of up to a MiB, both unpacked.

#![allow(clippy::print_stdout, reason = "the proof prints its figures")]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use mms_sandbox::samples::{DeltaWriter, SampleError, TableSpec};
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::memory::{scale, tell, transfer};

/// Rows in a batch that is written.
const ROWS: usize = 8192;
/// Tasks that a worker does at once, each with one open block.
const SLOTS: u64 = 2;

/// MiB of row groups that a task may fetch ahead, so that it does not wait for its storage between row groups: a
/// sixteenth of a slot's memory.
const AHEAD: u64 = 32;

/// A column of one of eight kinds, with values that neither repeat nor compress well.
fn column(kind: usize, rows: usize, rng: &mut fastrand::Rng) -> ArrayRef {
    let optional = |value: i64| (value % 11 != 0).then_some(value);
    match kind % 8 {
        0 => Arc::new(Int64Array::from_iter_values((0..rows).map(|_| rng.i64(..)))),
        1 => Arc::new(Int32Array::from_iter((0..rows).map(|_| rng.bool().then(|| rng.i32(..))))),
        2 => Arc::new(Float64Array::from_iter_values((0..rows).map(|_| rng.f64()))),
        3 => Arc::new(StringArray::from_iter_values((0..rows).map(|_| text(24, rng)))),
        4 => {
            let cents = Decimal128Array::from_iter((0..rows).map(|_| optional(rng.i64(0..1 << 40)).map(i128::from)));
            Arc::new(cents.with_precision_and_scale(18, 2).expect("18 digits hold it"))
        }
        5 => Arc::new(Date32Array::from_iter_values((0..rows).map(|_| rng.i32(0..20_000)))),
        6 => {
            let micros = (0..rows).map(|_| optional(rng.i64(0..1_700_000_000_000_000)));
            Arc::new(TimestampMicrosecondArray::from_iter(micros).with_timezone("UTC"))
        }
        _ => Arc::new(BooleanArray::from_iter((0..rows).map(|_| Some(rng.bool())))),
    }
}

fn text(bytes: usize, rng: &mut fastrand::Rng) -> String {
    (0..bytes).map(|_| rng.alphanumeric()).collect()
}

fn batch(columns: Vec<ArrayRef>) -> Result<RecordBatch, SampleError> {
    let named = columns.into_iter().enumerate().map(|(at, column)| (format!("c{at}"), column, true));
    Ok(RecordBatch::try_from_iter_with_nullable(named)?)
}

fn write(
    table: &Path,
    partitioned: bool,
    batches: impl Iterator<Item = Result<RecordBatch, SampleError>>,
) -> anyhow::Result<()> {
    let mut batches = batches.peekable();
    let Some(Ok(first)) = batches.peek() else { anyhow::bail!("no rows") };
    let partition_columns = if partitioned { vec!["c0".to_owned()] } else { Vec::new() };
    let spec = TableSpec { partition_columns, ..TableSpec::new(first.schema(), 1_700_000_000_000) };
    let mut writer = DeltaWriter::create(table, spec)?;
    // Few batches per commit, because a commit keeps the files of its partitions open.
    loop {
        let some: Vec<_> = batches.by_ref().take(40).collect();
        if some.is_empty() {
            return Ok(());
        }
        writer.append(some)?;
    }
}

/// The most bytes that the columns of one row group of the table take uncompressed.
fn row_group_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut most = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            most = most.max(row_group_bytes(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            let file = SerializedFileReader::new(File::open(&path)?)?;
            let groups = file.metadata().row_groups().iter().map(|group| group.total_byte_size().unsigned_abs());
            most = groups.fold(most, u64::max);
        }
    }
    Ok(most)
}

async fn judge(
    what: &str,
    tasks: u64,
    groups: u64,
    write: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    let table = root.join("shapes/shape");
    write(&table)?;
    let figures = Box::pin(transfer(folder.path(), &root)).await?;
    tell(what, &figures);
    let group = row_group_bytes(&table)?;
    let at_once = tasks.min(SLOTS);
    let bound = 64 + (at_once * groups * group).div_ceil(1 << 20) + at_once * (4 + AHEAD);
    println!("    at most {bound} MiB: a row group has {:.1} MiB, {at_once} tasks at once", group as f64 / 1048576.0);
    anyhow::ensure!(figures.peak <= bound, "{what}: {} MiB, more than {bound}", figures.peak);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_columns() -> anyhow::Result<()> {
    let rows = (20e6 * scale()) as usize;
    Box::pin(judge("16 columns", 1, 1, |table| {
        let mut rng = fastrand::Rng::with_seed(16);
        let columns = |rng: &mut _| (0..16).map(|kind| column(kind, ROWS, rng)).collect();
        write(table, false, (0..rows / ROWS).map(|_| batch(columns(&mut rng))))
    }))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_partitions() -> anyhow::Result<()> {
    let rows = (20e6 * scale()) as usize / 83;
    Box::pin(judge("83 partitions", 42, 1, |table| {
        let mut rng = fastrand::Rng::with_seed(83);
        let columns = |day: i32, rng: &mut _| {
            let day: ArrayRef = Arc::new(Int32Array::from_iter_values(std::iter::repeat_n(day, rows)));
            std::iter::once(day).chain((0..12).map(|kind| column(kind, rows, rng))).collect()
        };
        write(table, true, (0..83).map(|day| batch(columns(day, &mut rng))))
    }))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_wide_columns() -> anyhow::Result<()> {
    let rows = (3e6 * scale()) as usize;
    Box::pin(judge("50 wide columns", 1, 2, |table| {
        let mut rng = fastrand::Rng::with_seed(50);
        let wide = |rng: &mut _| StringArray::from_iter_values((0..ROWS).map(|_| text(64, rng)));
        let columns = |rng: &mut _| (0..50).map(|_| Arc::new(wide(rng)) as ArrayRef).collect();
        write(table, false, (0..rows.div_ceil(ROWS)).map(|_| batch(columns(&mut rng))))
    }))
    .await
}
