//! Publishes units, drops a table that is to be replaced, and resolves the commit intents that an earlier attempt left open.
//! Always in this order: ask the scheduler, commit at the target, tell the outcome.
//!
//! Nothing becomes visible at the target except through this file, and nothing is sent here before the scheduler has stored
//! its intent. Whatever is sent can be sent again, however late, without doing more than was done: a session publishes once,
//! and a statement runs once under its id.

use std::time::Duration;

use mms_maxcompute::error::MaxComputeError;
use mms_maxcompute::instance::{InstanceState, Submitted};
use mms_maxcompute::session::{Resolution, SessionState, resolve};
use mms_maxcompute::table::PartitionSpec;
use mms_maxcompute::tunnel::BlockReceipt;
use mms_proto::scheduler::v1 as pb;
use mms_proto::transfer::v1::TransferStep;
use mms_proto::types::v1::{PartitionValue, TargetIdentity, TargetPolicy, TargetTable, TargetUnit};
use pb::commit_answer::Answer;
use pb::commit_intent::Commit;
use pb::{CommitOutcome, IntentUnit};
use tokio::time::Instant;
use uuid::Uuid;

use crate::context::{Published, Run};
use crate::error::{Result, TransferError};
use crate::identity;
use crate::target::Target;
use crate::way::Session;

/// How long a commit may be in doubt before the attempt ends; the next attempt asks again.
const COMMIT_LIMIT: Duration = Duration::from_secs(300);
/// Pause between two questions about a session that has not reached its end.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What a job may drop at its targets, and so which drops that another attempt began may be sent again for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drops {
    Nothing,
    /// Partitions whose source is gone.
    Partitions,
    /// Whole tables, to make them anew, and any partitions.
    Tables,
}

impl Drops {
    fn of(spec: &pb::TaskSpec) -> Self {
        match (spec.target_policy(), spec.dropped_policy()) {
            (TargetPolicy::Replace, _) => Self::Tables,
            (_, pb::DroppedPolicy::Drop) => Self::Partitions,
            _ => Self::Nothing,
        }
    }

    fn includes(self, drop: &pb::TableReplacement) -> bool {
        match self {
            Self::Nothing => false,
            Self::Partitions => !drop.partitions.is_empty(),
            Self::Tables => true,
        }
    }
}

/// A unit that is written and not published yet.
pub struct Written {
    pub session: Session,
    /// The way that it took, and why, for the task's log.
    pub way: String,
    pub blocks: Vec<BlockReceipt>,
    pub rows: i64,
    /// The reader's remarks about the files, for the task's log.
    pub notes: Vec<String>,
}

fn table(target: &Target) -> TargetTable {
    let name = &target.definition.target;
    TargetTable {
        project: name.project.to_string(),
        schema: name.schema.as_ref().map(ToString::to_string).unwrap_or_default(),
        table: name.table.to_string(),
    }
}

/// The values of a partition of the target, by level.
pub fn values(spec: &PartitionSpec) -> Vec<PartitionValue> {
    let level = |(column, value): &(mms_maxcompute::name::ColumnName, String)| PartitionValue {
        column: column.to_string(),
        value: value.clone(),
        ..PartitionValue::default()
    };
    spec.0.iter().map(level).collect()
}

/// A unit that is published, with an outcome that the scheduler has not been told yet.
pub struct Untold {
    pub unit: pb::UnitResult,
    intent: pb::CommitIntent,
}

impl Untold {
    /// Tells the scheduler now, by a call of its own.
    pub async fn tell(self, run: &Run) -> Result<pb::UnitResult> {
        settle(run, &self.intent, CommitOutcome::Committed).await?;
        Ok(self.unit)
    }

    /// Leaves the outcome to the report of the step.
    pub fn told_with(self, run: &Run) -> (pb::UnitResult, pb::IntentOutcome) {
        run.counters.published(self.intent.units.len());
        let outcome = CommitOutcome::Committed as i32;
        (self.unit, pb::IntentOutcome { intent_id: self.intent.intent_id, outcome })
    }
}

/// Publishes a unit into the table of this identity: its old rows are replaced by exactly those written, which may be none.
pub async fn publish(
    run: &Run,
    target: &Target,
    table: &TargetIdentity,
    unit: &TargetUnit,
    written: Written,
) -> Result<Untold> {
    run.progress.show(TransferStep::Commit);
    // A session may outlive the table that it was made for, and would publish into the next table of that name. A table is never
    // restored after it was dropped, and this one was seen before the session was created: if it is still there, it is the session's.
    identity::still(target, table).await?;
    let commit = written.session.intent(&written.blocks);
    let covered = IntentUnit {
        unit_index: unit.index,
        partition: unit.partition.clone(),
        rows: written.rows,
        bytes: unit.source_bytes,
    };
    let mut intent = intent(target, Uuid::new_v4(), vec![covered], commit);
    intent.identity = Some(table.clone());
    begin(run, target, &intent).await?;
    if let Err(error) = written.session.commit(COMMIT_LIMIT).await {
        return Err(not_committed(run, &intent, &written.session, error).await?);
    }
    run.progress.show(TransferStep::Data);
    let unit = pb::UnitResult { unit_index: unit.index, rows: written.rows, bytes: unit.source_bytes };
    Ok(Untold { unit, intent })
}

/// Drops the target table, if it exists, so that it can be made anew. The statement's id is stored with the intent, and the
/// drop is never sent under another id: if it is sent again or arrives late, it finds its instance and does nothing.
pub async fn drop_table(run: &Run, target: &Target) -> Result<()> {
    drop(run, target, &[]).await
}

/// Drops partitions that the plan does not have, in the same way.
pub async fn drop_partitions(run: &Run, target: &Target, partitions: &[PartitionSpec]) -> Result<()> {
    if partitions.is_empty() { Ok(()) } else { drop(run, target, partitions).await }
}

async fn drop(run: &Run, target: &Target, partitions: &[PartitionSpec]) -> Result<()> {
    let id = Uuid::new_v4();
    let dropped_partitions = partitions.iter().map(|spec| pb::DroppedPartition { values: values(spec) }).collect();
    let replace = pb::TableReplacement { instance_key: id.to_string(), partitions: dropped_partitions };
    let intent = intent(target, id, Vec::new(), Commit::Replace(replace));
    begin(run, target, &intent).await?;
    let (outcome, error) = match target.send_drop(id, partitions).await {
        Ok(instance) => dropped(target, &instance).await.map_err(|error| still_open(&intent, &error))?,
        // The target refused every attempt, and only this attempt ever sent the statement: it never ran and never will.
        Err(error) if error.refusal().is_some() && !error.may_have_acted() => (CommitOutcome::Cancelled, Some(error)),
        Err(error) => return Err(still_open(&intent, &error)),
    };
    settle(run, &intent, outcome).await?;
    error.map_or(Ok(()), |error| Err(error.into()))
}

/// Waits until a drop has ended; with the statement's own error if it failed.
async fn dropped(
    target: &Target,
    instance: &Submitted,
) -> Result<(CommitOutcome, Option<MaxComputeError>), MaxComputeError> {
    Ok(match target.ended(instance).await? {
        InstanceState::Succeeded | InstanceState::Active => (CommitOutcome::Committed, None),
        InstanceState::Failed => (CommitOutcome::Expired, Some(target.project.failure(instance).await)),
        InstanceState::Cancelled => {
            (CommitOutcome::Cancelled, Some(MaxComputeError::Cancelled { instance: instance.id.to_string() }))
        }
    })
}

fn still_open(intent: &pb::CommitIntent, why: &impl ToString) -> TransferError {
    TransferError::IntentOpen { intent: intent.intent_id.clone(), why: why.to_string() }
}

fn intent(target: &Target, id: Uuid, units: Vec<IntentUnit>, commit: Commit) -> pb::CommitIntent {
    pb::CommitIntent {
        intent_id: id.to_string(),
        target: Some(table(target)),
        units,
        commit: Some(commit),
        ..pb::CommitIntent::default()
    }
}

/// Asks the scheduler to store the intent. If another intent is open on the unit, resolves that one first.
async fn begin(run: &Run, target: &Target, intent: &pb::CommitIntent) -> Result<()> {
    loop {
        let request =
            pb::CommitRequest { task: run.spec.name.clone(), epoch: Some(run.epoch), intent: Some(intent.clone()) };
        let answer = run
            .peers
            .begin_commit(&pb::BeginCommitRequest {
                worker: run.me.worker.clone(),
                instance: run.me.instance.clone(),
                requests: vec![request],
            })
            .await?;
        match answer {
            Answer::Granted(_) => return Ok(()),
            Answer::Fenced(_) => return Err(TransferError::GivenUp),
            Answer::OpenIntent(open) => {
                let outcome = ask(target, Drops::of(&run.spec), &open).await?;
                settle(run, &open, outcome).await?;
            }
        }
    }
}

/// What a failed commit means. If the session can be proved dead, the intent is settled and the unit is written again;
/// otherwise the intent stays open, and the next attempt asks again.
async fn not_committed(
    run: &Run,
    intent: &pb::CommitIntent,
    session: &Session,
    error: MaxComputeError,
) -> Result<TransferError> {
    let dead = match &error {
        MaxComputeError::SessionLost { state, .. } => Some(lost(*state)),
        error if error.target_is_gone() => Some(CommitOutcome::UnknownToServer),
        // In doubt, or refused: the session itself may know that it has ended.
        MaxComputeError::OutcomeUnknown { .. } | MaxComputeError::Refused(_) => proved_dead(session.status().await),
        _ => None,
    };
    match dead {
        Some(outcome) => {
            settle(run, intent, outcome).await?;
            Ok(TransferError::SessionLost(session.id().to_owned()))
        }
        None => Ok(still_open(intent, &error)),
    }
}

/// The outcome of a commit whose session answers so, if the session can never publish any more.
fn proved_dead(status: Result<SessionState, MaxComputeError>) -> Option<CommitOutcome> {
    match status {
        Ok(state) if resolve(state) == Resolution::Lost => Some(lost(state)),
        Err(error) if error.target_is_gone() => Some(CommitOutcome::UnknownToServer),
        _ => None,
    }
}

async fn settle(run: &Run, intent: &pb::CommitIntent, outcome: CommitOutcome) -> Result<()> {
    let resolution = pb::CommitResolution {
        task: run.spec.name.clone(),
        epoch: Some(run.epoch),
        intent_id: intent.intent_id.clone(),
        outcome: outcome as i32,
    };
    run.peers
        .resolve(&pb::ResolveCommitsRequest {
            worker: run.me.worker.clone(),
            instance: run.me.instance.clone(),
            resolutions: vec![resolution],
        })
        .await?;
    if outcome == CommitOutcome::Committed {
        run.counters.published(intent.units.len());
    }
    Ok(())
}

/// Resolves the intents that a lease names, and adds units of this task that turn out to be published to `published`.
pub async fn resolve_open(
    run: &Run,
    target: &Target,
    open: &[pb::CommitIntent],
    published: &mut Published,
) -> Result<()> {
    for intent in open {
        let outcome = ask(target, Drops::of(&run.spec), intent).await?;
        tracing::info!(
            task = run.spec.name,
            intent = intent.intent_id,
            outcome = outcome.as_str_name(),
            "open commit intent resolved"
        );
        settle(run, intent, outcome).await?;
        // A job's name can be used again: the same task of another job published other rows.
        let own = intent.task == run.spec.name && intent.job_uid == run.spec.job_uid;
        if outcome == CommitOutcome::Committed && own {
            for unit in &intent.units {
                let done = pb::UnitResult { unit_index: unit.unit_index, rows: unit.rows, bytes: unit.bytes };
                published.insert(unit.unit_index, done);
            }
        }
    }
    Ok(())
}

/// Finds out what became of an intent. A session that can still be committed is committed now, so that nothing can commit it
/// later.
async fn ask(target: &Target, drops: Drops, intent: &pb::CommitIntent) -> Result<CommitOutcome> {
    let open = |why: &dyn std::fmt::Display| still_open(intent, &why);
    match &intent.commit {
        Some(commit @ (Commit::Tunnel(_) | Commit::Storage(_))) => {
            let unit = intent.units.first().ok_or_else(|| open(&"it names no unit"))?;
            let partition = target.partition(&unit.partition)?;
            let session = Session::of(commit, target, partition.as_ref()).await?;
            let session = session.ok_or_else(|| open(&"it names no session"))?;
            match identity::still(target, intent.identity.as_ref().unwrap_or(&TargetIdentity::default())).await {
                Ok(()) => ask_session(&session).await.map_err(|error| open(&error)),
                // The table that it was for is gone: committing it now could only put old rows into another table.
                Err(TransferError::TargetGone { .. }) => Ok(match session.status().await.map(resolve) {
                    Ok(Resolution::Committed) => CommitOutcome::Committed,
                    _ => CommitOutcome::UnknownToServer,
                }),
                Err(error) => Err(open(&error)),
            }
        }
        // The only way to find out is to send the statement again, which may drop the table now. A job that may not drop must not.
        Some(Commit::Replace(drop)) if !drops.includes(drop) => {
            let why = "it drops the table or partitions of it, which this job was not asked to: start the job that began it again, move \
                       the table with REPLACE, or have an administrator call CancelIntent once nobody has worked there for 20 minutes";
            Err(open(&format!("{why} (it was begun by {})", intent.task)))
        }
        Some(Commit::Replace(replace)) => {
            let id = Uuid::parse_str(&replace.instance_key)
                .map_err(|error| open(&format!("instance_key `{}`: {error}", replace.instance_key)))?;
            let partitions = replace.partitions.iter().map(|partition| target.partition(&partition.values));
            let partitions: Vec<PartitionSpec> =
                partitions.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
            if partitions.len() != replace.partitions.len() {
                return Err(open(&"it names a partition without values"));
            }
            let instance = target.send_drop(id, &partitions).await.map_err(|error| open(&error))?;
            Ok(dropped(target, &instance).await.map_err(|error| open(&error))?.0)
        }
        // This worker does not know what such an intent staged; whatever it sent could undo that.
        Some(Commit::Sql(_)) | None => {
            let why = "this worker cannot resolve intents of its kind: a worker that makes them has to";
            Err(open(&format!("{why} (it was begun by {})", intent.task)))
        }
    }
}

async fn ask_session(session: &Session) -> Result<CommitOutcome, MaxComputeError> {
    let start = Instant::now();
    loop {
        let state = match session.status().await {
            Ok(state) => state,
            Err(error) if error.target_is_gone() => return Ok(CommitOutcome::UnknownToServer),
            Err(error) => return Err(error),
        };
        match resolve(state) {
            Resolution::Committed => return Ok(CommitOutcome::Committed),
            Resolution::Lost => return Ok(lost(state)),
            Resolution::Wait if start.elapsed() > COMMIT_LIMIT => {
                return Err(MaxComputeError::OutcomeUnknown { session: session.id().to_owned(), state });
            }
            Resolution::Wait => tokio::time::sleep(ASK_AGAIN).await,
            Resolution::CommitAgain => match session.commit(COMMIT_LIMIT).await {
                Ok(()) => return Ok(CommitOutcome::Committed),
                Err(MaxComputeError::SessionLost { state, .. }) => return Ok(lost(state)),
                Err(error) if error.target_is_gone() => return Ok(CommitOutcome::UnknownToServer),
                Err(error) => return Err(error),
            },
        }
    }
}

fn lost(state: SessionState) -> CommitOutcome {
    match state {
        SessionState::Canceled => CommitOutcome::Cancelled,
        SessionState::Missing => CommitOutcome::UnknownToServer,
        _ => CommitOutcome::Expired,
    }
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
