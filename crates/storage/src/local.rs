//! A folder of this machine as a read-only object store. It checks each file before opening it: symbolic links must lead to a
//! file inside the folder, and only regular files are opened, since a FIFO would block forever and a device must not be read.

use std::fmt;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path as FilePath, PathBuf};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// The folder of one table.
#[derive(Debug)]
pub(crate) struct LocalFolder {
    files: LocalFileSystem,
    folder: PathBuf,
}

impl LocalFolder {
    pub(crate) fn new(folder: &FilePath) -> Self {
        Self { files: LocalFileSystem::new(), folder: folder.to_owned() }
    }
}

impl fmt::Display for LocalFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalFolder({})", self.folder.display())
    }
}

/// Why a file is not opened.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("it leads out of the table's folder: put the file there, links out are not followed")]
    Outside,
    #[error("it is no regular file: only those are opened")]
    NotRegular,
    #[error("it was changed while it was opened")]
    Changed,
}

fn refuse(path: &FilePath, why: Refused) -> Error {
    Error::PermissionDenied { path: path.display().to_string(), source: Box::new(why) }
}

fn failed(path: &FilePath, error: io::Error) -> Error {
    let (path, source) = (path.display().to_string(), Box::new(error));
    match source.kind() {
        ErrorKind::NotFound => Error::NotFound { path, source },
        ErrorKind::PermissionDenied => Error::PermissionDenied { path, source },
        _ => Error::Generic { store: "local files", source },
    }
}

/// The canonical path, with links resolved; it must be inside the folder.
fn real(folder: &FilePath, path: &FilePath) -> Result<PathBuf> {
    let found = path.canonicalize().map_err(|error| failed(path, error))?;
    let folder = folder.canonicalize().map_err(|error| failed(folder, error))?;
    if found.starts_with(folder) { Ok(found) } else { Err(refuse(path, Refused::Outside)) }
}

/// The metadata of a file that may be opened.
fn judge(folder: &FilePath, path: &FilePath) -> Result<Metadata> {
    let real = real(folder, path)?;
    let found = fs::symlink_metadata(&real).map_err(|error| failed(path, error))?;
    if found.is_file() {
        Ok(found)
    } else if found.is_dir() {
        // The error that object stores return for a folder.
        Err(failed(path, io::Error::new(ErrorKind::NotFound, "is a folder")))
    } else {
        Err(refuse(path, Refused::NotRegular))
    }
}

/// Every file below `dir`. Links to folders are not followed, since they may form a cycle.
fn walk(folder: &FilePath, dir: &FilePath, found: &mut Vec<ObjectMeta>) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(|error| failed(dir, error))? {
        let entry = entry.map_err(|error| failed(dir, error))?;
        let path = entry.path();
        if entry.file_type().map_err(|error| failed(&path, error))?.is_dir() {
            walk(folder, &path, found)?;
            continue;
        }
        let (metadata, location) = (judge(folder, &path)?, Path::from_absolute_path(&path)?);
        let modified = metadata.modified().map_err(|error| failed(&path, error))?;
        let size = metadata.len();
        found.push(ObjectMeta { location, last_modified: modified.into(), size, e_tag: None, version: None });
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn read_only<T>(operation: &str) -> Result<T> {
    let (operation, implementer) = (operation.to_owned(), "LocalFolder".to_owned());
    Err(Error::NotImplemented { operation, implementer })
}

#[async_trait]
impl ObjectStore for LocalFolder {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let path = self.files.path_to_filesystem(location)?;
        let (folder, judged_path) = (self.folder.clone(), path.clone());
        let judged = blocking(move || judge(&folder, &judged_path)).await?;
        let result = self.files.get_opts(location, options).await?;
        // Checks that the opened file is the checked one, even if the path was changed in between.
        if let GetResultPayload::File(file, _) = &result.payload {
            let opened = file.metadata().map_err(|error| failed(&path, error))?;
            if (opened.dev(), opened.ino()) != (judged.dev(), judged.ino()) {
                return Err(refuse(&path, Refused::Changed));
            }
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        let reads = stream::iter(ranges.to_vec()).then(|range| self.get_range(location, range));
        reads.try_collect().await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let dir = prefix.map_or_else(|| Ok(self.folder.clone()), |prefix| self.files.path_to_filesystem(prefix));
        let folder = self.folder.clone();
        let listed = blocking(move || {
            let (dir, mut found) = (dir?, Vec::new());
            match real(&folder, &dir).and_then(|_| walk(&folder, &dir, &mut found)) {
                // As in every object store, a folder without files does not exist.
                Err(Error::NotFound { .. }) => Ok(found),
                walked => walked.map(|()| found),
            }
        });
        let listed = stream::once(listed).map_ok(|found| stream::iter(found.into_iter().map(Ok)));
        listed.try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        read_only("list_with_delimiter")
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        read_only("put")
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        read_only("put")
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        stream::once(async { read_only("delete") }).boxed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        read_only("copy")
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
