//! Measures how long it takes to read a log: as a scan does, as a plan does, and as a stream of files.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on says where")]

#[path = "../tests/it/many_files.rs"]
mod many_files;

use std::ops::ControlFlow;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use futures::TryStreamExt;
use mms_delta::{DeltaTable, FileList, LoggedFile, Snapshot, SourceFile, TableTotals};
use object_store::local::LocalFileSystem;
use url::Url;

const FILES: u64 = 20_000;

fn main() {
    divan::main();
}

/// Measures the reading of a log that is commits only, or a checkpoint.
fn bench<T>(bencher: Bencher<'_, '_>, checkpoint: bool, read: impl AsyncFn(Snapshot) -> T) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    many_files::many_files(folder.path(), FILES, FILES / 100, checkpoint);
    let root = Url::from_directory_path(folder.path().canonicalize().unwrap()).unwrap();
    let open = || DeltaTable::open(Arc::new(LocalFileSystem::new()), &root, None);
    bencher.counter(ItemsCount::new(FILES)).bench_local(|| {
        runtime.block_on(async { read(open().await.unwrap()).await });
    });
}

#[divan::bench(args = [false, true], sample_count = 10)]
fn totals(bencher: Bencher<'_, '_>, checkpoint: bool) {
    bench(bencher, checkpoint, async |snapshot| {
        let add = |totals: &mut TableTotals, file: &LoggedFile<'_>| {
            totals.add(file);
            ControlFlow::Continue(())
        };
        snapshot.fold_files(TableTotals::default(), add).await.unwrap()
    });
}

#[divan::bench(args = [false, true], sample_count = 10)]
fn list(bencher: Bencher<'_, '_>, checkpoint: bool) {
    bench(bencher, checkpoint, async |snapshot| {
        let add = |list: &mut FileList, file: &LoggedFile<'_>| {
            list.add(file).unwrap();
            ControlFlow::Continue(())
        };
        snapshot.fold_files(FileList::new(usize::MAX), add).await.unwrap()
    });
}

#[divan::bench(args = [false, true], sample_count = 10)]
fn stream(bencher: Bencher<'_, '_>, checkpoint: bool) {
    bench(bencher, checkpoint, async |snapshot| snapshot.scan_files().try_collect::<Vec<SourceFile>>().await.unwrap());
}
