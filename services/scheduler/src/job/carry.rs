//! Carries changes of jobs through, piece by piece, even if the caller disconnects, and takes up those that a crash or
//! an error interrupted.

use mms_store::{Read, Scope, Tx};

use super::change::{self, Cursor, Step};
use super::request::Call;
use super::stored;
use crate::error::{Result, SchedulerError};
use crate::key::JobKey;
use crate::moment::Moment;
use crate::name;
use crate::record::{Change, Job};
use crate::scheduler::Scheduler;
use crate::store::{JOBS, OPEN_JOBS};

/// What is written with the last piece of a change.
pub trait Remember: Fn(&mut Tx<'_>, &Moment) -> Result<()> + Clone + Send + 'static {}

impl<F: Fn(&mut Tx<'_>, &Moment) -> Result<()> + Clone + Send + 'static> Remember for F {}

/// How a change ended.
pub enum Outcome {
    /// It is complete. None: the job is deleted.
    Done(Option<Box<Job>>),
    /// No change was under way any more.
    Idle(Box<Job>),
}

/// Carries through the change that is under way with a job. `done` is called in the commit of the last piece.
pub async fn carry(scheduler: &Scheduler, job: &JobKey, done: impl Remember) -> Result<Outcome> {
    let mut cursor = Cursor::default();
    loop {
        let (key, at, from, done) = (job.clone(), scheduler.moment(), cursor, done.clone());
        let piece = move |tx: &mut Tx<'_>| {
            let step = change::step(tx, &at, &key, from)?;
            if matches!(step, Step::Done(_)) {
                done(tx, &at)?;
            }
            Ok::<_, SchedulerError>(step)
        };
        match scheduler.store.commit(piece).await? {
            Step::More(next, ended) => {
                ended.iter().for_each(|(task, epoch)| scheduler.leases.end(task, *epoch));
                cursor = next;
            }
            Step::Done(job) => return Ok(Outcome::Done(job)),
            Step::Idle(job) => return Ok(Outcome::Idle(job)),
            Step::Refused(error) => return Err(error),
        }
    }
}

/// As [`carry`], with nothing to write at the end.
pub async fn carry_on(scheduler: &Scheduler, job: &JobKey) -> Result<Outcome> {
    carry(scheduler, job, |_: &mut Tx<'_>, _: &Moment| Ok(())).await
}

/// Changes a job: `begin` in a commit, then, holding the job's turn, all of the change that it began. A repeat with the
/// same request id returns the job as it is now.
pub async fn change<B>(scheduler: Scheduler, call: Call, key: JobKey, begin: B) -> Result<Option<Box<Job>>>
where
    B: FnOnce(&mut Tx<'_>, &Moment) -> Result<Job> + Send + 'static,
{
    let _turn = scheduler.turn(&key).await;
    let (own, at, id) = (key.clone(), scheduler.moment(), call.clone());
    let first = move |tx: &mut Tx<'_>| {
        if id.replayed(tx, &at)?.is_some() {
            return stored::find(tx, &own);
        }
        let job = begin(tx, &at)?;
        if job.change().is_none() {
            id.remember(tx, &at, &own, job.uid())?;
        }
        Ok::<_, SchedulerError>(job)
    };
    let job = scheduler.store.commit(first).await?;
    let Some(under_way) = job.change() else { return Ok(Some(Box::new(job))) };
    let own = key.clone();
    let uid = job.uid().to_owned();
    match carry(&scheduler, &key, move |tx: &mut Tx<'_>, at: &Moment| call.remember(tx, at, &own, &uid)).await? {
        Outcome::Done(job) => Ok(job),
        Outcome::Idle(job) if under_way == Change::Stop => Ok(Some(job)),
        // The job was stopped before the change was complete.
        Outcome::Idle(job) => Err(SchedulerError::Overtaken(name::job_name(&key), *job.state)),
    }
}

/// Jobs that are not at rest.
pub fn open_jobs(scheduler: &Scheduler) -> Result<Vec<JobKey>> {
    Ok(scheduler.store.read(|read| read.all_index_keys(&JOBS, &OPEN_JOBS, &Scope::all()))?)
}

/// Carries through the changes that a crash or a failed commit interrupted.
pub async fn take_up(scheduler: &Scheduler) -> Result<()> {
    for key in open_jobs(scheduler)? {
        let job = scheduler.store.read(|read| read.get(&JOBS, &key))?;
        if job.is_some_and(|job| job.change().is_some()) {
            let _turn = scheduler.turn(&key).await;
            match carry_on(scheduler, &key).await {
                Err(SchedulerError::TargetOwned { target, job }) => {
                    tracing::warn!(
                        target_table = target,
                        owner = job,
                        job = name::job_name(&key),
                        "the start or retry of the job is rejected: another job has claimed its target"
                    );
                }
                Err(error @ SchedulerError::TargetNewer { .. }) => {
                    tracing::warn!(%error, job = name::job_name(&key), "the start or retry of the job is rejected");
                }
                other => drop(other?),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{job_key, scheduler, stopped};
    use crate::job::calls;

    #[tokio::test]
    async fn a_change_that_broke_off_is_carried_through() {
        let fixture = stopped(2).await;
        let at = fixture.at();
        fixture.commit(move |tx| calls::delete(tx, &at, &job_key(), "")).await.expect("it has ended");
        let scheduler = scheduler(fixture.store.clone(), || 24 * 3600 * 1000);
        take_up(&scheduler).await.expect("done");
        assert!(scheduler.store.read(|read| read.get(&JOBS, &job_key())).expect("readable").is_none());
        assert!(open_jobs(&scheduler).expect("readable").is_empty(), "nothing is left to be carried through");
    }
}
