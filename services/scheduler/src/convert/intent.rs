//! Commit intents.

use mms_proto::scheduler::v1 as pb;
use pb::commit_intent::Commit;

use super::plan::{target_name_from, target_name_to, value_from, value_to};
use crate::record;

const TUNNEL: i32 = 1;
const STORAGE: i32 = 2;
const SQL: i32 = 3;
const REPLACE: i32 = record::Intent::REPLACE;

/// The record of an intent, without the task that the scheduler adds. None when it does not say what is committed.
pub fn intent_from(intent: pb::CommitIntent) -> Option<record::Intent> {
    let unit = |unit: pb::IntentUnit| record::IntentUnit {
        unit_index: unit.unit_index,
        partition: unit.partition.into_iter().map(value_from).collect(),
        rows: unit.rows,
        bytes: unit.bytes,
    };
    let mut stored = record::Intent {
        target: target_name_from(intent.target?),
        units: intent.units.into_iter().map(unit).collect(),
        ..record::Intent::default()
    };
    match intent.commit? {
        Commit::Tunnel(tunnel) => {
            stored.path = TUNNEL;
            stored.session_id = tunnel.session_id;
            stored.block_ids = tunnel.block_ids;
        }
        Commit::Storage(storage) => {
            stored.path = STORAGE;
            stored.session_id = storage.session_id;
            stored.commit_messages = storage.commit_messages;
        }
        Commit::Sql(sql) => {
            stored.path = SQL;
            stored.instance_key = sql.instance_key;
            stored.staging = sql.staging.map(target_name_from);
        }
        Commit::Replace(replace) => {
            stored.path = REPLACE;
            stored.instance_key = replace.instance_key;
        }
    }
    Some(stored)
}

/// The contract's form of a stored intent.
pub fn intent_to(id: &str, intent: &record::Intent) -> pb::CommitIntent {
    let unit = |unit: &record::IntentUnit| pb::IntentUnit {
        unit_index: unit.unit_index,
        partition: unit.partition.iter().map(value_to).collect(),
        rows: unit.rows,
        bytes: unit.bytes,
    };
    let commit = match intent.path {
        STORAGE => Commit::Storage(pb::StorageCommit {
            session_id: intent.session_id.clone(),
            commit_messages: intent.commit_messages.clone(),
        }),
        SQL => Commit::Sql(pb::SqlCommit {
            instance_key: intent.instance_key.clone(),
            staging: intent.staging.as_ref().map(target_name_to),
        }),
        REPLACE => Commit::Replace(pb::TableReplacement { instance_key: intent.instance_key.clone() }),
        _ => Commit::Tunnel(pb::TunnelCommit {
            session_id: intent.session_id.clone(),
            block_ids: intent.block_ids.clone(),
        }),
    };
    let key = (intent.data_source.clone(), intent.job.clone(), intent.task);
    pb::CommitIntent {
        intent_id: id.to_owned(),
        task: crate::key::task_name(&key),
        target: Some(target_name_to(&intent.target)),
        units: intent.units.iter().map(unit).collect(),
        commit: Some(commit),
        job_uid: intent.job_uid.clone(),
    }
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
        };
        let stored = intent_from(intent.clone()).expect("complete");
        assert_eq!(intent_to("i", &stored), intent);
    }
}
