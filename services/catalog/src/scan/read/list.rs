//! Lists the schemas in scope and the tables of each, and passes the tables page by page to the readers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::Reading;
use crate::error::{CatalogError, Result};
use crate::source::Source;

/// The queue of listed tables, as (schema, table).
type Found = mpsc::Sender<(String, String)>;

/// The last part of a full name.
fn short(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_owned()
}

impl Reading<'_> {
    pub(super) async fn list_schemas(&self, source: Arc<Source>) -> Result<Vec<String>> {
        let mut pages = source.workspace.list_schemas(&source.catalog)?;
        let mut taken = BTreeSet::new();
        while let Some(page) = pages.next().await? {
            for schema in page.items {
                if !self.lists.keep_schema(&schema.name) || !self.lists.reaches_schema(&schema.name) {
                    continue;
                }
                let key = self.schema_key(&schema.name);
                let said = (schema.comment.unwrap_or_default(), schema.owner.unwrap_or_default());
                self.write(move |tx, writer| writer.schema(tx, &key, Some(said), String::new())).await?;
                self.schemas.lock().insert(schema.name.clone(), false);
                taken.insert(schema.name);
            }
            for unreadable in page.unreadable {
                let Some(name) = unreadable.name else {
                    self.nameless_schema(&unreadable.what).await?;
                    continue;
                };
                let name = short(&name, &format!("{}.", source.catalog));
                if self.lists.keep_schema(&name) && self.lists.reaches_schema(&name) {
                    self.schema_failed(&name, unreadable.what).await?;
                }
            }
        }
        Ok(taken.into_iter().collect())
    }

    /// A schema without a readable name has no record to store the error on: it is counted as failed, and no missing schema
    /// counts as deleted.
    async fn nameless_schema(&self, what: &str) -> Result<()> {
        tracing::warn!(
            scan = crate::key::scan_name(&self.key),
            what,
            "the workspace listed a schema without a name: it counts as failed"
        );
        self.whole.store(false, Ordering::Relaxed);
        self.write(|tx, writer| writer.count(tx, |progress| progress.schemas_failed += 1)).await
    }

    /// Passes the tables of a schema that are in scope to the readers.
    pub(super) async fn list_tables(&self, schema: String, found: Found) -> Result<()> {
        // The tables that an earlier attempt with another session has passed on already.
        let known = Mutex::new(BTreeSet::new());
        let listed = self.asked(|source| self.list_pages(source, &schema, &known, &found)).await;
        match listed {
            Ok(nameless) if nameless.is_empty() => drop(self.schemas.lock().insert(schema, true)),
            Ok(nameless) => {
                self.schema_failed(&schema, format!("a table without a name was listed: {nameless}")).await?
            }
            Err(error) if error.is_of_one_object() => self.schema_failed(&schema, error.to_string()).await?,
            Err(error) => return Err(error),
        }
        let last = self.unlisted.fetch_sub(1, Ordering::AcqRel) == 1;
        if last {
            self.write(|tx, writer| writer.count(tx, |progress| progress.listing_done = true)).await?;
        }
        Ok(())
    }

    /// Reads all pages of a schema's tables. Returns what was wrong with a table that has no name, or an empty text.
    async fn list_pages(
        &self,
        source: Arc<Source>,
        schema: &str,
        known: &Mutex<BTreeSet<String>>,
        found: &Found,
    ) -> Result<String> {
        let mut nameless = String::new();
        let mut pages = source.workspace.list_tables(&source.catalog, schema)?;
        loop {
            let page = {
                let _call = self.call().await;
                pages.next().await?
            };
            let Some(page) = page else { return Ok(nameless) };
            let (mut taken, mut broken) = (Vec::new(), Vec::new());
            {
                let mut known = known.lock();
                let mut take = |name: &str| self.lists.take_table(schema, name) && known.insert(name.to_owned());
                taken.extend(page.items.into_iter().map(|table| table.name).filter(|name| take(name)));
                let prefix = format!("{}.{schema}.", source.catalog);
                for unreadable in page.unreadable {
                    match unreadable.name.map(|name| short(&name, &prefix)) {
                        Some(name) if take(&name) => broken.push((name, unreadable.what)),
                        Some(_) => {}
                        None => nameless = unreadable.what,
                    }
                }
            }
            let count = i64::try_from(taken.len() + broken.len()).unwrap_or(i64::MAX);
            if count > 0 {
                self.write(move |tx, writer| writer.count(tx, |progress| progress.tables_found += count)).await?;
            }
            for (table, why) in broken {
                self.table_failed(schema, &table, None, why).await?;
            }
            for table in taken {
                // The queue is closed only when a reader has failed, which ends the scan.
                let gone = |_| CatalogError::ScanEnded(crate::key::scan_name(&self.key));
                found.send((schema.to_owned(), table)).await.map_err(gone)?;
            }
        }
    }
}
