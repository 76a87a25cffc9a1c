//! Reads a source's catalog: schemas, their tables, and each table's log, with a bounded number of concurrent calls. An error
//! that concerns one object is stored on it; only what keeps the whole catalog from being read is an error here.
//!
//! Listing and reading run side by side in one task. Nothing may wait for room in the queue while it holds a call or an open
//! exchange: futures that are not polled make no progress, and would keep the permits that others need.

mod gone;
mod list;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::{StreamExt, TryStreamExt, stream};
use mms_databricks::RefusalKind;
use mms_server::patiently;
use mms_server::peer::TEN_MINUTES;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::apply::Writer;
use crate::core::Core;
use crate::error::{CatalogError, Result};
use crate::lists::Lists;
use crate::record::Scan;
use crate::source::Source;
use crate::store::{ScanKey, SchemaKey};

/// Upper bound of concurrent metadata calls, whatever the settings say.
const CONCURRENCY_MAX: usize = 64;
/// Listed tables that wait to be read: enough to keep the readers busy, and independent of the catalog's size.
const QUEUE: usize = 256;

/// A running scan.
pub struct Reading<'a> {
    core: &'a Core,
    key: ScanKey,
    number: u64,
    lists: Lists,
    concurrency: usize,
    calls: Semaphore,
    /// By name of each schema in scope: whether all its tables were listed.
    schemas: Mutex<BTreeMap<String, bool>>,
    /// Whether the complete list of schemas was read. If not, no schema that is missing from it may count as deleted.
    whole: AtomicBool,
    /// How many schemas still have tables to list.
    unlisted: AtomicUsize,
}

impl<'a> Reading<'a> {
    /// Prepares to read what the scan's scope and the data source's lists include.
    pub fn new(core: &'a Core, key: &ScanKey, scan: &Scan, source: &Source) -> Self {
        let wanted = usize::try_from(source.settings.metadata_concurrency).unwrap_or(0);
        let concurrency = if wanted == 0 { core.bounds.metadata_concurrency } else { wanted }.clamp(1, CONCURRENCY_MAX);
        let lists = Lists::new(&source.settings, &scan.schemas, &scan.tables);
        Self {
            core,
            key: key.clone(),
            number: scan.number,
            lists,
            concurrency,
            calls: Semaphore::new(concurrency),
            schemas: Mutex::default(),
            whole: AtomicBool::new(true),
            unlisted: AtomicUsize::new(0),
        }
    }

    /// Reads everything in scope, then marks what no longer exists.
    pub async fn run(&self) -> Result<()> {
        let schemas = self.asked(|source| self.list_schemas(source)).await?;
        self.unlisted.store(schemas.len(), Ordering::Relaxed);
        let found = i64::try_from(schemas.len()).unwrap_or(i64::MAX);
        self.write(move |tx, writer| {
            writer.count(tx, |progress| {
                progress.schemas_found = found;
                progress.listing_done = found == 0;
            })
        })
        .await?;
        let (found, waiting) = mpsc::channel(QUEUE);
        let list = async move {
            stream::iter(schemas)
                .map(|schema| self.list_tables(schema, found.clone()))
                .buffer_unordered(self.concurrency)
                .try_collect::<()>()
                .await
        };
        let read = ReceiverStream::new(waiting)
            .map(|(schema, table)| self.read_table(schema, table))
            .buffer_unordered(self.concurrency)
            .try_collect::<()>();
        tokio::try_join!(list, read)?;
        self.mark_gone().await
    }

    /// The writer of this scan, with the present time.
    fn writer(&self) -> Writer {
        let counted = self.core.scanned.clone();
        Writer { key: self.key.clone(), number: self.number, now_ms: self.core.now_ms(), counted }
    }

    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut mms_store::Tx<'_>, &Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let writer = self.writer();
        self.core.store.commit(move |tx| write(tx, &writer)).await
    }

    /// A permit for one call to the workspace, or for reading one log. Held for that call only.
    async fn call(&self) -> Option<SemaphorePermit<'_>> {
        self.calls.acquire().await.ok()
    }

    /// The clients as the data source is configured now: a scan may outlive a session, and must use a rotated token.
    async fn source(&self) -> Result<Arc<Source>> {
        patiently(TEN_MINUTES, || self.core.sources.get(&self.key.0)).await
    }

    /// Makes a call to the source, and repeats it once with a new session if the token is rejected.
    async fn asked<T, F: Future<Output = Result<T>>>(&self, ask: impl Fn(Arc<Source>) -> F) -> Result<T> {
        let source = self.source().await?;
        match ask(Arc::clone(&source)).await {
            Err(CatalogError::Workspace(error)) if error.refusal() == Some(RefusalKind::Unauthenticated) => {
                ask(patiently(TEN_MINUTES, || self.core.sources.instead_of(&self.key.0, &source)).await?).await
            }
            other => other,
        }
    }

    fn schema_key(&self, schema: &str) -> SchemaKey {
        (self.key.0.clone(), schema.to_owned())
    }

    /// Stores why a schema could not be read. Its tables stay as they are.
    async fn schema_failed(&self, schema: &str, why: String) -> Result<()> {
        self.schemas.lock().insert(schema.to_owned(), false);
        let key = self.schema_key(schema);
        self.write(move |tx, writer| {
            writer.schema(tx, &key, None, why)?;
            writer.count(tx, |progress| progress.schemas_failed += 1)
        })
        .await
    }
}
