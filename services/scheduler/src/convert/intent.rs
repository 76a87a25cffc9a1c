//! Converts commit intents.

use mms_proto::scheduler::v1 as pb;
use mms_proto::time::timestamp;
use pb::commit_intent::Commit;

use super::plan::{identity_from, identity_to, target_name_from, target_name_to, value_from, value_to};
use crate::name;
use crate::record;

/// The record of an intent, without the task, which the scheduler adds. None if the message lacks the commit or the
/// target.
pub fn intent_from(intent: pb::CommitIntent) -> Option<record::Intent> {
    let unit = |unit: pb::IntentUnit| record::IntentUnit {
        unit_index: unit.unit_index,
        partition: unit.partition.into_iter().map(value_from).collect(),
        rows: unit.rows,
        bytes: unit.bytes,
    };
    let commit = match intent.commit? {
        Commit::Tunnel(tunnel) => {
            record::Commit::Tunnel(record::TunnelCommit { session_id: tunnel.session_id, block_ids: tunnel.block_ids })
        }
        Commit::Storage(storage) => record::Commit::Storage(record::StorageCommit {
            session_id: storage.session_id,
            commit_messages: storage.commit_messages,
        }),
        Commit::Sql(sql) => record::Commit::Sql(record::SqlCommit {
            instance_key: sql.instance_key,
            staging: sql.staging.map(target_name_from),
        }),
        Commit::Replace(replace) => record::Commit::Replace(record::Replacement {
            instance_key: replace.instance_key,
            partitions: replace.partitions.into_iter().map(dropped_from).collect(),
        }),
    };
    Some(record::Intent {
        target: target_name_from(intent.target?),
        units: intent.units.into_iter().map(unit).collect(),
        commit: Some(commit),
        identity: intent.identity.map(identity_from),
        ..record::Intent::default()
    })
}

/// A stored intent as the contract has it.
pub fn intent_to(id: &str, intent: &record::Intent) -> pb::CommitIntent {
    let unit = |unit: &record::IntentUnit| pb::IntentUnit {
        unit_index: unit.unit_index,
        partition: unit.partition.iter().map(value_to).collect(),
        rows: unit.rows,
        bytes: unit.bytes,
    };
    let commit = |commit: &record::Commit| match commit.clone() {
        record::Commit::Tunnel(tunnel) => {
            Commit::Tunnel(pb::TunnelCommit { session_id: tunnel.session_id, block_ids: tunnel.block_ids })
        }
        record::Commit::Storage(storage) => Commit::Storage(pb::StorageCommit {
            session_id: storage.session_id,
            commit_messages: storage.commit_messages,
        }),
        record::Commit::Sql(sql) => Commit::Sql(pb::SqlCommit {
            instance_key: sql.instance_key,
            staging: sql.staging.as_ref().map(target_name_to),
        }),
        record::Commit::Replace(replace) => {
            let partition = |partition: record::DroppedPartition| pb::DroppedPartition {
                values: partition.values.iter().map(value_to).collect(),
            };
            let partitions = replace.partitions.into_iter().map(partition).collect();
            Commit::Replace(pb::TableReplacement { instance_key: replace.instance_key, partitions })
        }
    };
    pb::CommitIntent {
        intent_id: id.to_owned(),
        task: name::task_name(&intent.task_key()),
        target: Some(target_name_to(&intent.target)),
        units: intent.units.iter().map(unit).collect(),
        commit: intent.commit.as_ref().map(commit),
        job_uid: intent.job_uid.clone(),
        identity: intent.identity.as_ref().map(identity_to),
        begin_time: timestamp(intent.begin_time_ms),
    }
}

fn dropped_from(partition: pb::DroppedPartition) -> record::DroppedPartition {
    record::DroppedPartition { values: partition.values.into_iter().map(value_from).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_comes_back_as_it_was() {
        let target = mms_proto::types::v1::TargetTable { project: "p".into(), schema: "s".into(), table: "t".into() };
        let intent = pb::CommitIntent {
            intent_id: "i".into(),
            task: "dataSources//jobs//tasks/t000000".into(),
            target: Some(target),
            units: vec![pb::IntentUnit { unit_index: 2, partition: Vec::new(), rows: 5, bytes: 6 }],
            commit: Some(Commit::Tunnel(pb::TunnelCommit { session_id: "u".into(), block_ids: vec![0, 1] })),
            job_uid: String::new(),
            identity: Some(mms_proto::types::v1::TargetIdentity { nonce: "n".into(), ..Default::default() }),
            begin_time: None,
        };
        let stored = intent_from(intent.clone()).expect("complete");
        assert_eq!(intent_to("i", &stored), intent);
    }
}
