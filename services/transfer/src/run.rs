//! One attempt at a task: the steps that are left, in order, each reported when it is done. What the steps work with is
//! [`Run`]'s; how a step is done is the step's.

use mms_proto::scheduler::v1 as pb;
use pb::TaskStep;

use crate::context::{Published, Run};
use crate::ends::Sessions;
use crate::error::TransferError;
use crate::target::Target;
use crate::{data, publish, schema, verify};

/// How an attempt ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All steps are done and reported.
    Done,
    /// It stopped at a checkpoint: the lease is to be given back.
    WoundDown,
    /// What can be done now is done and reported, which ended the lease; the steps that are left come later.
    Later,
}

/// Does what is left of a task. What fails is reported by the caller, with the step it failed in.
pub async fn attempt(run: &Run, sessions: &Sessions, lease: &pb::Lease) -> Result<End, (TaskStep, TransferError)> {
    let first = TaskStep::try_from(lease.first_step).unwrap_or(TaskStep::Schema);
    let ends = sessions.ends(&run.spec.data_source).await.map_err(|error| (first, error))?;
    let target = Target::of(&run.spec, &ends).map_err(|error| (first, error))?;
    let mut published: Published = lease.units_done.iter().map(|unit| (unit.unit_index, *unit)).collect();
    publish::resolve_open(run, &target, &lease.open_intents, &mut published).await.map_err(|e| (first, e))?;
    let makes_schema = run.spec.steps.contains(&(TaskStep::Schema as i32));
    if first == TaskStep::Data {
        // Another attempt's SCHEMA, or nobody's: what is there now may be somebody else's.
        schema::check_ours(run, &target).await.map_err(|error| (first, error))?;
    }
    let left = run.spec.steps.iter().filter_map(|step| TaskStep::try_from(*step).ok());
    for step in left.filter(|step| *step as i32 >= first as i32) {
        let fail = |error| (step, error);
        run.progress.set_step(step);
        run.report(pb::task_report::Event::StepBegun(pb::StepBegun { step: step as i32 }), vec![])
            .await
            .map_err(fail)?;
        let (done, lines) = match step {
            TaskStep::Data => match data::run(run, &ends, &target, &mut published).await {
                Ok(Some(done)) => done,
                Ok(None) => return Ok(End::WoundDown),
                Err(error) if makes_schema && error.target_is_gone() => {
                    return Err(fail(TransferError::TargetGone(error.to_string())));
                }
                Err(error) => return Err(fail(error)),
            },
            TaskStep::Verification => verify::run(run, &target, &published).await.map_err(fail)?,
            _ => schema::run(run, &target).await.map_err(fail)?,
        };
        run.report(pb::task_report::Event::StepDone(done), lines).await.map_err(fail)?;
    }
    run.progress.finish();
    Ok(End::Done)
}
