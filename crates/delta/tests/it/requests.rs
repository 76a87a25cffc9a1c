//! Which requests a store gets while files are read: few, hardly a byte that is not needed, the next ones while the last are
//! decoded, and all of the same version of a file.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::ArrayRef;
use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use mms_delta::{
    DeltaError, DeltaTable, FileBatch, FilePins, LoggedFile, ReadOptions, Snapshot, SourceFile, TableShape, read_files,
};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parquet::file::properties::WriterProperties;
use serde_json::json;
use url::Url;

use crate::common::files;
use crate::handmade::{Table, batch, field, longs};

const MIB: usize = 1 << 20;

/// Name of the file, and the requested range.
type Request = (String, Range<u64>);

/// The local file system, with a record of its requests.
#[derive(Debug, Default)]
pub struct Counting {
    files: LocalFileSystem,
    asked: Mutex<Vec<Request>>,
    lists: Mutex<usize>,
}

impl Counting {
    fn of(&self, name: &str) -> Vec<Range<u64>> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(known, _)| known == name).map(|(_, range)| range.clone()).collect()
    }

    fn by_name(&self) -> BTreeMap<String, usize> {
        let mut counted = BTreeMap::new();
        self.asked.lock().unwrap().iter().for_each(|(name, _)| *counted.entry(name.clone()).or_default() += 1);
        counted
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counting")
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        let range = match &options.range {
            Some(GetRange::Bounded(range)) => range.clone(),
            Some(GetRange::Offset(start)) => *start..u64::MAX,
            Some(GetRange::Suffix(length)) => u64::MAX - length..u64::MAX,
            None => 0..u64::MAX,
        };
        let name = location.filename().unwrap_or_default().to_owned();
        self.asked.lock().unwrap().push((name, range));
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &ObjectPath, ranges: &[Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        let reads = stream::iter(ranges.to_vec()).then(|range| self.get_range(location, range));
        reads.try_collect().await
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        *self.lists.lock().unwrap() += 1;
        self.files.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&ObjectPath>,
        offset: &ObjectPath,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        *self.lists.lock().unwrap() += 1;
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn put_opts(&self, path: &ObjectPath, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.files.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &ObjectPath,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<ObjectPath>>) -> BoxStream<'static, Result<ObjectPath>> {
        self.files.delete_stream(paths)
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }
}

/// Numbers that no encoding compresses.
fn noise(rows: usize, seed: u64) -> ArrayRef {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.cast_signed()
    };
    longs(&(0..rows).map(next).collect::<Vec<_>>())
}

/// A table of two columns, with files of these sizes and row groups of these sizes, in bytes.
fn table(sizes: &[(usize, usize)]) -> Table {
    let mut table = Table::new();
    let adds: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(number, (bytes, group))| {
            let rows = bytes / 16;
            let properties = WriterProperties::builder()
                .set_dictionary_enabled(false)
                .set_max_row_group_row_count(Some(group / 16))
                .build();
            let seed = number as u64 + 1;
            let rows = batch(&[("a", noise(rows, seed)), ("b", noise(rows, seed + 100))]);
            table.file_with(&format!("{number}.parquet"), &rows, properties)
        })
        .collect();
    let fields = [field("a", "long"), field("b", "long")];
    table.begin(json!({ "minReaderVersion": 1, "minWriterVersion": 2 }), &fields, &[], json!({}), &adds);
    table
}

async fn opened(table: &Table, store: &Arc<Counting>) -> Snapshot {
    DeltaTable::open(store.clone(), &Url::from_directory_path(&table.dir).unwrap(), None).await.unwrap()
}

fn read(
    shape: &TableShape,
    store: &Arc<Counting>,
    files: Vec<SourceFile>,
    options: ReadOptions,
) -> BoxStream<'static, Result<FileBatch, DeltaError>> {
    read_files(shape, store.clone(), stream::iter(files).map(Ok::<_, DeltaError>), options)
}

#[tokio::test]
async fn a_file_takes_few_requests_and_hardly_a_byte_twice() {
    // One row group; many small ones; groups of a size in between; and a file that fits into the first request.
    let sizes = [(20 * MIB, 20 * MIB), (20 * MIB, MIB), (20 * MIB, 5 * MIB), (9 * MIB, 3 * MIB), (20_000, 20_000)];
    let (table, store) = (table(&sizes), Arc::new(Counting::default()));
    let snapshot = opened(&table, &store).await;
    let files = files(&snapshot).await;
    let rows: Vec<FileBatch> =
        read(snapshot.shape(), &store, files.clone(), ReadOptions::default()).try_collect().await.unwrap();
    assert_eq!(
        rows.iter().map(|read| read.batch.num_rows()).sum::<usize>(),
        sizes.iter().map(|(b, _)| b / 16).sum::<usize>()
    );
    for file in files {
        let asked = store.of(&file.path);
        let bytes: u64 = asked.iter().map(|range| range.end - range.start).sum();
        let most = 3 + file.size / (8 * MIB as u64);
        assert!(asked.len() as u64 <= most, "{}: {} requests, at most {most}: {asked:?}", file.path, asked.len());
        assert!(bytes * 100 <= file.size * 105, "{}: {bytes} bytes of {}: {asked:?}", file.path, file.size);
    }
    assert_eq!(store.of("4.parquet").len(), 1);
}

/// Waits until the store was asked for something ahead of its use.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_next_row_groups_and_the_next_file_are_fetched_while_these_are_read() {
    let (table, store) = (table(&[(40 * MIB, 4 * MIB), (MIB, MIB)]), Arc::new(Counting::default()));
    let snapshot = opened(&table, &store).await;
    let mut rows = read(snapshot.shape(), &store, files(&snapshot).await, ReadOptions::default());
    let first = rows.next().await.unwrap().unwrap();
    assert_eq!((first.index, first.rows.start), (0, 0));
    // Its end, the current row groups, and the next ones; nothing beyond.
    until("row groups are fetched ahead", || store.of("0.parquet").len() >= 3).await;
    until("the next file is opened", || store.of("1.parquet").len() == 1).await;
    assert!(store.of("0.parquet").len() <= 4, "{:?}", store.of("0.parquet"));
    drop(rows);
}

#[tokio::test]
async fn a_file_that_is_replaced_between_two_reads_is_another_file() {
    let (table, store) = (table(&[(MIB, MIB)]), Arc::new(Counting::default()));
    let snapshot = opened(&table, &store).await;
    let (files, pins) = (files(&snapshot).await, FilePins::default());
    let options = ReadOptions { pins, ..ReadOptions::default() };
    let whole = |options: ReadOptions| read(snapshot.shape(), &store, files.clone(), options).try_collect::<Vec<_>>();
    assert!(!whole(options.clone()).await.unwrap().is_empty());
    assert!(whole(options.clone()).await.is_ok(), "it is the same");
    let file = table.dir.join("0.parquet");
    std::fs::copy(&file, table.dir.join("copy")).unwrap();
    std::fs::rename(table.dir.join("copy"), &file).unwrap();
    let before = store.of("0.parquet").len();
    let error = whole(options).await.unwrap_err();
    assert!(matches!(error, DeltaError::SourceChanged { .. }) && !error.is_transient(), "{error}");
    assert_eq!(store.of("0.parquet").len() - before, 1, "it is asked for once");
    assert!(whole(ReadOptions::default()).await.is_ok(), "another attempt reads what is there");
}

#[tokio::test]
async fn a_log_is_read_so_often_and_no_more() {
    let mut table = table(&[(1600, 1600)]);
    for _ in 0..4 {
        table.commit(&[json!({ "commitInfo": { "timestamp": 0 } })]);
    }
    let store = Arc::new(Counting::default());
    let snapshot = opened(&table, &store).await;
    let count = |files: &mut u64, _: &LoggedFile<'_>| {
        *files += 1;
        ControlFlow::Continue(())
    };
    assert_eq!(snapshot.fold_files(0_u64, count).await.unwrap(), 1);
    let asked = store.by_name();
    let commits: Vec<usize> = asked.iter().filter(|(name, _)| name.ends_with(".json")).map(|(_, n)| *n).collect();
    assert_eq!(commits.len(), 5, "{asked:?}");
    assert!(commits.iter().all(|reads| *reads <= COMMIT_READS), "{asked:?}");
    assert!(*store.lists.lock().unwrap() <= LISTS, "{asked:?}");
}

/// Most reads of one commit: for protocol and metadata, for its time, and for its files.
const COMMIT_READS: usize = 3;
/// Most listings of a log.
const LISTS: usize = 1;
