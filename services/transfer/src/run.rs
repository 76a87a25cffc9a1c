//! One attempt at a task: runs the remaining steps in order and reports each when it is done. How a step is done is the
//! step's own module; what the steps share is [`Run`].

use std::sync::Arc;

use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::TargetIdentity;
use pb::TaskStep;

use crate::context::{Published, Report, Run};
use crate::ends::{Ends, Sessions};
use crate::error::TransferError;
use crate::look::Sight;
use crate::target::Target;
use crate::{data, identity, look, publish, schema, verify};

/// How an attempt ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All steps are done and reported.
    Done,
    /// It stopped at a checkpoint: the caller releases the lease.
    WoundDown,
    /// What can be done now is done and reported, which ended the lease; the remaining steps are leased later.
    Later,
}

/// Runs the remaining steps of a task. A failure is returned with the step that it happened in; the caller reports it.
pub async fn attempt(run: &Run, sessions: &Arc<Sessions>, lease: &pb::Lease) -> Result<End, (TaskStep, TransferError)> {
    let first = TaskStep::try_from(lease.first_step).unwrap_or(TaskStep::Schema);
    let ends = sessions.ends(&run.spec.data_source).await.map_err(|error| (first, error))?;
    let outcome = steps(run, sessions, &ends, lease, first).await;
    if outcome.as_ref().is_err_and(|(_, error)| error.credential_refused()) {
        sessions.forget(&run.spec.data_source, &ends).await;
    }
    outcome
}

async fn steps(
    run: &Run,
    sessions: &Arc<Sessions>,
    ends: &Arc<Ends>,
    lease: &pb::Lease,
    first: TaskStep,
) -> Result<End, (TaskStep, TransferError)> {
    let target = Target::of(&run.spec, sessions, ends).map_err(|error| (first, error))?;
    let mut published: Published = lease.units_done.iter().map(|unit| (unit.unit_index, *unit)).collect();
    publish::resolve_open(run, &target, &lease.open_intents, &mut published).await.map_err(|e| (first, e))?;
    let makes_schema = run.spec.steps.contains(&(TaskStep::Schema as i32));
    let mut identity = match first {
        // These steps check the table themselves.
        TaskStep::Schema | TaskStep::Look => TargetIdentity::default(),
        // SCHEMA was another attempt's, or no step of this job: the table that is there now may be another's.
        _ => schema::check_ours(run, &target, run.spec.identity.as_ref()).await.map_err(|error| (first, error))?,
    };
    let mut sight = None;
    let left = run.spec.steps.iter().filter_map(|step| TaskStep::try_from(*step).ok());
    for step in left.filter(|step| *step as i32 >= first as i32) {
        let fail = |error| (step, error);
        run.progress.set_step(step);
        let report = match step {
            TaskStep::Data => match data::run(run, (sessions, ends), &target, &identity, &mut published).await {
                Ok(Some(report)) => report,
                Ok(None) => return Ok(End::WoundDown),
                Err(error) if makes_schema && error.target_is_gone() => {
                    return Err(fail(what_is_gone(&target, &identity, error).await));
                }
                Err(error) => return Err(fail(error)),
            },
            TaskStep::Verification => {
                sight = Sight::take(run, &target, &identity).await;
                let (done, lines) = verify::run(run, &target, &published, sight.as_ref()).await.map_err(fail)?;
                Report::of(done, lines)
            }
            TaskStep::Look => {
                // What this attempt found or made is newer than what the lease says.
                let wanted = if first == TaskStep::Look { run.spec.identity.as_ref() } else { Some(&identity) };
                let (done, lines) = look::run(run, &target, wanted, sight.take()).await.map_err(fail)?;
                Report::of(done, lines)
            }
            TaskStep::Schema | TaskStep::Unspecified => {
                let (done, lines) = schema::run(run, &target).await.map_err(fail)?;
                identity = done.identity.clone().unwrap_or_default();
                Report::of(done, lines)
            }
        };
        if run.report(report).await.map_err(fail)? {
            return Ok(End::Later);
        }
    }
    run.progress.finish();
    Ok(End::Done)
}

/// Tells whether the whole table or only a partition is gone, when the target says that what rows are sent to does not exist.
async fn what_is_gone(target: &Target, identity: &TargetIdentity, error: TransferError) -> TransferError {
    match identity::still(target, identity).await {
        Ok(()) => TransferError::TargetGone { what: error.to_string(), whole: false, found: None },
        Err(gone @ (TransferError::TargetGone { .. } | TransferError::Conflict { .. })) => gone,
        // The target cannot be asked now; the next attempt asks it.
        Err(_) => error,
    }
}
