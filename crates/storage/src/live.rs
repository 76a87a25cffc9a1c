//! A store that stays usable while its credential changes. It is reopened when there is a newer credential, and a request that
//! was refused because of its credential is sent once more with the next one. The owner ([`Reopen`]) knows when there is another
//! credential, and which.

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

/// Opens a store with the present credential.
pub trait Reopen: Send + Sync + 'static {
    /// The store, if it is another one than was returned last. `refused`: the credential of that one was refused.
    fn reopened(&self, refused: bool) -> BoxFuture<'_, Option<Arc<dyn ObjectStore>>>;
}

/// A store that always uses the present credential.
pub struct LiveStore {
    /// The store, and how often it was reopened.
    store: Mutex<(u64, Arc<dyn ObjectStore>)>,
    reopen: Box<dyn Reopen>,
}

impl LiveStore {
    /// Begins with a store that `reopen` counts as the one it returned last.
    pub fn new(store: Arc<dyn ObjectStore>, reopen: impl Reopen) -> Self {
        Self { store: Mutex::new((0, store)), reopen: Box::new(reopen) }
    }

    /// The store to use now. One caller asks the owner whether it is still the present one; the others wait for the answer.
    async fn now(&self, refused: Option<u64>) -> (u64, Arc<dyn ObjectStore>) {
        let mut held = self.store.lock().await;
        // Another caller may have been refused as well and have reopened the store already.
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
        // Listing is not supported: callers know the names of the files they read.
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
