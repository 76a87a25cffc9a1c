//! Stores the files of a pinned table as the catalog sends them, unit by unit. Takes nothing for whole that broke off.

use std::collections::HashSet;

use catalog::pin_table_response::Part;
use mms_proto::catalog::v1 as catalog;

use crate::convert::{file_from, value_from};
use crate::core::Core;
use crate::error::{Result, SchedulerError};
use crate::peers::Pinned;
use crate::record::{self, JobTable, ManifestChunk, Unit};
use crate::store::{ChunkKey, MANIFESTS, TableKey};

/// Pieces of manifests, and their files, after which they are stored together: each commit waits for the disk.
const CHUNKS_AT_ONCE: usize = 256;
const FILES_AT_ONCE: usize = 5_000;

/// What the catalog did wrong.
pub fn broken(text: &str) -> SchedulerError {
    SchedulerError::Peer { service: "catalog", error: Box::new(mms_proto::ApiError::internal(text)) }
}

/// Stores the files of a table, and gives its units.
pub async fn units(core: &Core, key: &TableKey, parts: &mut Pinned, table: &JobTable) -> Result<Vec<Unit>> {
    let mut units: Vec<Unit> = Vec::new();
    let mut chunk = 0;
    let mut spool = Spool::default();
    // Of the last unit; the log has them in any order.
    let mut seen: HashSet<String> = HashSet::new();
    loop {
        let files = match parts.next().await? {
            Some(Part::Files(files)) => files,
            Some(Part::End(end)) => {
                whole(&units, end)?;
                spool.store(core).await?;
                break;
            }
            Some(Part::Table(_)) => return Err(broken("the catalog sent two plans of one table")),
            None => return Err(broken("the catalog's files broke off")),
        };
        let partition: Vec<record::PartitionValue> = files.target_partition.into_iter().map(value_from).collect();
        if units.last().is_none_or(|unit| unit.partition != partition) {
            chunk = 0;
            seen.clear();
            let number = u32::try_from(units.len()).map_err(|_| broken("more target units than can be counted"))?;
            units.push(Unit { number, partition, source_rows: Some(0), ..Unit::default() });
        }
        let Some(unit) = units.last_mut() else { continue };
        if !files.source_partition.is_empty() && seen.insert(files.source_partition.clone()) {
            unit.source_partitions.push(files.source_partition);
        }
        let files: Vec<record::SourceFile> = files.files.into_iter().map(file_from).collect();
        for file in &files {
            unit.file_count += 1;
            unit.source_bytes += file.size_bytes;
            unit.source_rows = unit.source_rows.zip(file.row_count).map(|(sum, rows)| sum + rows);
        }
        let at = (key.0.clone(), key.1.clone(), (key.2.clone(), key.3.clone()), unit.number, chunk);
        chunk += 1;
        spool.files += files.len();
        spool.chunks.push((at, ManifestChunk { files }));
        if spool.chunks.len() >= CHUNKS_AT_ONCE || spool.files >= FILES_AT_ONCE {
            spool.store(core).await?;
        }
    }
    let partitioned = table.target.as_ref().is_some_and(|target| target.columns.iter().any(|column| column.partition));
    if units.is_empty() && !partitioned {
        // An empty table is one unit without files: what was at the target before must go.
        units.push(Unit { source_rows: Some(0), ..Unit::default() });
    }
    Ok(units)
}

/// Pieces of a manifest that wait to be stored.
#[derive(Default)]
struct Spool {
    chunks: Vec<(ChunkKey, ManifestChunk)>,
    files: usize,
}

impl Spool {
    async fn store(&mut self, core: &Core) -> Result<()> {
        let chunks = std::mem::take(self).chunks;
        let put =
            move |tx: &mut mms_store::Tx<'_>| chunks.iter().try_for_each(|(at, chunk)| tx.put(&MANIFESTS, at, chunk));
        Ok(core.store.commit(put).await?)
    }
}

/// Whether all files came that the catalog sent.
fn whole(units: &[Unit], end: catalog::PinEnd) -> Result<()> {
    let files: i64 = units.iter().map(|unit| unit.file_count).sum();
    let bytes: i64 = units.iter().map(|unit| unit.source_bytes).sum();
    if (files, bytes) == (end.file_count, end.size_bytes) {
        return Ok(());
    }
    Err(broken(&format!(
        "the catalog sent {} files of {} bytes, and {files} of {bytes} arrived",
        end.file_count, end.size_bytes
    )))
}
