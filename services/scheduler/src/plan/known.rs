//! Checks the units that the catalog takes to be at the target against what this service has published itself. Where the two do
//! not agree, the unit is moved: a unit must never be skipped on the word of one of them. Reads only.

use mms_proto::FindingReason;
use mms_proto::types::v1::Severity;
use mms_store::Read;

use crate::commit::target;
use crate::error::Result;
use crate::record::{Finding, Lineage, TablePlan, TargetName, Unit};
use crate::store::LINEAGE;

/// What this service knows of a target table.
pub struct Known {
    target: Option<TargetName>,
    /// 0 if it is not known which table exists there.
    generation: u64,
}

impl Known {
    /// Reads what is known of the target of a plan.
    pub fn of(read: &impl Read, plan: &TablePlan) -> Result<Self> {
        let Some(target) = plan.target_name().cloned() else { return Ok(Self { target: None, generation: 0 }) };
        let known = target::of(read, &target)?;
        let counts = known.identity().is_some() && !known.is_stale();
        Ok(Self { target: Some(target), generation: if counts { known.generation() } else { 0 } })
    }

    /// The generation of the table that exists at the target; 0 if it is not known which table that is.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Clears `at_target` of units unless this service's last publication into them was to this generation of the table, with the
    /// number of rows that the source has. The units that keep it are marked as published.
    pub fn judge(&self, read: &impl Read, units: &mut [Unit]) -> Result<()> {
        for unit in units.iter_mut().filter(|unit| unit.at_target) {
            let entry = match &self.target {
                Some(target) if self.generation > 0 => read.get(&LINEAGE, &target.unit_key(&unit.partition))?,
                _ => None,
            };
            let same = |entry: &Lineage| entry.generation == self.generation && Some(entry.rows) == unit.source_rows;
            let there = entry.as_ref().is_some_and(same);
            (unit.at_target, unit.published) = (there, there);
        }
        Ok(())
    }
}

/// The finding that this many units are moved although the catalog takes them to be at the target; None for 0.
pub fn doubted(units: usize) -> Option<Finding> {
    (units > 0).then(|| Finding {
        severity: Severity::Note.into(),
        reason: FindingReason::ChangedUnitsWhole.into(),
        message: format!(
            "{units} units that are unchanged at the source are moved too: this scheduler does not know of having published them in the \
             table that is there"
        ),
        ..Finding::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, plan, target, units};

    fn judged(fixture: &Fixture, mut units: Vec<Unit>) -> Vec<bool> {
        units.iter_mut().for_each(|unit| (unit.at_target, unit.published) = (true, true));
        fixture.store.read(|read| Known::of(read, &plan(""))?.judge(read, &mut units)).expect("readable");
        assert!(units.iter().all(|unit| unit.at_target == unit.published));
        units.iter().map(|unit| unit.at_target).collect()
    }

    #[tokio::test]
    async fn a_unit_stays_only_if_its_very_rows_were_published_in_the_table_that_is_there() {
        let fixture = Fixture::new(2).await;
        assert_eq!(judged(&fixture, units(0..2)), [false, false], "nothing was published");
        fixture.finish_one("a").await;
        fixture.finish_one("a").await;
        assert_eq!(judged(&fixture, units(0..3)), [true, true, false], "the third never was");
        let mut other = units(0..2);
        other[0].source_rows = Some(8);
        other[1].source_rows = None;
        assert_eq!(judged(&fixture, other), [false, false]);
        fixture.commit(|tx| target::doubt(tx, &target())).await.expect("stored");
        assert_eq!(judged(&fixture, units(0..2)), [false, false], "nobody knows what is there");
        let told = doubted(2).expect("a finding");
        assert!(told.message.starts_with("2 units"), "{told:?}");
        assert_eq!(doubted(0), None);
    }
}
