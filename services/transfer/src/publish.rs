//! Publishing a unit: ask the scheduler, commit, tell the outcome. And taking up what an earlier attempt left open.
//!
//! Nothing becomes visible at the target but through this file, and nothing here is sent before the scheduler has stored
//! what it will be.

use std::time::Duration;

use mms_maxcompute::ddl;
use mms_maxcompute::error::MaxComputeError;
use mms_maxcompute::session::{Resolution, SessionState, resolve};
use mms_maxcompute::tunnel::{BlockReceipt, UploadSession};
use mms_proto::scheduler::v1 as pb;
use mms_proto::transfer::v1::TransferStep;
use mms_proto::types::v1::{TargetTable, TargetUnit};
use pb::commit_answer::Answer;
use pb::commit_intent::Commit;
use pb::{CommitOutcome, IntentUnit};
use uuid::Uuid;

use crate::error::{Result, TransferError};
use crate::run::{Published, Run, Target};

/// How long a commit may be in doubt before the attempt ends; its successor goes on asking.
const COMMIT_LIMIT: Duration = Duration::from_secs(300);
/// Pause between two questions about a session that has not made up its mind.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A unit that is written and not published.
pub struct Written {
    /// The session; none when the unit has no rows.
    pub session: Option<UploadSession>,
    /// Its blocks.
    pub blocks: Vec<BlockReceipt>,
    /// Rows read.
    pub rows: i64,
}

fn table(target: &Target) -> TargetTable {
    let name = &target.definition.target;
    TargetTable {
        project: name.project.to_string(),
        schema: name.schema.as_ref().map(ToString::to_string).unwrap_or_default(),
        table: name.table.to_string(),
    }
}

/// Publishes a unit. Its old rows are replaced by exactly those written.
pub async fn publish(run: &Run, target: &Target, unit: &TargetUnit, written: Written) -> Result<pb::UnitResult> {
    run.progress.show(TransferStep::Commit);
    let intent_id = Uuid::new_v4();
    let commit = match &written.session {
        Some(session) => Commit::Tunnel(pb::TunnelCommit {
            session_id: session.id().to_owned(),
            block_ids: written.blocks.iter().map(|block| i64::from(block.block_id)).collect(),
        }),
        // A unit without rows has no session: truncating it is its commit, under an id that makes it one statement.
        None => Commit::Sql(pb::SqlCommit { instance_key: intent_id.to_string(), staging: None }),
    };
    let covered = IntentUnit {
        unit_index: unit.index,
        partition: unit.partition.clone(),
        rows: written.rows,
        bytes: unit.source_bytes,
    };
    let intent = pb::CommitIntent {
        intent_id: intent_id.to_string(),
        task: String::new(),
        target: Some(table(target)),
        units: vec![covered],
        commit: Some(commit),
        job_uid: String::new(),
    };
    begin(run, target, &intent).await?;
    match &written.session {
        Some(session) => commit_session(run, &intent, session).await?,
        None => truncate(target, unit, intent_id).await?,
    }
    settle(run, &intent, CommitOutcome::Committed).await?;
    run.progress.show(TransferStep::Data);
    Ok(pb::UnitResult { unit_index: unit.index, rows: written.rows, bytes: unit.source_bytes })
}

/// Has the scheduler store the intent; another one that is open on the unit is resolved first.
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
                let outcome = ask(target, &open).await?;
                settle(run, &open, outcome).await?;
            }
        }
    }
}

async fn commit_session(run: &Run, intent: &pb::CommitIntent, session: &UploadSession) -> Result<()> {
    match session.commit(COMMIT_LIMIT).await {
        Ok(()) => Ok(()),
        Err(MaxComputeError::SessionLost { session, state }) => {
            settle(run, intent, lost(state)).await?;
            Err(TransferError::SessionLost(session))
        }
        // In doubt, or refused with the session still there: the intent stays open, and the next attempt resolves it.
        Err(error) => Err(error.into()),
    }
}

async fn truncate(target: &Target, unit: &TargetUnit, id: Uuid) -> Result<()> {
    let partition = target.partition(&unit.partition)?;
    target.run(ddl::truncate(&target.definition.target, partition.as_ref()), id).await?;
    Ok(())
}

/// Tells the scheduler what became of an intent.
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
        .await
}

/// Resolves the intents that a lease names. Units of this very task that turn out to be published are noted.
pub async fn resolve_open(
    run: &Run,
    target: &Target,
    open: &[pb::CommitIntent],
    published: &mut Published,
) -> Result<()> {
    for intent in open {
        let outcome = ask(target, intent).await?;
        tracing::info!(task = run.spec.name, intent = intent.intent_id, outcome = outcome.as_str_name(), "resolved");
        settle(run, intent, outcome).await?;
        if outcome == CommitOutcome::Committed && intent.task == run.spec.name {
            for unit in &intent.units {
                let done = pb::UnitResult { unit_index: unit.unit_index, rows: unit.rows, bytes: unit.bytes };
                published.insert(unit.unit_index, done);
            }
        }
    }
    Ok(())
}

/// Finds out what became of an intent: a session that still can is committed, so that it cannot be later.
async fn ask(target: &Target, intent: &pb::CommitIntent) -> Result<CommitOutcome> {
    let unit = intent.units.first().ok_or_else(|| TransferError::Plan("an intent names no unit".to_owned()))?;
    let partition = target.partition(&unit.partition)?;
    match &intent.commit {
        Some(Commit::Tunnel(tunnel)) => {
            let tunnel_client = target.project.tunnel().await?;
            let session =
                tunnel_client.upload_session(&target.definition.target, partition.as_ref(), &*tunnel.session_id);
            ask_session(&session).await
        }
        Some(Commit::Sql(sql)) => {
            // The same id is the same statement: if the first was received, this waits for it.
            let id = Uuid::parse_str(&sql.instance_key)
                .map_err(|error| TransferError::Plan(format!("instance key `{}`: {error}", sql.instance_key)))?;
            target.run(ddl::truncate(&target.definition.target, partition.as_ref()), id).await?;
            Ok(CommitOutcome::Committed)
        }
        Some(Commit::Storage(_) | Commit::Replace(_)) | None => {
            Err(TransferError::Plan(format!("intent {} is of a kind this worker does not know", intent.intent_id)))
        }
    }
}

async fn ask_session(session: &UploadSession) -> Result<CommitOutcome> {
    loop {
        let state = session.status().await?;
        match resolve(state) {
            Resolution::Committed => return Ok(CommitOutcome::Committed),
            Resolution::Lost => return Ok(lost(state)),
            Resolution::Wait => tokio::time::sleep(ASK_AGAIN).await,
            Resolution::CommitAgain => match session.commit(COMMIT_LIMIT).await {
                Ok(()) => return Ok(CommitOutcome::Committed),
                Err(MaxComputeError::SessionLost { state, .. }) => return Ok(lost(state)),
                Err(error) => return Err(error.into()),
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
