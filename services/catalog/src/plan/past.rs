//! Compares a plan with what the catalog knows of earlier moves of the table. Reads from the store, the log and the target what
//! [`super::changed`] and [`super::gone`] need for their decisions. Writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use mms_delta::{Snapshot, TableTotals};
use mms_mapping::PartitionMapping;
use mms_maxcompute::metadata::TableInfo as TargetInfo;
use mms_proto::catalog::v1 as pb;
use mms_proto::types::v1 as types;
use mms_store::{Read, Scope};
use sha2::{Digest, Sha256};

use super::changed::{self, Now};
use super::finding::Note;
use super::units::Units;
use super::{Work, gone};
use crate::error::Result;
use crate::key;
use crate::record::{Migrated, Target};
use crate::status::State;
use crate::store::PARTITIONS;

/// A digest of everything but the source's rows that decides how the target's rows are made.
pub fn rules_digest(
    target: &types::TargetDefinition,
    mapping: &PartitionMapping,
    snapshot: &Snapshot,
) -> serde_json::Result<Vec<u8>> {
    let columns: Vec<_> = target
        .columns
        .iter()
        .map(|column| {
            (&column.source_column, &column.source_type, &column.target_column, &column.target_type, column.role)
        })
        .collect();
    let text = snapshot.shape().text();
    let rules =
        (columns, mapping, snapshot.schema_json(), format!("{:?}", text.column_mapping), text.partition_columns);
    Ok(Sha256::digest(serde_json::to_vec(&rules)?).to_vec())
}

/// One plan, and what it is compared with.
pub struct Past<'a> {
    pub work: &'a Work<'a>,
    pub snapshot: &'a Snapshot,
    pub totals: &'a TableTotals,
    pub mapping: &'a PartitionMapping,
    pub target: &'a types::TargetDefinition,
    /// The [`rules_digest`] of this plan.
    pub rules: &'a [u8],
}

/// State and last move of each source partition, by the last segment of its name; by the empty one for an unpartitioned table.
type Moved = BTreeMap<String, (State, Migrated)>;

impl Past<'_> {
    fn place(&self) -> Target {
        let name = self.target.table.clone().unwrap_or_default();
        Target { project: name.project, schema: name.schema, table: name.table }
    }

    /// Marks the units whose rows are at the target already, if the job asked for that.
    pub async fn mark(&self, units: &mut Units, target_unchanged: bool, notes: &mut Vec<Note>) -> Result<()> {
        let table = &self.work.table;
        // A table that was never moved is moved as a whole, without a finding.
        let Some(last) = table.migrated.as_ref().filter(|_| self.work.ask.marks_unchanged) else { return Ok(()) };
        let place = self.place();
        let now = Now { table_id: self.snapshot.table_id(), target: &place };
        let why = if last.table_id != now.table_id {
            Some("parts of it are of another table, or were moved by different ones")
        } else if now.version_of(last).is_none() {
            Some("it was moved to another place")
        } else if !target_unchanged || table.target_digest.is_empty() {
            Some("the target was changed since a job looked at the whole of it, or no job has")
        } else if table.rules_digest != self.rules {
            Some("its schema, or the rules of its mapping, are not those that it was moved by")
        } else {
            None
        };
        if let Some(why) = why {
            notes.push(changed::whole(why));
            return Ok(());
        }
        let moved = self.moved()?;
        let segments = self.segments()?;
        let version = |source: usize| {
            let (state, migrated) = moved.get(segments.get(&source).map_or("", String::as_str))?;
            now.version_of(migrated).filter(|_| *state == State::Done)
        };
        let versions = changed::versions(units, version);
        let Some(since) = versions.iter().flatten().min().copied() else { return Ok(()) };
        let changes = self.snapshot.changes_since(since).await?;
        let counted = self.counted(units);
        match changed::at_target(units, self.mapping, &versions, &changes, |unit| counted.get(unit) == Some(&true)) {
            Ok(at_target) => {
                notes.push(changed::told(units, &at_target, since));
                units.mark(at_target);
            }
            Err(why) => notes.push(changed::whole(&why)),
        }
        Ok(())
    }

    /// Returns the target partitions whose source partitions do not exist any more, if the job asked for that.
    pub async fn gone(
        &self,
        units: &Units,
        there: Option<&TargetInfo>,
        notes: &mut Vec<Note>,
    ) -> Result<Vec<pb::GonePartition>> {
        let Some(there) = there.filter(|_| self.work.ask.names_gone) else { return Ok(Vec::new()) };
        let place = self.place();
        let live: BTreeSet<String> = self.segments()?.into_values().collect();
        let moved = self.moved()?;
        let here = |moved: &Migrated| {
            moved.target.as_ref().is_some_and(|at| crate::rollup::target_text(at) == crate::rollup::target_text(&place))
        };
        let gone = moved.iter().filter(|(segment, (_, moved))| !live.contains(*segment) && here(moved));
        let places = gone::places(units, self.mapping, gone.map(|(segment, _)| segment.as_str()));
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let partitions = self.work.source.target_partitions(there).await?;
        let at_target =
            partitions.iter().map(|part| part.spec.0.iter().map(|(_, value)| value.clone()).collect()).collect();
        let (named, note) = gone::there(places, &at_target);
        notes.extend(note);
        let value = |(column, value): (String, String)| types::PartitionValue { column, value, is_null: false };
        Ok(named
            .into_iter()
            .map(|values| pb::GonePartition { values: values.into_iter().map(value).collect() })
            .collect())
    }

    fn moved(&self) -> Result<Moved> {
        let table = &self.work.table;
        if self.totals.numbers() == 0 && self.snapshot.partition_columns().is_empty() {
            let own = table.own_migrated.clone().map(|moved| (State::of(table.own_state), moved));
            return Ok(own.into_iter().map(|own| (String::new(), own)).collect());
        }
        let mut moved = Moved::new();
        self.work.core.store.read(|read| {
            read.scan(&PARTITIONS, &Scope::prefix(self.work.key), |key, partition| {
                let state = State::of(partition.state);
                moved.extend(partition.migrated.map(|migrated| (key.3, (state, migrated))));
                ControlFlow::Continue(())
            })
        })?;
        Ok(moved)
    }

    /// The last segment of the name of each source partition, by its number.
    fn segments(&self) -> Result<BTreeMap<usize, String>> {
        let partitions = self.totals.partitions().into_iter();
        partitions.map(|(number, partition)| Ok((number, key::segment(&partition.values)?))).collect()
    }

    /// By unit: whether the log has the number of its rows.
    fn counted(&self, units: &Units) -> Vec<bool> {
        let rows = |source: &usize| match self.totals.partition(*source) {
            Some(partition) => partition.totals.rows.is_some(),
            None => self.totals.all().rows.is_some(),
        };
        units.sources().iter().map(|sources| sources.iter().all(rows)).collect()
    }
}
