//! DATA: every unit that is not published yet is read from its files, written to a session of its own, and published.

use std::sync::Arc;

use futures::StreamExt;
use mms_delta::{ReadOptions, TableShape, read_files};
use mms_maxcompute::tunnel::{BlockReceipt, BlockWriter, PartitionMode, Tunnel, UploadSession, WriteMode};
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::TargetUnit;
use mms_storage::ObjectStore;

use crate::batch::Shaper;
use crate::ends::Ends;
use crate::error::{Result, TransferError};
use crate::manifest::{self, Seen};
use crate::publish::{self, Written};
use crate::run::{Published, Run, Target};

/// Moves the units that are left. None: it stopped between two units, as it was told.
pub async fn run(
    run: &Run,
    ends: &Ends,
    target: &Target,
    published: &mut Published,
) -> Result<Option<(pb::StepDone, Vec<String>)>> {
    let shape = TableShape::from_json(&run.spec.shape_json)?;
    let source = Source {
        store: ends.store(&run.spec.location, run.settings.allow_local_files)?,
        tunnel: target.project.tunnel().await?,
        shape,
    };
    let mut lines = vec![format!(
        "reading from storage, publishing {} units through the tunnel",
        run.spec.units.len() - published.len().min(run.spec.units.len())
    )];
    for unit in &run.spec.units {
        if published.contains_key(&unit.index) {
            continue;
        }
        if run.wind_down.is_cancelled() {
            return Ok(None);
        }
        let before = totals(published);
        run.progress.set(before.rows, before.bytes);
        run.progress.set_units(published.len());
        let written = write(run, &source, target, unit, before).await?;
        if lines.len() < 90 {
            lines.push(describe(unit, &written));
        }
        let done = publish::publish(run, target, unit, written).await?;
        published.insert(unit.index, done);
    }
    let all = totals(published);
    run.progress.set(all.rows, all.bytes);
    run.progress.set_units(published.len());
    let done = pb::StepDone { step: pb::TaskStep::Data as i32, rows: all.rows, bytes: all.bytes, verification: None };
    Ok(Some((done, lines)))
}

struct Source {
    store: Arc<dyn ObjectStore>,
    tunnel: Tunnel,
    shape: TableShape,
}

/// Sums over published units.
pub fn totals(published: &Published) -> pb::UnitResult {
    let zero = pb::UnitResult::default();
    published.values().fold(zero, |sum, unit| pb::UnitResult {
        unit_index: 0,
        rows: sum.rows + unit.rows,
        bytes: sum.bytes + unit.bytes,
    })
}

fn describe(unit: &TargetUnit, written: &Written) -> String {
    let wire: u64 = written.blocks.iter().map(|block| block.wire_bytes).sum();
    format!("unit {}: {} rows in {} blocks, {wire} bytes sent", unit.index, written.rows, written.blocks.len())
}

/// Reads a unit's files into blocks of a new session. Blocks are cut by bytes of the batches, so the same files give the
/// same blocks. Memory: a batch being read, a batch being sent.
async fn write(
    run: &Run,
    source: &Source,
    target: &Target,
    unit: &TargetUnit,
    before: pb::UnitResult,
) -> Result<Written> {
    let seen = Seen::default();
    let files = manifest::files(run, unit.index, seen.clone());
    let mut batches = read_files(&source.shape, source.store.clone(), files, ReadOptions::default());
    let mut upload = Upload { run, source, target, unit, open: None, block: None, blocks: Vec::new() };
    let mut rows = 0_i64;
    let mut counted = Bytes::default();
    while let Some(read) = batches.next().await {
        let read = read?;
        let read_rows = read.batch.num_rows();
        upload.write(&read.batch).await?;
        rows += i64::try_from(read_rows).unwrap_or(i64::MAX);
        run.progress.set(before.rows + rows, before.bytes + counted.add(&seen, read.file, read_rows));
    }
    let (session, blocks) = upload.finish().await?;
    Ok(Written { session, blocks, rows })
}

/// Bytes of source files read so far, estimated within a file by its rows.
#[derive(Default)]
struct Bytes {
    /// Bytes of files before this one, and this one's position and rows so far.
    before: u64,
    file: usize,
    rows: u64,
}

impl Bytes {
    fn add(&mut self, seen: &Seen, file: usize, rows: usize) -> i64 {
        let seen = seen.lock();
        while self.file < file {
            self.before += seen.get(self.file).map_or(0, |(bytes, _)| *bytes);
            (self.file, self.rows) = (self.file + 1, 0);
        }
        self.rows += rows as u64;
        let (bytes, total) = seen.get(file).copied().unwrap_or_default();
        let part = total.filter(|total| *total > 0).map_or(0, |total| {
            u64::try_from(u128::from(bytes) * u128::from(self.rows.min(total)) / u128::from(total)).unwrap_or(bytes)
        });
        i64::try_from(self.before + part).unwrap_or(i64::MAX)
    }
}

struct Upload<'a> {
    run: &'a Run,
    source: &'a Source,
    target: &'a Target,
    unit: &'a TargetUnit,
    /// The session and what turns batches into its own; made with the first row.
    open: Option<(UploadSession, Shaper)>,
    block: Option<(BlockWriter, u64)>,
    blocks: Vec<BlockReceipt>,
}

impl Upload<'_> {
    async fn write(&mut self, batch: &arrow::array::RecordBatch) -> Result<()> {
        let (session, shaper) = match &mut self.open {
            Some(open) => open,
            none => {
                let columns = self.run.spec.target.as_ref().map(|target| target.columns.as_slice()).unwrap_or_default();
                let session = session(self.source, self.target, self.unit).await?;
                let shaper = Shaper::new(columns, session.schema().await?)?;
                none.insert((session, shaper))
            }
        };
        let shaped = shaper.shape(batch)?;
        let (block, bytes) = match &mut self.block {
            Some(block) => block,
            none => {
                let id = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
                none.insert((session.open_block(id, self.run.settings.codec).await?, 0))
            }
        };
        block.write(&shaped).await?;
        *bytes += shaped.get_array_memory_size() as u64;
        if *bytes >= self.run.settings.block_bytes {
            self.end_block().await?;
        }
        Ok(())
    }

    async fn end_block(&mut self) -> Result<()> {
        if let Some((block, _)) = self.block.take() {
            self.blocks.push(block.finish().await?);
        }
        Ok(())
    }

    /// Ends the last block and checks that the server holds what was sent. A unit without rows is a session as well, whose
    /// commit leaves none.
    async fn finish(mut self) -> Result<(UploadSession, Vec<BlockReceipt>)> {
        self.end_block().await?;
        let session = match self.open {
            Some((session, _)) => {
                session.check_blocks(&self.blocks).await.map_err(TransferError::from)?;
                session
            }
            None => {
                let session = session(self.source, self.target, self.unit).await?;
                self.blocks.push(session.write_no_rows().await?);
                session
            }
        };
        Ok((session, self.blocks))
    }
}

/// A new session that will replace a unit's rows.
async fn session(source: &Source, target: &Target, unit: &TargetUnit) -> Result<UploadSession> {
    let (table, partition) = (&target.definition.target, target.partition(&unit.partition)?);
    let (write, exists) = (WriteMode::Overwrite, PartitionMode::MustExist);
    Ok(source.tunnel.create_upload(table, partition.as_ref(), write, exists).await?)
}
