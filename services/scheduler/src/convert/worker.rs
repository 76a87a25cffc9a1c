//! Converts workers, and the epochs of their leases.

use mms_proto::scheduler::v1 as pb;
use mms_proto::time::timestamp;

use super::number::{count, numbers, those_known};
use crate::record::{Epoch, Worker};

/// The record of a worker that registers now. `uid` is for the case that it is new.
pub fn worker_from(request: pb::RegisterWorkerRequest, uid: String, now_ms: i64) -> Worker {
    let abilities = request.capabilities.unwrap_or_default();
    let engine = match abilities.engine() {
        pb::Engine::Unspecified => pb::Engine::BuiltIn,
        engine => engine,
    };
    Worker {
        instance: request.instance,
        pool: request.pool,
        slots: request.slots,
        engine: engine.into(),
        steps: those_known(abilities.steps),
        read_paths: those_known(abilities.read_paths),
        target_kinds: those_known(abilities.target_kinds),
        reader_features: abilities.reader_features,
        endpoint: request.endpoint,
        seen_time_ms: now_ms,
        roles: those_known(abilities.roles),
        uid,
    }
}

/// A worker as callers see it, with its number of leases and when it was last heard of.
pub fn worker_to(id: &str, worker: Worker, held: usize, seen_ms: i64) -> pb::Worker {
    pb::Worker {
        name: format!("workers/{id}"),
        uid: worker.uid,
        pool: worker.pool,
        slots: worker.slots,
        leased_count: count(held),
        capabilities: Some(pb::Capabilities {
            steps: numbers(&worker.steps),
            read_paths: numbers(&worker.read_paths),
            target_kinds: numbers(&worker.target_kinds),
            reader_features: worker.reader_features,
            engine: worker.engine.number(),
            roles: numbers(&worker.roles),
        }),
        endpoint: worker.endpoint,
        seen_time: timestamp(seen_ms),
    }
}

/// The epoch in a worker's request. Negative numbers become 0, which no lease has.
pub fn epoch_from(epoch: Option<pb::Epoch>) -> Epoch {
    let epoch = epoch.unwrap_or_default();
    Epoch { incarnation: epoch.incarnation.max(0).unsigned_abs(), counter: epoch.counter.max(0).unsigned_abs() }
}

/// An epoch as the contract has it.
pub fn epoch_to(epoch: Epoch) -> pb::Epoch {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    pb::Epoch { incarnation: signed(epoch.incarnation), counter: signed(epoch.counter) }
}
