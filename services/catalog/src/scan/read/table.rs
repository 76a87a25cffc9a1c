//! Reads one table, its description and its log, and stores both in commits of bounded size.

use std::sync::Arc;

use mms_databricks::TableInfo;
use mms_store::{Read, Scope};

use super::Reading;
use crate::error::Result;
use crate::record::{Table, TableFacts};
use crate::scan::facts::{self, FoundPartition};
use crate::source::Source;
use crate::store::{PARTITIONS, TABLES, TableKey};

/// Partitions stored in one commit.
const CHUNK: usize = 1000;

/// The result of reading a table.
struct Found {
    facts: TableFacts,
    /// None: the log is at the version of the last scan or could not be read, so the partitions stay as they are.
    partitions: Option<Vec<FoundPartition>>,
    /// Why its log could not be read; empty when it was read, or when the table has none.
    error: String,
}

impl Reading<'_> {
    /// Reads and stores one table. An error that concerns only this table is stored on it.
    pub(super) async fn read_table(&self, schema: String, table: String) -> Result<()> {
        let key: TableKey = (self.key.0.clone(), schema, table);
        let known = self.core.store.read(|read| read.get(&TABLES, &key))?;
        if let Some(read) = known.as_ref().filter(|known| known.seen == self.number) {
            // Read by this scan already, before a restart.
            let failed = !read.scan_error.is_empty();
            let found = usize::try_from(read.partitions.total()).unwrap_or(0);
            return self.write(move |tx, writer| writer.table_read(tx, &key, found, 0, failed)).await;
        }
        match self.asked(|source| self.look(source, &key, known.as_ref())).await {
            Ok(Some(found)) => {
                let facts = found.facts.clone();
                match self.write_table(&key, found).await {
                    Err(error) if error.is_of_one_object() => {
                        self.table_failed(&key.1, &key.2, Some(facts), error.to_string()).await
                    }
                    other => other,
                }
            }
            // Dropped since it was listed: [`Reading::mark_gone`] marks it with the others.
            Ok(None) => self.write(|tx, writer| writer.count(tx, |progress| progress.tables_read += 1)).await,
            Err(error) if error.is_of_one_object() => self.table_failed(&key.1, &key.2, None, error.to_string()).await,
            Err(error) => Err(error),
        }
    }

    /// Stores why a table could not be read or stored. If even that cannot be stored on the table, it is stored on its schema.
    pub(super) async fn table_failed(
        &self,
        schema: &str,
        table: &str,
        facts: Option<TableFacts>,
        why: String,
    ) -> Result<()> {
        let mut attempts = vec![None];
        attempts.extend(facts.map(Some));
        while let Some(facts) = attempts.pop() {
            let (key, why) = ((self.key.0.clone(), schema.to_owned(), table.to_owned()), why.clone());
            let noted = self.write(move |tx, writer| {
                writer.table(tx, &key, facts, &why, &[])?;
                writer.table_read(tx, &key, 0, 0, true)
            });
            match noted.await {
                Err(error) if error.is_of_one_object() => {}
                other => return other,
            }
        }
        let (key, why) = (self.schema_key(schema), format!("table {table:?} cannot be stored: {why}"));
        self.write(move |tx, writer| {
            writer.schema(tx, &key, None, why)?;
            writer.count(tx, |progress| {
                progress.tables_read += 1;
                progress.tables_failed += 1;
            })
        })
        .await
    }

    /// Reads a table at the source; None when it no longer exists.
    async fn look(&self, source: Arc<Source>, key: &TableKey, known: Option<&Table>) -> Result<Option<Found>> {
        let info = {
            let _call = self.call().await;
            match source.workspace.get_table(&source.catalog, &key.1, &key.2).await {
                Err(error) if error.is_not_found() => return Ok(None),
                other => other?,
            }
        };
        let mut facts = facts::of_workspace(&info);
        if !facts::is_delta(&info) || source.can_read(&info).is_err() {
            return Ok(Some(Found { facts, partitions: None, error: String::new() }));
        }
        match self.read_log(&source, &info, &mut facts, known).await {
            Ok(partitions) => Ok(Some(Found { facts, partitions, error: String::new() })),
            Err(error) if error.is_of_one_object() => {
                if let Some(known) = known {
                    // Keep what the last scan read of the log, which the stored partitions agree with.
                    facts.version.clone_from(&known.facts.version);
                    facts.delta_id.clone_from(&known.facts.delta_id);
                    (facts.size_bytes, facts.row_count) = (known.facts.size_bytes, known.facts.row_count);
                }
                Ok(Some(Found { facts, partitions: None, error: error.to_string() }))
            }
            Err(error) => Err(error),
        }
    }

    async fn read_log(
        &self,
        source: &Source,
        info: &TableInfo,
        facts: &mut TableFacts,
        known: Option<&Table>,
    ) -> Result<Option<Vec<FoundPartition>>> {
        let _call = self.call().await;
        let snapshot = source.open(info, None).await?;
        facts::add_log(facts, &snapshot);
        // `seen` is 0 while the partitions of an earlier scan are only partly written.
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
        let survey = self.core.surveys.for_scan(&snapshot).await?;
        facts::add_files(facts, &survey).map(Some)
    }

    async fn write_table(&self, key: &TableKey, found: Found) -> Result<()> {
        let Found { facts, partitions, error } = found;
        let version = facts.version.as_ref().map(|version| version.number);
        let Some(mut rest) = partitions else {
            let (key, failed) = (key.clone(), !error.is_empty());
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
        let (gone, own) = (self.partitions_gone(key, version).await?, key.clone());
        self.write(move |tx, writer| writer.table_read(tx, &own, count, gone, false)).await
    }

    /// Marks partitions deleted that are no longer in the log.
    async fn partitions_gone(&self, key: &TableKey, version: Option<i64>) -> Result<usize> {
        let mut gone = 0;
        for page in self.core.store.pages(&PARTITIONS, Scope::prefix(key), CHUNK) {
            // Skip a partition that only a task has reported, with a version newer than this scan read. If an earlier scan has
            // seen the partition, versions do not matter: those of a recreated table cannot be compared.
            let stale = page?.into_iter().filter(|(_, partition)| {
                let told = partition.seen == 0 && partition.seen_version > version;
                partition.seen != self.number && partition.delete_time_ms == 0 && !told
            });
            let segments: Vec<String> = stale.map(|(key, _)| key.3).collect();
            gone += segments.len();
            if !segments.is_empty() {
                let own = key.clone();
                self.write(move |tx, writer| writer.partitions_gone(tx, &own, segments)).await?;
            }
        }
        Ok(gone)
    }
}
