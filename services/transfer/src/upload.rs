//! Writes a unit's rows as blocks of a session of its own. Blocks are cut by bytes and by time; a block that fails is sent
//! again from the same rows, as long as the retry policy allows. In memory: one batch, and what the session has of it under
//! way.

use std::time::Duration;

use mms_delta::DeltaError;
use mms_maxcompute::storage_api::Attempt;
use mms_maxcompute::tunnel::BlockReceipt;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::TargetUnit;
use tokio::time::{Instant, timeout_at};

use crate::batch::{Shaper, bytes, pieces};
use crate::context::Run;
use crate::error::{Result, TransferError};
use crate::publish::Written;
use crate::rows::{Place, Rows};
use crate::source::Source;
use crate::target::Target;
use crate::way::{Session, Way};

/// How long one block takes rows. The service closes a connection that is silent for 120 s, which happens while the source is
/// slow.
const BLOCK_TIME: Duration = Duration::from_secs(60);
/// Bytes of one Arrow message. The reader aims at the same size, so only batches that outgrow its guess are cut.
const MESSAGE_BYTES: u64 = 4 << 20;

/// Reads a unit's rows into blocks of a new session, and checks that the session holds what was sent. Starts with the way
/// that the task has taken so far. If the tunnel cannot carry a value of the unit, the unit starts over by the Storage API,
/// before anything of it is published, and `way` changes for the rest of the task.
pub async fn write(
    run: &Run,
    source: &Source,
    target: &Target,
    unit: &TargetUnit,
    before: pb::UnitResult,
    way: &mut Way,
) -> Result<Written> {
    let mut rows = Rows::new(run, source, unit.index);
    if *way == Way::Tunnel && !source.times.is_empty() {
        let by_log = rows.foresee(|file| Way::by_log(&source.times, file)).await?;
        *way = by_log.unwrap_or_default();
    }
    let unit = Unit { run, source, target, unit, before };
    match unit.fill(&mut rows, way).await {
        Err(error @ TransferError::Beyond { .. }) if *way == Way::Tunnel => {
            // The rows that the tunnel's session already holds are never committed.
            *way = Way::Storage(error.to_string());
            tracing::info!(task = run.spec.name, unit = unit.unit.index, %error, "the tunnel cannot carry a value: the unit starts over by the Storage API");
            unit.fill(&mut Rows::new(run, source, unit.unit.index), way).await
        }
        written => written,
    }
}

/// A unit that is being written.
struct Unit<'a> {
    run: &'a Run,
    source: &'a Source,
    target: &'a Target,
    unit: &'a TargetUnit,
    /// Rows and bytes of the units before it, for the progress.
    before: pb::UnitResult,
}

impl Unit<'_> {
    async fn fill(&self, rows: &mut Rows<'_>, way: &Way) -> Result<Written> {
        let Self { run, source, target, before, .. } = *self;
        let session = self.session(way).await?;
        let mapping = run.spec.target.as_ref().map(|target| target.columns.as_slice()).unwrap_or_default();
        let shaper = Shaper::new(mapping, &target.definition, session.columns().await?, session.schema().await?)?;
        let mut upload = Upload { run, link: source.tunnel.endpoint(), session, shaper, before };
        let mut blocks: Vec<BlockReceipt> = Vec::new();
        while upload.more(rows).await? {
            let (block, message) = upload.block(u32::try_from(blocks.len()).unwrap_or(u32::MAX), rows).await?;
            upload.session.keep(message, &target.definition.target)?;
            blocks.push(block);
        }
        let mut session = upload.session;
        if blocks.iter().all(|block| block.rows == 0) {
            // The rows of an empty unit are replaced by a session too, one whose block has no record; only the tunnel has
            // such sessions.
            let empty = match session {
                Session::Tunnel(empty) => empty,
                Session::Storage(..) => match self.session(&Way::Tunnel).await? {
                    Session::Tunnel(empty) => empty,
                    Session::Storage(..) => return Err(TransferError::Plan("it has no rows".to_owned())),
                },
            };
            blocks = vec![empty.write_no_rows().await?];
            session = Session::Tunnel(empty);
        } else {
            session.check(&blocks).await?;
        }
        let way = if matches!(session, Session::Tunnel(_)) { Way::Tunnel.told() } else { way.told() };
        Ok(Written { session, way, blocks, rows: rows.place().rows, notes: rows.notes() })
    }

    async fn session(&self, way: &Way) -> Result<Session> {
        let partition = self.target.partition(&self.unit.partition)?;
        Ok(Session::create(way, self.source, &self.target.definition.target, partition.as_ref()).await?)
    }
}

struct Upload<'a> {
    run: &'a Run,
    /// Tunnel endpoint; the codec is chosen by it.
    link: &'a str,
    session: Session,
    shaper: Shaper,
    /// Rows and bytes of the units before this one, for the progress.
    before: pb::UnitResult,
}

impl Upload<'_> {
    /// Whether there are rows for another block. Retries a source that fails for a while, as within a block.
    async fn more(&self, rows: &mut Rows<'_>) -> Result<bool> {
        let mut attempts = self.session.attempts();
        loop {
            match rows.more().await {
                Ok(more) => return Ok(more),
                Err(error) if attempts.again(error.block_class()).await => rows.go_back(rows.place(), None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends one block, starting at the next row, until the session has it or the retry policy gives up.
    async fn block(&self, id: u32, rows: &mut Rows<'_>) -> Result<(BlockReceipt, Option<String>)> {
        let mut attempt = Attempt { block_id: id, number: 0 };
        let start = rows.place();
        let mut end = None;
        let mut attempts = self.session.attempts();
        loop {
            let error = match self.send(attempt, rows, &mut end).await {
                Ok((receipt, message)) => {
                    attempts.succeeded();
                    rows.arrived();
                    self.run.counters.arrived(&receipt, rows.place().bytes() - start.bytes());
                    return Ok((receipt, message));
                }
                Err(error) => error,
            };
            tracing::info!(task = self.run.spec.name, block = id, %error, "an attempt at a block failed");
            self.run.counters.lost();
            if !attempts.again(error.block_class()).await {
                return Err(error);
            }
            rows.go_back(start, end);
            attempt.number += 1;
        }
    }

    /// One attempt at a block. The row where the block ends is decided by the first attempt that gets that far, before the
    /// server can have the whole block, and holds for all later attempts.
    async fn send(
        &self,
        attempt: Attempt,
        rows: &mut Rows<'_>,
        end: &mut Option<Place>,
    ) -> Result<(BlockReceipt, Option<String>)> {
        let codecs = &self.run.settings.codecs;
        // Streams of the Storage API show other rates than the tunnel's blocks, so nothing is learned from them.
        let learns = matches!(self.session, Session::Tunnel(_));
        let codec = if learns { codecs.next(self.link) } else { codecs.told(self.link).0 };
        let mut block = self.session.open(attempt, codec).await?;
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
            return Err(changed(attempt.block_id, &decided, &at));
        }
        let (receipt, message) = block.finish().await?;
        if learns {
            codecs.arrived(self.link, &receipt);
        }
        Ok((receipt, message))
    }
}

/// What a block does next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Read,
    /// Read, but end the block with what it has if no batch arrives before this instant.
    ReadUntil(Instant),
    End,
}

/// A block that is sent again ends where it ended before. A first attempt ends when the block is full or its time is over.
fn step(end: Option<&Place>, at: &Place, full: bool, until: Option<Instant>, now: Instant) -> Step {
    match (end, until) {
        (Some(end), _) if at.reaches(end) => Step::End,
        (Some(_), _) | (None, None) => Step::Read,
        (None, Some(until)) if full || now >= until => Step::End,
        (None, Some(until)) => Step::ReadUntil(until),
    }
}

fn changed(id: u32, decided: &Place, at: &Place) -> TransferError {
    let reason = format!("read again, the block ends at {at:?}; before, it ended at {decided:?}");
    TransferError::Source(DeltaError::SourceChanged { path: format!("block {id}"), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_ends_by_bytes_or_time_and_again_where_it_ended() {
        let now = Instant::now();
        let (start, later) = (Place::default(), Place::at(0, 100));
        // The block's first rows are waited for without a limit: nothing of it has been sent yet.
        assert_eq!(step(None, &start, false, None, now), Step::Read);
        let until = now + BLOCK_TIME;
        assert_eq!(step(None, &later, false, Some(until), now), Step::ReadUntil(until));
        assert_eq!(step(None, &later, true, Some(until), now), Step::End);
        // A source that is fast but long does not keep the block open.
        assert_eq!(step(None, &later, false, Some(until), until), Step::End);
        for (full, now) in [(false, now), (true, until)] {
            assert_eq!(step(Some(&later), &start, full, Some(until), now), Step::Read);
            assert_eq!(step(Some(&later), &later, full, Some(until), now), Step::End);
        }
        assert!(BLOCK_TIME.as_secs() * 2 <= 120, "well before the service cuts a silent connection");
    }
}
