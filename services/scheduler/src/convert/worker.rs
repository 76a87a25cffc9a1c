//! Workers.

use mms_proto::scheduler::v1 as pb;

use super::time;
use crate::record::Worker;

/// A worker as callers see it, with the leases that it holds and when it was heard of last.
pub fn worker_to(id: &str, worker: Worker, held: usize, seen_ms: i64) -> pb::Worker {
    pb::Worker {
        name: format!("workers/{id}"),
        uid: worker.uid,
        pool: worker.pool,
        slots: worker.slots,
        leased_count: i32::try_from(held).unwrap_or(i32::MAX),
        capabilities: Some(pb::Capabilities {
            steps: worker.steps,
            read_paths: worker.read_paths,
            target_kinds: worker.target_kinds,
            reader_features: worker.reader_features,
            engine: worker.engine,
            roles: worker.roles,
        }),
        endpoint: worker.endpoint,
        seen_time: time(seen_ms),
    }
}
