//! Reading one table: its description, its log, and writing both in pieces that a commit bears.

use mms_databricks::TableInfo;
use mms_store::{Read, Scope};

use super::Reading;
use crate::error::{CatalogError, Result};
use crate::record::{Table, TableFacts};
use crate::scan::facts::{self, FoundPartition};
use crate::store::{PARTITIONS, TABLES, TableKey};

/// Partitions in one commit.
const CHUNK: usize = 1000;

/// What was read of a table.
struct Found {
    facts: TableFacts,
    /// None: the log is at the version of the last scan, so its partitions are as they were.
    partitions: Option<Vec<FoundPartition>>,
    /// Why its log could not be read; empty when it could, or when it has none.
    error: String,
}

impl Reading<'_> {
    /// Reads one table; what cannot be read of it is noted on it.
    pub(super) async fn read_table(&self, schema: String, table: String) -> Result<()> {
        let key: TableKey = (self.key.0.clone(), schema.clone(), table.clone());
        let known = self.core.store.read(|read| read.get(&TABLES, &key))?;
        if let Some(read) = known.as_ref().filter(|known| known.seen == self.number) {
            // Read before a restart.
            let failed = !read.scan_error.is_empty();
            let found = usize::try_from(read.partitions.total()).unwrap_or(0);
            return self.write(move |tx, writer| writer.table_read(tx, &key, found, 0, failed)).await;
        }
        let info = {
            let _call = self.call().await;
            self.source.workspace.get_table(&self.source.catalog, &schema, &table).await
        };
        match info {
            Ok(info) => {
                let found = self.look(&info, known.as_ref()).await;
                self.write_table(key, found).await
            }
            // Dropped since it was listed: it is marked with the others that are gone.
            Err(error) if error.is_not_found() => {
                self.write(|tx, writer| writer.count(tx, |progress| progress.tables_read += 1)).await
            }
            Err(error) => self.table_failed(&schema, &table, None, error.to_string()).await,
        }
    }

    /// Notes why a table could not be read.
    pub(super) async fn table_failed(
        &self,
        schema: &str,
        table: &str,
        facts: Option<TableFacts>,
        why: String,
    ) -> Result<()> {
        let key: TableKey = (self.key.0.clone(), schema.to_owned(), table.to_owned());
        self.write(move |tx, writer| {
            writer.table(tx, &key, facts, &why, &[])?;
            writer.table_read(tx, &key, 0, 0, true)
        })
        .await
    }

    async fn look(&self, info: &TableInfo, known: Option<&Table>) -> Found {
        let mut facts = facts::of_workspace(info);
        if !facts::is_delta(info) || self.source.cannot_read().is_some() {
            return Found { facts, partitions: None, error: String::new() };
        }
        let read = self.read_log(info, &mut facts, known).await;
        match read {
            Ok(partitions) => Found { facts, partitions, error: String::new() },
            Err(error) => {
                if let Some(known) = known {
                    // What was known of the log stays: it is what the partitions say too.
                    facts.version.clone_from(&known.facts.version);
                    facts.delta_id.clone_from(&known.facts.delta_id);
                    (facts.size_bytes, facts.row_count) = (known.facts.size_bytes, known.facts.row_count);
                }
                Found { facts, partitions: None, error: error.to_string() }
            }
        }
    }

    async fn read_log(
        &self,
        info: &TableInfo,
        facts: &mut TableFacts,
        known: Option<&Table>,
    ) -> Result<Option<Vec<FoundPartition>>> {
        let _call = self.call().await;
        let snapshot = self.source.open(info, None).await?;
        facts::add_log(facts, &snapshot);
        // `seen` is 0 while the partitions of an earlier scan are only half written.
        let same = |known: &&Table| {
            known.seen != 0
                && known.scan_error.is_empty()
                && known.delete_time_ms == 0
                && known.facts.size_bytes.is_some()
                && known.facts.version == facts.version
                && known.facts.delta_id == facts.delta_id
                && known.facts.location == facts.location
        };
        if let Some(known) = known.filter(same) {
            (facts.size_bytes, facts.row_count) = (known.facts.size_bytes, known.facts.row_count);
            return Ok(None);
        }
        facts::add_files(facts, &snapshot).await.map(Some)
    }

    async fn write_table(&self, key: TableKey, found: Found) -> Result<()> {
        let Found { facts, partitions, error } = found;
        let version = facts.version.as_ref().map(|version| version.number);
        let Some(mut rest) = partitions else {
            let failed = !error.is_empty();
            return self
                .write(move |tx, writer| {
                    writer.table(tx, &key, Some(facts), &error, &[])?;
                    let count = tx.get(&TABLES, &key)?.map_or(0, |table| table.partitions.total());
                    writer.table_read(tx, &key, usize::try_from(count).unwrap_or(0), 0, failed)
                })
                .await;
        };
        let count = rest.len();
        let mut chunks = Vec::new();
        while rest.len() > CHUNK {
            chunks.push(rest.split_off(rest.len() - CHUNK));
        }
        let own = key.clone();
        self.write(move |tx, writer| writer.table(tx, &own, Some(facts), &error, &rest)).await?;
        for chunk in chunks {
            let own = key.clone();
            self.write(move |tx, writer| writer.partitions(tx, &own, &chunk)).await?;
        }
        let gone = self.partitions_gone(&key, version).await?;
        self.write(move |tx, writer| writer.table_read(tx, &key, count, gone, false)).await
    }

    /// Marks partitions that the log no longer has.
    async fn partitions_gone(&self, key: &TableKey, version: Option<i64>) -> Result<usize> {
        let scope = Scope::prefix(key);
        let (mut gone, mut after) = (0, None);
        loop {
            let page = self.core.store.read(|read| read.page(&PARTITIONS, &scope, after.as_ref(), CHUNK))?;
            // One that a task of a newer version reported is no concern of this older look.
            let stale = page.items.into_iter().filter(|(_, partition)| {
                partition.seen != self.number && partition.delete_time_ms == 0 && partition.seen_version <= version
            });
            let segments: Vec<String> = stale.map(|(key, _)| key.3).collect();
            gone += segments.len();
            if !segments.is_empty() {
                let own = key.clone();
                self.write(move |tx, writer| writer.partitions_gone(tx, &own, segments)).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok::<_, CatalogError>(gone);
            }
        }
    }
}
