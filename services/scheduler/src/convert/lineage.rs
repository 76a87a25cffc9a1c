//! Converts lineage entries.

use mms_proto::scheduler::v1 as pb;
use mms_proto::time::timestamp;

use super::plan::{target_name_to, value_to, version_to};
use crate::record::Lineage;

/// A lineage entry as callers see it: where the rows of a target unit came from.
pub fn lineage_to(lineage: Lineage) -> pb::LineageEntry {
    pb::LineageEntry {
        time: timestamp(lineage.time_ms),
        target: Some(target_name_to(&lineage.target)),
        partition: lineage.partition.iter().map(value_to).collect(),
        table: lineage.table,
        version: lineage.version.as_ref().map(version_to),
        task: lineage.task,
        intent_id: lineage.intent_id,
        rows: lineage.rows,
    }
}
