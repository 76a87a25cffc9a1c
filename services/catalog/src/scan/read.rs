//! Reading a source's catalog: schemas, their tables, and each table's log, a bounded number of calls at a time. What
//! cannot be read of one object is noted on it; only what keeps the whole from being read is an error here.

mod gone;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::apply::Writer;
use crate::core::Core;
use crate::error::Result;
use crate::lists::Lists;
use crate::record::Scan;
use crate::source::Source;
use crate::store::{ScanKey, SchemaKey};

/// Most metadata calls at once, whatever is asked for.
const CONCURRENCY_MAX: usize = 64;

/// One scan at work.
pub struct Reading<'a> {
    core: &'a Core,
    key: ScanKey,
    number: u64,
    source: Arc<Source>,
    lists: Lists,
    concurrency: usize,
    calls: Semaphore,
    /// By schema that is to be read: whether all its tables were listed.
    schemas: Mutex<BTreeMap<String, bool>>,
    /// Schemas whose tables are still to be listed.
    unlisted: AtomicUsize,
}

impl<'a> Reading<'a> {
    /// Prepares to read what the scan and the lists of its source ask for.
    pub fn new(core: &'a Core, key: &ScanKey, scan: &Scan, source: Arc<Source>) -> Self {
        let wanted = usize::try_from(source.settings.metadata_concurrency).unwrap_or(0);
        let concurrency = if wanted == 0 { core.bounds.metadata_concurrency } else { wanted }.clamp(1, CONCURRENCY_MAX);
        let lists = Lists::new(&source.settings, &scan.schemas, &scan.tables);
        Self {
            core,
            key: key.clone(),
            number: scan.number,
            source,
            lists,
            concurrency,
            calls: Semaphore::new(concurrency),
            schemas: Mutex::default(),
            unlisted: AtomicUsize::new(0),
        }
    }

    /// Reads everything in scope.
    pub async fn run(&self) -> Result<()> {
        let schemas = self.list_schemas().await?;
        self.unlisted.store(schemas.len(), Ordering::Relaxed);
        let found = i64::try_from(schemas.len()).unwrap_or(i64::MAX);
        self.write(move |tx, writer| {
            writer.count(tx, |progress| {
                progress.schemas_found = found;
                progress.listing_done = found == 0;
            })
        })
        .await?;
        stream::iter(schemas)
            .map(|schema| self.list_tables(schema))
            .buffer_unordered(self.concurrency)
            .map_ok(|tables| stream::iter(tables).map(Ok))
            .try_flatten()
            .map_ok(|(schema, table)| self.read_table(schema, table))
            .try_buffer_unordered(self.concurrency)
            .try_collect::<()>()
            .await?;
        self.mark_gone().await
    }

    /// What this scan writes at this moment.
    fn writer(&self) -> Writer {
        Writer { key: self.key.clone(), number: self.number, now_ms: self.core.now_ms() }
    }

    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut mms_store::Tx<'_>, &Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let writer = self.writer();
        self.core.store.commit(move |tx| write(tx, &writer)).await
    }

    /// The right to make one call to the workspace or to open one log.
    async fn call(&self) -> Option<SemaphorePermit<'_>> {
        self.calls.acquire().await.ok()
    }

    fn schema_key(&self, schema: &str) -> SchemaKey {
        (self.key.0.clone(), schema.to_owned())
    }

    async fn list_schemas(&self) -> Result<Vec<String>> {
        let mut pages = self.source.workspace.list_schemas(&self.source.catalog)?;
        let mut taken = Vec::new();
        while let Some(page) = pages.next().await? {
            for schema in page.items {
                if !self.lists.keep_schema(&schema.name) || !self.lists.reaches_schema(&schema.name) {
                    continue;
                }
                let key = self.schema_key(&schema.name);
                let said = (schema.comment.unwrap_or_default(), schema.owner.unwrap_or_default());
                self.write(move |tx, writer| writer.schema(tx, &key, Some(said), String::new())).await?;
                self.schemas.lock().insert(schema.name.clone(), false);
                taken.push(schema.name);
            }
            for unreadable in page.unreadable {
                let prefix = format!("{}.", self.source.catalog);
                let Some(name) = unreadable.name else { continue };
                let name = name.strip_prefix(&prefix).unwrap_or(&name).to_owned();
                if self.lists.keep_schema(&name) && self.lists.reaches_schema(&name) {
                    self.schema_failed(&name, unreadable.what).await?;
                }
            }
        }
        Ok(taken)
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

    /// The tables of a schema that are to be read.
    async fn list_tables(&self, schema: String) -> Result<Vec<(String, String)>> {
        let (mut taken, mut broken) = (Vec::new(), Vec::new());
        let listed = self.list_pages(&schema, &mut taken, &mut broken).await;
        let last = self.unlisted.fetch_sub(1, Ordering::AcqRel) == 1;
        if let Err(error) = listed {
            self.schema_failed(&schema, error.to_string()).await?;
        } else {
            self.schemas.lock().insert(schema.clone(), true);
        }
        let found = i64::try_from(taken.len() + broken.len()).unwrap_or(i64::MAX);
        self.write(move |tx, writer| {
            writer.count(tx, |progress| {
                progress.tables_found += found;
                progress.listing_done |= last;
            })
        })
        .await?;
        for (table, why) in broken {
            self.table_failed(&schema, &table, None, why).await?;
        }
        Ok(taken.into_iter().map(|table| (schema.clone(), table)).collect())
    }

    async fn list_pages(
        &self,
        schema: &str,
        taken: &mut Vec<String>,
        broken: &mut Vec<(String, String)>,
    ) -> Result<()> {
        let mut pages = self.source.workspace.list_tables(&self.source.catalog, schema)?;
        loop {
            let page = {
                let _call = self.call().await;
                pages.next().await?
            };
            let Some(page) = page else { return Ok(()) };
            let names = page.items.into_iter().map(|table| table.name);
            taken.extend(names.filter(|name| self.lists.take_table(schema, name)));
            let prefix = format!("{}.{schema}.", self.source.catalog);
            for unreadable in page.unreadable {
                let Some(name) = unreadable.name else { continue };
                let name = name.strip_prefix(&prefix).unwrap_or(&name).to_owned();
                if self.lists.take_table(schema, &name) {
                    broken.push((name, unreadable.what));
                }
            }
        }
    }
}
