//! Decides, inside a commit, whether target partitions whose source partitions do not exist any more may be dropped: only those
//! that the plan names, in a job with dropped_policy DROP, by the task with the LOOK step, and never one that another live job
//! has claimed.

use std::collections::BTreeSet;

use mms_store::Read;

use super::claim;
use crate::error::{Result, SchedulerError};
use crate::key::TaskKey;
use crate::name;
use crate::record::{Commit, Intent, Job, Step, Task};
use crate::store::{JOB_TABLES, UNITS};

/// Whether an intent drops only partitions that this task may drop.
///
/// # Errors
/// Another job has claimed one of the partitions.
pub fn may_drop(read: &impl Read, key: &TaskKey, task: &Task, job: &Job, intent: &Intent) -> Result<bool> {
    let Some(Commit::Replace(drop)) = &intent.commit else { return Ok(false) };
    if !job.spec().drops_gone() || !task.steps().contains(&Step::Look) || drop.partitions.is_empty() {
        return Ok(false);
    }
    let Some(table) = read.get(&JOB_TABLES, &task.table_key(&key.job))? else { return Ok(false) };
    let own = |values| intent.target.unit_key(values);
    let named: BTreeSet<_> = table.plan.gone.iter().map(|gone| own(&gone.values).partition).collect();
    for partition in &drop.partitions {
        let unit = own(&partition.values);
        if !named.contains(&unit.partition) {
            return Ok(false);
        }
        let claim = read.get(&UNITS, &unit)?.unwrap_or_default();
        if let Some(owner) = claim.owner().filter(|owner| owner.job_uid != job.uid())
            && claim::holds(read, &owner.key(), &owner.job_uid)?
        {
            let target = format!("{} partition {}", unit.target, unit.partition);
            return Err(SchedulerError::TargetOwned { target, job: name::job_name(&owner.key()) });
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use mms_proto::scheduler::v1::DroppedPolicy;

    use super::*;
    use crate::fixture::{Fixture, Given, intent, job_key, plan, table_key, task_key};
    use crate::record::{DroppedPartition, JobTable, Replacement, Spec, TablePlan};

    fn gone(units: &[usize]) -> Vec<DroppedPartition> {
        let values = intent(units).units.into_iter().map(|unit| unit.partition);
        values.map(|values| DroppedPartition { values }).collect()
    }

    /// Judges a drop of these partitions by a job with policy DROP, whose plan names partitions 8 and 9 as gone.
    async fn judged(fixture: &Fixture, units: &[usize]) -> Result<bool> {
        let plan = TablePlan { gone: gone(&[8, 9]), ..plan("") };
        fixture
            .commit(move |tx| Ok(tx.put(&JOB_TABLES, &table_key(&job_key()), &JobTable::new(plan))?))
            .await
            .expect("stored");
        let drop = Replacement { instance_key: "k".to_owned(), partitions: gone(units) };
        let intent = Intent { commit: Some(Commit::Replace(drop)), ..intent(&[]) };
        let (task, job) = (fixture.task(0), fixture.job());
        fixture.store.read(|read| may_drop(read, &task_key(0), &task, &job, &intent))
    }

    async fn fixture(dropped: DroppedPolicy) -> Fixture {
        let spec = Spec { dropped: dropped.into(), ..Spec::default() };
        Fixture::of(1, Given { spec, ..Given::default() }).await
    }

    #[tokio::test]
    async fn only_what_the_plan_names_is_dropped_by_policy_and_nothing_that_another_job_claims() {
        let keeps = fixture(DroppedPolicy::Keep).await;
        assert!(!judged(&keeps, &[8]).await.expect("judged"), "the job keeps what is gone");
        let drops = fixture(DroppedPolicy::Drop).await;
        assert!(judged(&drops, &[8, 9]).await.expect("judged"));
        for others in [&[][..], &[0], &[8, 0]] {
            assert!(!judged(&drops, others).await.expect("judged"), "{others:?}");
        }
        drops.another("k", Given::default(), 9..10, "").await;
        assert!(judged(&drops, &[8]).await.expect("judged"));
        let refused = judged(&drops, &[8, 9]).await.expect_err("claimed");
        assert!(matches!(&refused, SchedulerError::TargetOwned { target, .. } if target.contains("pt=9")), "{refused}");
    }
}
