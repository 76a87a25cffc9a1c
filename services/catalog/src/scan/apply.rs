//! The writes of a scan, inside commits. Each first checks that the scan has not ended, so that nothing is written for a
//! cancelled scan.

use mms_store::{Read, Tx};

use super::counted::Counted;
use super::facts::FoundPartition;
use crate::error::{CatalogError, Result};
use crate::key;
use crate::record::{Progress, Scan, ScanState, Schema, Table, TableFacts};
use crate::rollup;
use crate::store::{PARTITIONS, SCANS, SCHEMAS, SUMMARIES, ScanKey, SchemaKey, TABLES, TableKey};

/// The scan that writes, and the time.
#[derive(Debug, Clone)]
pub struct Writer {
    /// The key of the scan.
    pub key: ScanKey,
    /// The number of the scan, which distinguishes it from an earlier one of the same name.
    pub number: u64,
    /// The time of this write, in milliseconds since 1970.
    pub now_ms: i64,
    /// The metrics that count along.
    pub counted: Counted,
}

fn running(tx: &Tx<'_>, key: &ScanKey, number: u64) -> Result<Scan> {
    let scan = tx.get(&SCANS, key)?.filter(|scan| scan.number == number && ScanState::of(scan).is_live());
    scan.ok_or_else(|| CatalogError::ScanEnded(key::scan_name(key)))
}

/// Starts a scan, or restarts it after a restart of the process: its counters begin at 0 again.
pub fn begin(tx: &mut Tx<'_>, key: &ScanKey, number: u64, now_ms: i64) -> Result<Scan> {
    let mut scan = running(tx, key, number)?;
    scan.state = ScanState::Running as i32;
    if scan.start_time_ms == 0 {
        scan.start_time_ms = now_ms;
    }
    scan.progress = Progress::default();
    scan.revision = tx.revision();
    tx.put(&SCANS, key, &scan)?;
    Ok(scan)
}

/// Ends a scan and returns its final record. A non-empty error makes it FAILED.
pub fn end(tx: &mut Tx<'_>, key: &ScanKey, number: u64, now_ms: i64, error: String) -> Result<Scan> {
    let mut scan = running(tx, key, number)?;
    let failed = scan.progress.tables_failed + scan.progress.schemas_failed > 0;
    let state = match (error.is_empty(), failed) {
        (false, _) => ScanState::Failed,
        (true, true) => ScanState::Partial,
        (true, false) => ScanState::Done,
    };
    scan.state = state as i32;
    scan.error = error;
    scan.end_time_ms = now_ms;
    scan.revision = tx.revision();
    tx.put(&SCANS, key, &scan)?;
    if state != ScanState::Failed {
        let mut summary = tx.get(&SUMMARIES, &key.0)?.unwrap_or_default();
        summary.last_scan_time_ms = now_ms;
        tx.put(&SUMMARIES, &key.0, &summary)?;
    }
    Ok(scan)
}

impl Writer {
    /// Changes the counters of the scan.
    pub fn count(&self, tx: &mut Tx<'_>, change: impl FnOnce(&mut Progress)) -> Result<()> {
        let mut scan = running(tx, &self.key, self.number)?;
        let before = scan.progress.clone();
        change(&mut scan.progress);
        scan.revision = tx.revision();
        tx.put(&SCANS, &self.key, &scan)?;
        self.counted.follow(&before, &scan.progress);
        Ok(())
    }

    /// Stores a schema that was listed. `found` is its comment and owner; `error` says why its tables could not be listed.
    pub fn schema(
        &self,
        tx: &mut Tx<'_>,
        key: &SchemaKey,
        found: Option<(String, String)>,
        error: String,
    ) -> Result<()> {
        let mut schema: Schema = tx.get(&SCHEMAS, key)?.unwrap_or_default();
        if let Some((comment, owner)) = found {
            (schema.comment, schema.owner) = (comment, owner);
        }
        schema.scan_error = error;
        schema.scan_time_ms = self.now_ms;
        schema.delete_time_ms = 0;
        schema.seen = self.number;
        rollup::save_schema(tx, key, schema)?;
        Ok(())
    }

    /// Stores a table and the first of its partitions. Without facts, the old facts stay and only the error is stored.
    pub fn table(
        &self,
        tx: &mut Tx<'_>,
        key: &TableKey,
        facts: Option<TableFacts>,
        error: &str,
        partitions: &[FoundPartition],
    ) -> Result<()> {
        running(tx, &self.key, self.number)?;
        let mut table: Table = tx.get(&TABLES, key)?.unwrap_or_default();
        table.facts = facts.unwrap_or(table.facts);
        error.clone_into(&mut table.scan_error);
        table.scan_time_ms = self.now_ms;
        table.delete_time_ms = 0;
        // Not yet read: [`Writer::table_read`] sets it with the last write about the table.
        table.seen = 0;
        self.save_partitions(tx, key, &mut table, partitions)?;
        rollup::save_table(tx, key, table)?;
        Ok(())
    }

    /// Stores further partitions of a table.
    pub fn partitions(&self, tx: &mut Tx<'_>, key: &TableKey, partitions: &[FoundPartition]) -> Result<()> {
        running(tx, &self.key, self.number)?;
        let Some(mut table) = tx.get(&TABLES, key)? else { return Ok(()) };
        self.save_partitions(tx, key, &mut table, partitions)?;
        rollup::save_table(tx, key, table)?;
        Ok(())
    }

    fn save_partitions(
        &self,
        tx: &mut Tx<'_>,
        key: &TableKey,
        table: &mut Table,
        partitions: &[FoundPartition],
    ) -> Result<()> {
        for found in partitions {
            let own = key::partition_of(key, found.segment.clone());
            let mut partition = tx.get(&PARTITIONS, &own)?.unwrap_or_default();
            partition.file_count = found.file_count;
            partition.size_bytes = found.size_bytes;
            partition.row_count = found.row_count;
            partition.files.clone_from(&found.files);
            partition.delete_time_ms = 0;
            partition.seen = self.number;
            partition.seen_version = table.facts.version.as_ref().map(|version| version.number);
            let seen = partition.seen_version;
            let moved = partition.migrated.as_ref();
            if partition.migrated_files.is_empty()
                && moved.is_some_and(|at| Some(at.number) == seen && at.table_id == table.facts.delta_id)
            {
                // It was migrated before any scan saw that version.
                partition.migrated_files.clone_from(&partition.files);
            }
            rollup::save_partition(tx, table, &own, &partition)?;
        }
        Ok(())
    }

    /// Marks partitions deleted that are no longer in the log.
    pub fn partitions_gone(&self, tx: &mut Tx<'_>, key: &TableKey, segments: Vec<String>) -> Result<()> {
        running(tx, &self.key, self.number)?;
        let Some(mut table) = tx.get(&TABLES, key)? else { return Ok(()) };
        for segment in segments {
            let own = key::partition_of(key, segment);
            if let Some(mut partition) = tx.get(&PARTITIONS, &own)? {
                partition.delete_time_ms = self.now_ms;
                rollup::save_partition(tx, &mut table, &own, &partition)?;
            }
        }
        rollup::save_table(tx, key, table)?;
        Ok(())
    }

    /// The last write about a table: from here on it counts as read by this scan.
    pub fn table_read(&self, tx: &mut Tx<'_>, key: &TableKey, found: usize, gone: usize, failed: bool) -> Result<()> {
        if let Some(mut table) = tx.get(&TABLES, key)? {
            table.seen = self.number;
            rollup::save_table(tx, key, table)?;
        }
        self.count(tx, |progress| {
            progress.tables_read += 1;
            progress.tables_failed += i64::from(failed);
            progress.partitions_found += i64::try_from(found).unwrap_or(i64::MAX);
            progress.vanished += i64::try_from(gone).unwrap_or(i64::MAX);
        })
    }

    /// Marks tables deleted that no longer exist at the source, or that the lists exclude now.
    pub fn tables_gone(&self, tx: &mut Tx<'_>, keys: &[TableKey]) -> Result<()> {
        for key in keys {
            if let Some(mut table) = tx.get(&TABLES, key)? {
                table.delete_time_ms = self.now_ms;
                table.scan_error.clear();
                rollup::save_table(tx, key, table)?;
            }
        }
        self.count(tx, |progress| progress.vanished += i64::try_from(keys.len()).unwrap_or(i64::MAX))
    }

    /// Marks a schema deleted that no longer exists at the source, or that the lists exclude now.
    pub fn schema_gone(&self, tx: &mut Tx<'_>, key: &SchemaKey) -> Result<()> {
        if let Some(mut schema) = tx.get(&SCHEMAS, key)? {
            schema.delete_time_ms = self.now_ms;
            schema.scan_error.clear();
            rollup::save_schema(tx, key, schema)?;
        }
        self.count(tx, |progress| progress.vanished += 1)
    }
}
