//! A store for as long as somebody reads through it: it is opened anew when its credential is another by now, and what a
//! credential was refused is asked once more with the next one. When there is another, and which, its owner knows.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Mutex;

use crate::refusal::refusal;

/// Opens a store with the credential that there is now.
pub trait Reopen: Send + Sync + 'static {
    /// The store, if it is another than the one that was given last; with `refused`, the credential of that one was.
    fn reopened(&self, refused: bool) -> BoxFuture<'_, Option<Arc<dyn ObjectStore>>>;
}

/// The store whose credential is the present one.
pub struct LiveStore {
    /// With how often it was opened.
    store: Mutex<(u64, Arc<dyn ObjectStore>)>,
    reopen: Box<dyn Reopen>,
}

impl LiveStore {
    /// Begins with a store that `reopen` counts as the one it gave last.
    pub fn new(store: Arc<dyn ObjectStore>, reopen: impl Reopen) -> Self {
        Self { store: Mutex::new((0, store)), reopen: Box::new(reopen) }
    }

    /// The store to ask now; one asks whether it is the present one, and the others wait for that.
    async fn now(&self, refused: Option<u64>) -> (u64, Arc<dyn ObjectStore>) {
        let mut held = self.store.lock().await;
        // Somebody else may have been refused as well, and have opened it anew by now.
        if refused.is_none_or(|refused| refused == held.0)
            && let Some(newer) = self.reopen.reopened(refused.is_some()).await
        {
            *held = (held.0 + 1, newer);
        }
        (held.0, Arc::clone(&held.1))
    }
}

impl fmt::Debug for LiveStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveStore")
    }
}

impl fmt::Display for LiveStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveStore")
    }
}

fn read_only<T>(operation: &str) -> Result<T> {
    Err(Error::NotImplemented { operation: operation.to_owned(), implementer: "LiveStore".to_owned() })
}

#[async_trait]
impl ObjectStore for LiveStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (opened, store) = self.now(None).await;
        let first = store.get_opts(location, options.clone()).await;
        match first {
            Err(error) if refusal(&error).is_some_and(|refused| refused.why.is_of_credential()) => {
                let (newer, store) = self.now(Some(opened)).await;
                if newer == opened { Err(error) } else { store.get_opts(location, options).await }
            }
            other => other,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let reads = stream::iter(ranges.to_vec()).then(|range| self.get_range(location, range));
        reads.try_collect().await
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        // Who reads files knows their names.
        stream::once(async { read_only("list") }).boxed()
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
#[path = "live_tests.rs"]
mod tests;
