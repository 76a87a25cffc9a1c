//! Stores a pinned table's files as the catalog streams them, unit by unit, in bounded memory. A stream that ends
//! early, or whose totals differ from what the catalog says it sent, is an error, and the plan is made again.

use std::collections::HashSet;

use catalog::pin_table_response::Part;
use mms_proto::catalog::v1 as catalog;
use prost::Message as _;

use super::tasks;
use crate::convert::{file_from, value_from};
use crate::error::Result;
use crate::key::{ChunkKey, JobKey, TableKey};
use crate::peers::{Pinned, broken};
use crate::record::{self, ManifestChunk, TablePlan, Unit};
use crate::scheduler::Scheduler;

/// Bounds of what is buffered before it is stored in one commit: manifest chunks, their files and their bytes.
const CHUNKS_AT_ONCE: usize = 256;
const FILES_AT_ONCE: usize = 5_000;
const BYTES_AT_ONCE: usize = 8 << 20;

/// Stores the files of a table for the job with this uid, and returns the table's units. None if the job was deleted or
/// is no longer PLANNING.
pub async fn units(
    scheduler: &Scheduler,
    key: &TableKey,
    uid: &str,
    parts: &mut Pinned,
    plan: &TablePlan,
) -> Result<Option<Vec<Unit>>> {
    let mut units: Vec<Unit> = Vec::new();
    let mut chunk = 0;
    let mut spool = Spool { job: key.job.clone(), uid: uid.to_owned(), chunks: Vec::new(), files: 0, bytes: 0 };
    // Source partitions of the current unit; the log has its files in any order.
    let mut seen: HashSet<String> = HashSet::new();
    loop {
        let files = match parts.next().await? {
            Some(Part::Files(files)) => files,
            Some(Part::End(end)) => {
                whole(&units, end)?;
                if !spool.store(scheduler).await? {
                    return Ok(None);
                }
                break;
            }
            Some(Part::Table(_)) => return Err(broken("the catalog sent two plans of one table")),
            None => return Err(broken("the catalog's stream of files ended early")),
        };
        let partition: Vec<record::PartitionValue> = files.target_partition.into_iter().map(value_from).collect();
        if units.last().is_none_or(|unit| unit.partition != partition) {
            chunk = 0;
            seen.clear();
            let number = u32::try_from(units.len()).map_err(|_| broken("more target units than can be counted"))?;
            units.push(Unit {
                number,
                partition,
                source_rows: Some(0),
                at_target: files.at_target,
                published: files.at_target,
                ..Unit::default()
            });
        }
        let Some(unit) = units.last_mut() else { continue };
        if !files.source_partition.is_empty() && seen.insert(files.source_partition.clone()) {
            unit.source_partitions.push(files.source_partition);
        }
        let files: Vec<record::SourceFile> = files.files.into_iter().map(file_from).collect::<Result<_>>()?;
        for file in &files {
            unit.file_count += 1;
            unit.source_bytes += file.size_bytes;
            unit.source_rows = unit.source_rows.zip(file.row_count).map(|(sum, rows)| sum + rows);
        }
        let at = ChunkKey { table: key.clone(), unit: unit.number, chunk };
        chunk += 1;
        spool.files += files.len();
        let chunk_of_files = ManifestChunk { files };
        spool.bytes += chunk_of_files.encoded_len();
        spool.chunks.push((at, chunk_of_files));
        if spool.is_full() && !spool.store(scheduler).await? {
            return Ok(None);
        }
    }
    let partitioned = plan.target.as_ref().is_some_and(|target| target.columns.iter().any(|column| column.partition));
    if units.is_empty() && !partitioned {
        // An empty table without partitions is one unit without files, so that rows at the target are replaced by none.
        units.push(Unit { source_rows: Some(0), ..Unit::default() });
    }
    Ok(Some(units))
}

/// Manifest chunks that are not stored yet.
struct Spool {
    job: JobKey,
    uid: String,
    chunks: Vec<(ChunkKey, ManifestChunk)>,
    files: usize,
    bytes: usize,
}

impl Spool {
    fn is_full(&self) -> bool {
        self.chunks.len() >= CHUNKS_AT_ONCE || self.files >= FILES_AT_ONCE || self.bytes >= BYTES_AT_ONCE
    }

    async fn store(&mut self, scheduler: &Scheduler) -> Result<bool> {
        (self.files, self.bytes) = (0, 0);
        let (chunks, job, uid) = (std::mem::take(&mut self.chunks), self.job.clone(), self.uid.clone());
        scheduler.store.commit_soon(move |tx| tasks::keep_manifest(tx, &job, &uid, &chunks)).await
    }
}

/// Checks that all files have arrived that the catalog says it sent.
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
