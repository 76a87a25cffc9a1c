//! A unit's rows as blocks of a session of its own: cut by bytes and by time, and sent again, from the same rows, as long
//! as the retry policy lets it. Memory: the batch at hand, and what the tunnel has of it on its way.

use std::time::Duration;

use mms_delta::DeltaError;
use mms_maxcompute::tunnel::{BlockReceipt, PartitionMode, UploadSession, WriteMode};
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::{TargetIdentity, TargetUnit};
use tokio::time::{Instant, timeout_at};

use crate::batch::{Shaper, bytes, pieces};
use crate::context::Run;
use crate::error::{Result, TransferError};
use crate::identity;
use crate::publish::Written;
use crate::rows::{Place, Rows};
use crate::source::Source;
use crate::target::Target;

/// How long a block takes rows. The service cuts a connection that is silent for 120 s, as one is while the source is slow.
const BLOCK_TIME: Duration = Duration::from_secs(60);
/// Bytes of one Arrow message: what the reader aims at, so that only rows that outgrow its guess are cut.
const MESSAGE_BYTES: u64 = 4 << 20;

/// Reads a unit's files into blocks of a new session, and checks that the session holds what was sent.
pub async fn write(
    run: &Run,
    source: &Source,
    target: &Target,
    identity: &TargetIdentity,
    unit: &TargetUnit,
    before: pb::UnitResult,
) -> Result<Written> {
    let mut rows = Rows::new(run, source, unit.index);
    let (table, partition) = (&target.definition.target, target.partition(&unit.partition)?);
    let (write, partition_mode) = (WriteMode::Overwrite, PartitionMode::MustExist);
    let session = source.tunnel.create_upload(table, partition.as_ref(), write, partition_mode).await?;
    // From here on the session is one of this table, whatever becomes of it.
    identity::still(target, identity).await?;
    let mapping = run.spec.target.as_ref().map(|target| target.columns.as_slice()).unwrap_or_default();
    let shaper = Shaper::new(mapping, &target.definition, session.columns().await?, session.schema().await?)?;
    let upload = Upload { run, link: source.tunnel.endpoint(), session, shaper, before };
    let mut blocks = Vec::new();
    while upload.more(&mut rows).await? {
        blocks.push(upload.block(u32::try_from(blocks.len()).unwrap_or(u32::MAX), &mut rows).await?);
    }
    if blocks.is_empty() {
        // A unit without rows is a session as well, whose commit leaves none.
        blocks.push(upload.session.write_no_rows().await?);
    } else {
        upload.session.check_blocks(&blocks).await.map_err(TransferError::from)?;
    }
    Ok(Written { session: upload.session, blocks, rows: rows.place().rows, notes: rows.notes() })
}

struct Upload<'a> {
    run: &'a Run,
    /// By which the codec is chosen.
    link: &'a str,
    session: UploadSession,
    shaper: Shaper,
    /// What was done before this unit.
    before: pb::UnitResult,
}

impl Upload<'_> {
    /// Whether there are rows for another block; a source that is away for a while is asked again, as within a block.
    async fn more(&self, rows: &mut Rows<'_>) -> Result<bool> {
        let mut attempts = self.session.attempts();
        loop {
            match rows.more().await {
                Ok(more) => return Ok(more),
                Err(error) if attempts.again(error.block_class()).await => rows.go_back(rows.place()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends one block, beginning with the next row, until the session has it.
    async fn block(&self, id: u32, rows: &mut Rows<'_>) -> Result<BlockReceipt> {
        let start = rows.place();
        let mut end = None;
        let mut attempts = self.session.attempts();
        loop {
            let error = match self.send(id, rows, &mut end).await {
                Ok(receipt) => {
                    attempts.succeeded();
                    self.run.counters.arrived(&receipt, rows.place().bytes() - start.bytes());
                    return Ok(receipt);
                }
                Err(error) => error,
            };
            tracing::info!(task = self.run.spec.name, block = id, %error, "a block did not arrive");
            self.run.counters.lost();
            if !attempts.again(error.block_class()).await {
                return Err(error);
            }
            rows.go_back(start);
        }
    }

    /// Sends a block once. Where it ends is decided once: before the server may have the whole of it.
    async fn send(&self, id: u32, rows: &mut Rows<'_>, end: &mut Option<Place>) -> Result<BlockReceipt> {
        let codec = self.run.settings.codecs.next(self.link);
        let mut block = self.session.open_block(id, codec).await?;
        let mut sent = 0;
        let mut until = None;
        loop {
            let full = sent >= self.run.settings.block_bytes;
            let more = match step(end.as_ref(), &rows.place(), full, until, Instant::now()) {
                Step::Read => rows.more().await?,
                Step::ReadUntil(until) => timeout_at(until, rows.more()).await.unwrap_or(Ok(false))?,
                Step::End => false,
            };
            let Some(read) = more.then(|| rows.take()).flatten() else { break };
            until = until.or_else(|| Some(Instant::now() + BLOCK_TIME));
            let shaped = self.shaper.shape(&read)?;
            drop(read);
            sent += bytes(&shaped);
            for piece in pieces(shaped, MESSAGE_BYTES) {
                block.write(&piece).await?;
            }
            let at = rows.place();
            self.run.progress.set(self.before.rows + at.rows, self.before.bytes + at.bytes());
        }
        let at = rows.place();
        let decided = *end.get_or_insert(at);
        if !(at.reaches(&decided) && decided.reaches(&at)) {
            return Err(changed(id, &decided, &at));
        }
        let receipt = block.finish().await?;
        self.run.settings.codecs.arrived(self.link, &receipt);
        Ok(receipt)
    }
}

/// What a block does next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Read,
    /// Reads, but ends with what it has if nothing comes before then.
    ReadUntil(Instant),
    End,
}

/// A block that is sent again ends where it ended; one that is sent first, when it is full or its time is over.
fn step(end: Option<&Place>, at: &Place, full: bool, until: Option<Instant>, now: Instant) -> Step {
    match (end, until) {
        (Some(end), _) if at.reaches(end) => Step::End,
        (Some(_), _) | (None, None) => Step::Read,
        (None, Some(until)) if full || now >= until => Step::End,
        (None, Some(until)) => Step::ReadUntil(until),
    }
}

fn changed(id: u32, decided: &Place, at: &Place) -> TransferError {
    let reason = format!("read again it ends at {at:?}, where it ended at {decided:?}");
    TransferError::Source(DeltaError::SourceChanged { path: format!("block {id}"), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_ends_by_bytes_or_time_and_again_where_it_ended() {
        let now = Instant::now();
        let (start, later) = (Place::default(), Place::at(0, 100));
        // Its first rows are waited for as long as they take: nothing is on its way yet.
        assert_eq!(step(None, &start, false, None, now), Step::Read);
        let until = now + BLOCK_TIME;
        assert_eq!(step(None, &later, false, Some(until), now), Step::ReadUntil(until));
        assert_eq!(step(None, &later, true, Some(until), now), Step::End);
        // A fast source does not keep a slow block open.
        assert_eq!(step(None, &later, false, Some(until), until), Step::End);
        for (full, now) in [(false, now), (true, until)] {
            assert_eq!(step(Some(&later), &start, full, Some(until), now), Step::Read);
            assert_eq!(step(Some(&later), &later, full, Some(until), now), Step::End);
        }
        assert!(BLOCK_TIME.as_secs() * 2 <= 120, "well before the service cuts a silent connection");
    }
}
