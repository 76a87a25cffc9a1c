//! Marks schemas and tables deleted that no longer exist at the source. Runs after everything in scope was listed, and must never
//! mark what an incomplete list may have left out.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use mms_expr::folded;
use mms_store::Scope;

use super::Reading;
use crate::error::{CatalogError, Result};
use crate::record::{Schema, Table};
use crate::store::{SCHEMAS, SchemaKey, TABLES, TableKey};

/// Records read at a time.
const PAGE: usize = 500;

impl Reading<'_> {
    /// Marks what no longer exists, then fails if the scope names something that neither the source nor the catalog has.
    pub(super) async fn mark_gone(&self) -> Result<()> {
        let scope = Scope::prefix(&(self.key.0.clone(),));
        for page in self.core.store.pages(&SCHEMAS, scope, PAGE) {
            for (key, schema) in page? {
                self.schema_gone(&key, &schema).await?;
            }
        }
        self.all_named().await
    }

    async fn schema_gone(&self, key: &SchemaKey, schema: &Schema) -> Result<()> {
        if schema.delete_time_ms != 0 || !self.lists.reaches_schema(&key.1) {
            return Ok(());
        }
        let listed = self.schemas.lock().get(&key.1).copied();
        match listed {
            // Its tables could not be listed completely, so none of them counts as deleted.
            Some(false) => Ok(()),
            Some(true) => {
                self.tables_gone(key, |key, table| {
                    table.seen != self.number && self.lists.reaches_table(&key.1, &key.2)
                })
                .await
            }
            // It may be one that was listed without a name.
            None if !self.whole.load(Ordering::Relaxed) => Ok(()),
            None => {
                self.tables_gone(key, |_, _| true).await?;
                let own = key.clone();
                self.write(move |tx, writer| writer.schema_gone(tx, &own)).await
            }
        }
    }

    async fn tables_gone(&self, schema: &SchemaKey, gone: impl Fn(&TableKey, &Table) -> bool) -> Result<()> {
        for page in self.core.store.pages(&TABLES, Scope::prefix(schema), PAGE) {
            let stale = page?.into_iter().filter(|(key, table)| table.delete_time_ms == 0 && gone(key, table));
            let keys: Vec<TableKey> = stale.map(|(key, _)| key).collect();
            if !keys.is_empty() {
                self.write(move |tx, writer| writer.tables_gone(tx, &keys)).await?;
            }
        }
        Ok(())
    }

    /// A scope that names something that neither the source nor the catalog has is a mistake that the caller must learn of.
    async fn all_named(&self) -> Result<()> {
        let mut schemas: BTreeSet<&str> = self.lists.named_schemas().iter().map(String::as_str).collect();
        let mut tables: BTreeSet<(String, String)> = self.lists.named_tables().iter().cloned().collect();
        let scope = (self.key.0.clone(),);
        for page in self.core.store.pages(&SCHEMAS, Scope::prefix(&scope), PAGE) {
            for (key, _) in page? {
                schemas.remove(folded(&key.1).as_str());
            }
        }
        for page in self.core.store.pages(&TABLES, Scope::prefix(&scope), PAGE) {
            if tables.is_empty() {
                break;
            }
            for (key, _) in page? {
                tables.remove(&(folded(&key.1), folded(&key.2)));
            }
            // A catalog may have very many tables.
            tokio::task::yield_now().await;
        }
        let tables = tables.iter().map(|(schema, table)| format!("table {schema}.{table}"));
        let missing: Vec<String> = schemas.iter().map(|schema| format!("schema {schema}")).chain(tables).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names = missing.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
        Err(CatalogError::Unusable {
            data_source: crate::key::source_name(&self.key.0),
            what: format!("it has no {names}, or its lists leave it out"),
        })
    }
}
