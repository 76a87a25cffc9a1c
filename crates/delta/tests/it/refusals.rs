//! Tables and files that must be refused rather than read wrongly.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::{files, open, read, rows, store};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use futures::{StreamExt, TryStreamExt, stream};
use mms_delta::{DeltaError, ReadOptions, SourceFile, read_files};
use mms_sandbox::samples::{DeltaWriter, SampleError, TableSpec, VectorStorage};

fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(range));
    RecordBatch::try_from_iter([("id", ids)]).unwrap()
}

/// A table of two files of 1,000 rows.
fn table(folder: &Path) -> (PathBuf, DeltaWriter) {
    let dir = folder.join("t");
    let spec = TableSpec { rows_per_file: 1_000, deletion_vectors: true, ..TableSpec::new(numbers(0..0).schema(), 0) };
    let mut writer = DeltaWriter::create(&dir, spec).unwrap();
    writer.append([Ok::<_, SampleError>(numbers(0..1_000)), Ok(numbers(1_000..2_000))]).unwrap();
    (dir, writer)
}

/// Replaces text in a commit.
fn edit(table: &Path, version: u64, from: &str, to: &str) {
    let path = table.join(format!("_delta_log/{version:020}.json"));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

async fn refused(table: &Path, version: Option<u64>) -> DeltaError {
    open(table, version).await.expect_err("this table must be refused")
}

#[tokio::test]
async fn what_is_no_table_or_not_at_this_version_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, _) = table(folder.path());
    let error = refused(&folder.path().join("absent"), None).await;
    assert!(matches!(error, DeltaError::NotDelta { .. }), "{error:?}");
    let error = refused(&dir, Some(7)).await;
    assert!(matches!(error, DeltaError::VersionGone { version: 7, .. }), "{error:?}");
    fs::remove_file(dir.join("_delta_log/00000000000000000000.json")).unwrap();
    let error = refused(&dir, Some(1)).await;
    assert!(matches!(error, DeltaError::VersionGone { version: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn features_that_this_reader_lacks_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, _) = table(folder.path());
    edit(&dir, 0, "[\"deletionVectors\"]", "[\"deletionVectors\",\"columnMappingOfTomorrow\"]");
    let error = refused(&dir, None).await;
    assert!(
        matches!(&error, DeltaError::Unsupported { reason, .. } if reason.contains("columnMappingOfTomorrow")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_table_that_its_catalog_manages_is_refused_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, _) = table(folder.path());
    edit(&dir, 0, "\"readerFeatures\":[", "\"readerFeatures\":[\"catalogManaged\",");
    edit(&dir, 0, "\"writerFeatures\":[", "\"writerFeatures\":[\"catalogManaged\",\"inCommitTimestamp\",");
    edit(&dir, 0, "\"configuration\":{", "\"configuration\":{\"delta.enableInCommitTimestamps\":\"true\",");
    let error = refused(&dir, None).await;
    assert!(matches!(error, DeltaError::CatalogManaged { .. }), "{error:?}");
}

#[tokio::test]
async fn a_log_that_leads_out_of_the_root_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, _) = table(folder.path());
    edit(&dir, 1, "\"path\":\"part-00000", "\"path\":\"../other/part-00000");
    let found: Result<Vec<SourceFile>, _> = open(&dir, None).await.unwrap().scan_files().try_collect().await;
    assert!(matches!(found, Err(DeltaError::OutsideRoot { .. })), "{found:?}");
}

#[tokio::test]
async fn a_file_that_went_or_changed_is_a_changed_source() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, _) = table(folder.path());
    let snapshot = open(&dir, None).await.unwrap();
    let planned = files(&snapshot).await;
    let path = dir.join(&planned[1].path);
    let bytes = fs::read(&path).unwrap();
    for (case, content) in [("replaced", Some([b"more", &bytes[..]].concat())), ("gone", None)] {
        fs::remove_file(&path).unwrap();
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let error = read(snapshot.shape(), planned.clone()).await.unwrap_err();
        assert!(
            matches!(&error, DeltaError::SourceChanged { path, .. } if path.starts_with(&planned[1].path)),
            "{case}: {error:?}"
        );
    }
    fs::write(&path, vec![0; bytes.len()]).unwrap();
    let error = read(snapshot.shape(), planned.clone()).await.unwrap_err();
    assert!(matches!(error, DeltaError::UnreadableFile { .. }), "{error:?}");
}

#[tokio::test]
async fn rows_that_the_log_did_not_count_are_an_error_at_the_end_of_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, mut writer) = table(folder.path());
    writer.delete(0, &[3, 4], VectorStorage::File).unwrap();
    let snapshot = open(&dir, None).await.unwrap();
    let planned = files(&snapshot).await;
    let with_vector = planned.iter().position(|f| f.deletion_vector.is_some()).unwrap();
    let mut wrong = planned.clone();
    wrong[0].rows = wrong[0].rows.map(|rows| rows - 1);
    let error = read(snapshot.shape(), wrong).await.unwrap_err();
    assert!(matches!(error, DeltaError::RowCount { what: "rows", .. }), "{error:?}");
    let mut wrong = planned.clone();
    wrong[with_vector].deletion_vector.as_mut().unwrap().cardinality = 3;
    let error = read(snapshot.shape(), wrong).await.unwrap_err();
    assert!(matches!(error, DeltaError::RowCount { what: "deleted rows", expected: 3, found: 2, .. }), "{error:?}");
    fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "bin"))
        .for_each(|vector| fs::remove_file(vector).unwrap());
    let error = read(snapshot.shape(), planned).await.unwrap_err();
    assert!(matches!(error, DeltaError::SourceChanged { .. }), "{error:?}");
}

#[tokio::test]
async fn a_list_of_files_that_breaks_off_does_not_look_complete() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, _) = table(folder.path());
    let snapshot = open(&dir, None).await.unwrap();
    let first = files(&snapshot).await.remove(0);
    let list = stream::iter([Ok(first), Err(std::io::Error::other("the scheduler went away"))]);
    let items: Vec<_> = read_files(snapshot.shape(), store(), list, ReadOptions::default()).collect().await;
    assert!(matches!(items.last(), Some(Err(DeltaError::Manifest(_)))), "{:?}", items.last());
    assert!(matches!(items.first(), Some(Ok(batch)) if batch.index == 0));
}

#[tokio::test]
async fn the_same_files_give_the_same_batches_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, mut writer) = table(folder.path());
    writer.delete(1, &(0..500).collect::<Vec<_>>(), VectorStorage::Inline).unwrap();
    let snapshot = open(&dir, None).await.unwrap();
    let options = ReadOptions { batch_rows: std::num::NonZero::new(300).unwrap(), ..ReadOptions::default() };
    let mut reads = Vec::new();
    for _ in 0..2 {
        let list = stream::iter(files(&snapshot).await).map(Ok::<_, DeltaError>);
        let batches: Vec<_> = read_files(snapshot.shape(), store(), list, options.clone()).try_collect().await.unwrap();
        assert!(batches.is_sorted_by_key(|b| b.index));
        assert!(batches.iter().all(|b| (1..=300).contains(&b.batch.num_rows())));
        reads.push(batches.into_iter().map(|b| (b.index, b.batch)).collect::<Vec<_>>());
    }
    assert_eq!(reads[0], reads[1]);
    // From any row of any file on the same rows come again, and each tells its index in its file.
    let list = files(&snapshot).await;
    for (skip, first_row) in [(0, 0), (0, 250), (1, 400), (1, 501), (1, 999)] {
        let rest = stream::iter(list.clone().into_iter().skip(skip)).map(Ok::<_, DeltaError>);
        let from = ReadOptions { first_row, ..options.clone() };
        let batches: Vec<_> = read_files(snapshot.shape(), store(), rest, from).try_collect().await.unwrap();
        let place = |b: &mms_delta::FileBatch| (0..b.batch.num_rows()).map(|i| b.row_in_file(i)).collect::<Vec<_>>();
        let of_first: Vec<u64> = batches.iter().filter(|b| b.index == 0).flat_map(place).collect();
        let deleted = if list[skip].deletion_vector.is_some() { 500 } else { 0 };
        assert_eq!(of_first, (first_row.max(deleted)..1_000).collect::<Vec<_>>(), "from {skip} {first_row}");
    }
    assert_eq!(rows(&snapshot).await.iter().map(RecordBatch::num_rows).sum::<usize>(), 1_500);
}

#[tokio::test]
async fn what_was_deleted_is_not_judged() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("t");
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let batch = RecordBatch::try_from_iter_with_nullable([("id", ids, true)]).unwrap();
    let spec = TableSpec { deletion_vectors: true, ..TableSpec::new(batch.schema(), 0) };
    let mut writer = DeltaWriter::create(&dir, spec).unwrap();
    writer.append([Ok::<_, SampleError>(batch)]).unwrap();
    // A schema that says NOT NULL over a NULL, as writers leave it that do not check.
    edit(&dir, 0, r#"\"nullable\":true"#, r#"\"nullable\":false"#);
    let error = read(open(&dir, None).await.unwrap().shape(), files(&open(&dir, None).await.unwrap()).await).await;
    assert!(matches!(error, Err(DeltaError::Column { row: Some(1), .. })), "{error:?}");
    writer.delete(0, &[1], VectorStorage::Inline).unwrap();
    let found = rows(&open(&dir, None).await.unwrap()).await;
    assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}
