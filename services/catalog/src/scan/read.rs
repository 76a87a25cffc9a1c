//! Reading a source's catalog: schemas, their tables, and each table's log, a bounded number of calls at a time. What
//! cannot be read of one object is noted on it; only what keeps the whole from being read is an error here.
//!
//! Listing and reading run side by side. Nothing here waits for room while it holds a call or an open exchange: what
//! is not polled does not go on, and would keep others from it.

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

/// Most metadata calls at once, whatever is asked for.
const CONCURRENCY_MAX: usize = 64;
/// Tables that were listed and wait to be read: enough to keep the readers busy, whatever the size of the catalog.
const QUEUE: usize = 256;

/// One scan at work.
pub struct Reading<'a> {
    core: &'a Core,
    key: ScanKey,
    number: u64,
    lists: Lists,
    concurrency: usize,
    calls: Semaphore,
    /// By schema that is to be read: whether all its tables were listed.
    schemas: Mutex<BTreeMap<String, bool>>,
    /// Whether the list of schemas could be read whole: else nobody knows which are gone.
    whole: AtomicBool,
    /// Schemas whose tables are still to be listed.
    unlisted: AtomicUsize,
}

impl<'a> Reading<'a> {
    /// Prepares to read what the scan and the lists of its source ask for.
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

    /// Reads everything in scope.
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

    /// What this scan writes at this moment.
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

    /// The right to make one call to the workspace or to open one log. Held across that call only.
    async fn call(&self) -> Option<SemaphorePermit<'_>> {
        self.calls.acquire().await.ok()
    }

    /// Both ends as they are configured now: a scan may outlive a session, and a rotated token must reach it.
    async fn source(&self) -> Result<Arc<Source>> {
        patiently(TEN_MINUTES, || self.core.sources.get(&self.key.0)).await
    }

    /// Asks something of the source; once more through a new session when the token is refused.
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

    /// Notes why a schema could not be read; its tables stay as they are.
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
