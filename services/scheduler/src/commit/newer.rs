//! Checks whether a job would write an older version of a source table over a newer one. Reads only.

use mms_proto::scheduler::v1::OlderVersion;
use mms_store::Read;

use super::target;
use crate::error::{Result, SchedulerError};
use crate::key::TableKey;
use crate::record::{Job, TargetName, Unit, Version};
use crate::store::LINEAGE;

/// Returns why a job must not write these units: it would write an older version over a newer one, and its spec does
/// not allow that. None if it may write them.
pub fn refusal<'a>(
    read: &impl Read,
    job: &Job,
    key: &TableKey,
    target: &TargetName,
    version: &Version,
    units: impl Iterator<Item = &'a Unit>,
) -> Result<Option<SchedulerError>> {
    if job.spec().older_version == OlderVersion::Overwrite {
        return Ok(None);
    }
    let found = than(read, target, version, units)?.zip(version.delta);
    Ok(found.map(|(there, own)| SchedulerError::TargetNewer {
        table: format!("{}.{}", key.schema, key.table),
        target: target.key().to_string(),
        there,
        own,
    }))
}

/// Returns the newest version of the same source table in these units, if it is newer than this one.
fn than<'a>(
    read: &impl Read,
    target: &TargetName,
    version: &Version,
    units: impl Iterator<Item = &'a Unit>,
) -> Result<Option<i64>> {
    let Some(own) = version.delta else { return Ok(None) };
    let generation = target::of(read, target)?.generation();
    let mut newest = None;
    for unit in units {
        let Some(entry) = read.get(&LINEAGE, &target.unit_key(&unit.partition))? else { continue };
        let there = entry.version.filter(|there| entry.generation == generation && there.table_id == version.table_id);
        newest = newest.max(there.and_then(|there| there.delta).filter(|there| *there > own));
    }
    Ok(newest)
}
