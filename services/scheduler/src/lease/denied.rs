//! Holds back the tasks of a data source whose credential was refused, but for one task at a time that tries it.
//! [`Denial`] decides; this module reads and stores it.

use mms_proto::ErrorReason;
use mms_store::{Read, Tx};

use crate::error::{Result, SchedulerError};
use crate::key::{DataSourceKey, JobKey, TaskKey};
use crate::moment::Moment;
use crate::record::{Denial, Epoch, Reason, Task};
use crate::scheduler::Scheduler;
use crate::store::{DENIALS, TASKS};

/// Whether a failure says that the credential does not let the source be read.
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

/// How many tasks of the job's data source its credential lets be leased now: None for no bound, 1 for one that tries
/// it, 0 if it is not time to try or one tries already.
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

/// Returns what a job waits for if its data source's credential is refused.
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

/// If the task's data source waits, notes that this lease of the task now tries its credential.
pub fn tried(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, epoch: Epoch) -> Result<()> {
    let source = source_of(&key.job);
    if let Some(mut denial) = tx.get(&DENIALS, &source)?.filter(Denial::holds) {
        denial.tried(at.now_ms, (&key.job.job, key.number), epoch);
        tx.put(&DENIALS, &source, &denial)?;
    }
    Ok(())
}

/// Notes a refusal. Returns true if it is the data source's, which then waits and the task loses no attempt; false if
/// it is the task's own failure.
pub fn is_of_source(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, task: &Task, reason: &Reason) -> Result<bool> {
    let source = source_of(&key.job);
    let mut denial = tx.get(&DENIALS, &source)?.unwrap_or_default();
    let is = denial.refused(at.now_ms, task.refused_ms, reason);
    tx.put(&DENIALS, &source, &denial)?;
    Ok(is)
}

/// Notes that a task has read rows. If it was the one that tried the credential, its data source no longer waits.
pub fn let_in(tx: &mut Tx<'_>, at: &Moment, key: &TaskKey, epoch: Epoch) -> Result<()> {
    let source = source_of(&key.job);
    if let Some(mut denial) = tx.get(&DENIALS, &source)?
        && denial.let_in(at.now_ms, (&key.job.job, key.number), epoch)
    {
        tx.put(&DENIALS, &source, &denial)?;
        tracing::info!(
            data_source = source.data_source,
            "the data source accepts its credential again; its tasks are leased again"
        );
    }
    Ok(())
}

/// As [`let_in`], for a task that is still reading. Reads before it writes, because a commit waits for the disk. If a
/// crash forgets it, the next heartbeat tells it again.
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

    /// Leases what can be leased now: numbers and epochs.
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
        // For an hour one task at a time tries it, and none loses an attempt.
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
        // The credential is corrected: the task that tries it reads rows, and all others are leased at once.
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
        // The maker reads rows too, but it was leased before the refusal, so it proves nothing about the present
        // credential.
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
