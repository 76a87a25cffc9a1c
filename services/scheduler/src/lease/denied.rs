//! A data source whose credential is refused: its tasks are held back but for one that tries. What follows from what is
//! [`Denial`]'s; here it is read and stored.

use mms_proto::ErrorReason;
use mms_store::{Read, Tx};

use crate::error::{Result, SchedulerError};
use crate::key::{DataSourceKey, JobKey, TaskKey};
use crate::moment::Moment;
use crate::record::{Denial, Epoch, Reason, Task};
use crate::scheduler::Scheduler;
use crate::store::{DENIALS, TASKS};

/// Whether a failure says that the source does not let us read.
pub fn is_refusal(reason: ErrorReason) -> bool {
    matches!(
        reason,
        ErrorReason::StorageDenied
            | ErrorReason::CredentialExpired
            | ErrorReason::ExternalUseDenied
            | ErrorReason::ExternalAccessOff
    )
}

fn source_of(job: &JobKey) -> DataSourceKey {
    DataSourceKey { data_source: job.data_source.clone() }
}

/// How many tasks of a job's source may be leased now, as far as its credential is concerned: none bounds it, one tries it.
pub fn room(read: &impl Read, at: &Moment, job: &JobKey) -> Result<Option<usize>> {
    let Some(denial) = read.get(&DENIALS, &source_of(job))?.filter(Denial::holds) else { return Ok(None) };
    if !denial.is_due(at.now_ms) {
        return Ok(Some(0));
    }
    let Some((id, number, epoch)) = denial.trying() else { return Ok(Some(1)) };
    let key = TaskKey { job: JobKey { data_source: job.data_source.clone(), job: id.to_owned() }, number };
    let tries = read.get(&TASKS, &key)?.is_some_and(|task| task.leased() && task.epoch == epoch);
    Ok(Some(usize::from(!tries)))
}

/// What a job waits for, if its source waits.
pub fn waits(read: &impl Read, job: &JobKey) -> Result<Option<Reason>> {
    let denial = read.get(&DENIALS, &source_of(job))?.filter(Denial::holds);
    Ok(denial.and_then(|denial| denial.reason).map(|refused| {
        let text = format!(
            "the data source's credential is refused, and one task tries it every half minute until it is put right: {}",
            refused.message
        );
        Reason::new(*refused.reason, text)
    }))
}

/// Notes that a task of a source that waits was leased, and so tries it.
pub fn tried(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, epoch: Epoch) -> Result<()> {
    let source = source_of(&key.job);
    if let Some(mut denial) = tx.get(&DENIALS, &source)?.filter(Denial::holds) {
        denial.tried(at.now_ms, (&key.job.job, key.number), epoch);
        tx.put(&DENIALS, &source, &denial)?;
    }
    Ok(())
}

/// Whether a refusal is the source's, which then waits; else it is the task's own failure.
pub fn is_of_source(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, task: &Task, reason: &Reason) -> Result<bool> {
    let source = source_of(&key.job);
    let mut denial = tx.get(&DENIALS, &source)?.unwrap_or_default();
    let is = denial.refused(at.now_ms, task.refused_ms, reason);
    tx.put(&DENIALS, &source, &denial)?;
    Ok(is)
}

/// Notes that a task has read rows.
pub fn let_in(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, epoch: Epoch) -> Result<()> {
    let source = source_of(&key.job);
    if let Some(mut denial) = tx.get(&DENIALS, &source)?
        && denial.let_in(at.now_ms, (&key.job.job, key.number), epoch)
    {
        tx.put(&DENIALS, &source, &denial)?;
        tracing::info!(data_source = source.data_source, "its credential is let in again");
    }
    Ok(())
}

/// The same of a task that says so while it reads. Looks first, as a commit waits for the disk; what is forgotten the next heartbeat
/// says again.
pub async fn reads(scheduler: &Scheduler, key: &TaskKey, epoch: Epoch) -> Result<()> {
    let tries = scheduler.store.read(|read| {
        let denial = read.get(&DENIALS, &source_of(&key.job))?;
        let own = (key.job.job.as_str(), key.number, epoch);
        Ok::<_, SchedulerError>(denial.is_some_and(|denial| denial.holds() && denial.trying() == Some(own)))
    })?;
    if tries {
        let (at, key) = (scheduler.moment(), key.clone());
        scheduler.store.commit_soon(move |tx| let_in(tx, &at, &key, epoch)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, done, job_key, task_key};
    use crate::record::Step;
    use crate::report::take::Said;

    fn refused() -> Said {
        let reason = Reason::new(ErrorReason::CredentialExpired, "the SAS has expired");
        Said::Failed { step: Step::Data, permanent: false, reason, verification: None, missed: None, lost: Vec::new() }
    }

    /// One of the tasks that are leased now, as it was given out.
    async fn leased(fixture: &Fixture) -> Vec<(u32, Epoch)> {
        let granted = fixture.lease("a", 10).await;
        granted.iter().map(|one| (one.key.number, one.task.epoch)).collect()
    }

    #[tokio::test]
    async fn a_refused_credential_costs_no_attempt_and_one_task_at_a_time_tries_it() {
        let mut fixture = Fixture::new(4).await;
        let maker = leased(&fixture).await[0];
        assert!(fixture.report(maker.0, "a", maker.1, done(Step::Schema)).await);
        let others = leased(&fixture).await;
        assert_eq!(others.len(), 3);
        for (number, epoch) in [vec![maker], others].concat() {
            assert!(fixture.report(number, "a", epoch, refused()).await);
            let task = fixture.task(number);
            assert!(task.failures == 0 && task.is_ready(), "{task:?}");
        }
        let waits = |fixture: &Fixture| fixture.store.read(|read| waits(read, &job_key())).expect("readable");
        let said = waits(&fixture).expect("it waits");
        assert!(said.reason == ErrorReason::CredentialExpired && said.message.contains("the SAS has expired"));
        // For an hour: one at a time, which costs nobody an attempt.
        let mut tries = 0;
        for _ in 0..3_600 {
            fixture.pass(1_000);
            let now = leased(&fixture).await;
            assert!(now.len() <= 1, "{now:?}");
            if let Some((number, epoch)) = now.first().copied() {
                assert!(leased(&fixture).await.is_empty(), "no second one beside it");
                assert!(fixture.report(number, "a", epoch, refused()).await);
                tries += 1;
            }
        }
        assert!((100..150).contains(&tries), "{tries} tries in an hour");
        assert_eq!(fixture.job().counts.tasks_failed, 0);
        // It is put right: the one that tries reads, and all others follow at once.
        fixture.pass(30_000);
        let (number, epoch) = leased(&fixture).await[0];
        let at = fixture.at();
        fixture.commit(move |tx| let_in(tx, &at, &task_key(number), epoch)).await.expect("stored");
        assert_eq!((leased(&fixture).await.len(), waits(&fixture)), (3, None));
    }

    #[tokio::test]
    async fn a_table_that_alone_is_refused_uses_up_its_attempts() {
        let mut fixture = Fixture::new(2).await;
        let maker = leased(&fixture).await[0];
        assert!(fixture.report(maker.0, "a", maker.1, done(Step::Schema)).await);
        let other = leased(&fixture).await[0];
        assert!(fixture.report(other.0, "a", other.1, refused()).await);
        // The maker goes on reading, but was given out before: it says nothing of the credential that there is now.
        let at = fixture.at();
        fixture.commit(move |tx| let_in(tx, &at, &task_key(maker.0), maker.1)).await.expect("stored");
        assert!(fixture.store.read(|read| waits(read, &job_key())).expect("readable").is_some());
        assert!(fixture.report(maker.0, "a", maker.1, refused()).await);
        fixture.pass(20_000);
        let first = leased(&fixture).await[0];
        let at = fixture.at();
        fixture.commit(move |tx| let_in(tx, &at, &task_key(first.0), first.1)).await.expect("stored");
        let alone = leased(&fixture).await[0];
        assert!(fixture.report(alone.0, "a", alone.1, refused()).await);
        assert_eq!(fixture.task(alone.0).failures, 1, "the other one is read with the same credential");
        assert!(fixture.store.read(|read| waits(read, &job_key())).expect("readable").is_none());
    }
}
