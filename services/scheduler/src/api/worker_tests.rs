//! WorkerService as a worker meets it.

use std::time::Duration;

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1 as pb;
use mms_store::{Read, Scope};
use pb::worker_service_server::WorkerService;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request};

use super::super::Api;
use crate::convert::{epoch_to, intent_to};
use crate::fixture::{Fixture, holder, intent, scheduler, task_key};
use crate::name;
use crate::record::Epoch;
use crate::store::INTENTS;

fn api(fixture: &Fixture) -> (Api, CancellationToken) {
    let stop = CancellationToken::new();
    (Api::new(scheduler(fixture.store.clone(), || 1_000), stop.clone()), stop)
}

fn epoch(epoch: Epoch) -> Option<pb::Epoch> {
    Some(epoch_to(epoch))
}

#[tokio::test]
async fn whoever_waits_for_a_task_is_answered_when_the_process_stops() {
    let fixture = Fixture::new(1).await;
    let (api, stop) = api(&fixture);
    let request = pb::LeaseTasksRequest {
        worker: "workers/ddl".to_owned(),
        instance: "ddl-1".to_owned(),
        max_tasks: 1,
        wait: prost_types::Duration::try_from(Duration::from_secs(30)).ok(),
    };
    let waiting = api.lease_tasks(Request::new(request));
    let (answer, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(10), waiting), async { stop.cancel() });
    assert!(answer.expect("answered at once").expect("well").into_inner().leases.is_empty());
}

#[tokio::test]
async fn a_process_that_did_not_register_is_told_to() {
    let fixture = Fixture::new(1).await;
    let (api, _) = api(&fixture);
    for (worker, instance) in [("workers/nobody", "nobody-1"), ("workers/a", "an earlier process")] {
        let (worker, instance) = (worker.to_owned(), instance.to_owned());
        let request = pb::LeaseTasksRequest { worker, instance, max_tasks: 1, wait: None };
        let refused = api.lease_tasks(Request::new(request)).await.expect_err("it is unknown");
        assert_eq!(mms_proto::ApiError::from_status(&refused).reason, ErrorReason::WorkerUnknown);
    }
}

#[tokio::test]
async fn a_held_task_belongs_to_one_epoch() {
    let fixture = Fixture::new(1).await;
    let (api, _) = api(&fixture);
    let held = fixture.lease("a", 1).await[0].task.epoch;
    let other = Epoch { counter: held.counter + 1, ..held };
    let task = name::task_name(&task_key(0));
    let request =
        pb::ReadTaskManifestRequest { worker: "workers/a".to_owned(), task, epoch: epoch(other), unit_index: None };
    let refused = api.read_task_manifest(Request::new(request)).await.err().expect("not its epoch");
    assert_eq!(mms_proto::ApiError::from_status(&refused).reason, ErrorReason::Fenced);
}

#[tokio::test]
async fn a_batch_with_one_bad_intent_stores_none_and_names_it() {
    let fixture = Fixture::replacing(2, 2).await;
    let (api, _) = api(&fixture);
    let held = fixture.lease("a", 1).await[0].task.epoch;
    let request = |id: &str, units: &[usize], partition_of: usize| {
        let mut wanted = intent(units);
        wanted.units[0].partition = intent(&[partition_of]).units[0].partition.clone();
        let mut wanted = intent_to(id, &wanted);
        (wanted.task, wanted.job_uid) = (String::new(), String::new());
        pb::CommitRequest { task: name::task_name(&task_key(0)), epoch: epoch(held), intent: Some(wanted) }
    };
    let begin = |requests| {
        let (worker, instance) = ("workers/a".to_owned(), holder("a").instance);
        api.begin_commit(Request::new(pb::BeginCommitRequest { worker, instance, requests }))
    };
    let refused = begin(vec![request("i1", &[0], 0), request("i2", &[1], 0)]).await.expect_err("a foreign unit");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let fields = mms_proto::ApiError::from_status(&refused).violations;
    assert_eq!(fields.iter().map(|field| &*field.field).collect::<Vec<_>>(), ["requests[1].intent.units"]);
    let stored = fixture.store.read(|read| read.page(&INTENTS, &Scope::all(), None, 10)).expect("readable");
    assert!(stored.items.is_empty());
    let answers = begin(vec![request("i1", &[0], 0), request("i2", &[1], 1)]).await.expect("well").into_inner().answers;
    assert!(answers.iter().all(|answer| matches!(answer.answer, Some(pb::commit_answer::Answer::Granted(_)))));
}

#[tokio::test]
async fn a_manifest_is_read_by_its_holder_and_of_a_unit_that_there_is() {
    let fixture = Fixture::replacing(2, 2).await;
    let (api, _) = api(&fixture);
    let held = fixture.lease("a", 1).await[0].task.epoch;
    let read = |of: Epoch, unit_index: i32| {
        api.read_task_manifest(Request::new(pb::ReadTaskManifestRequest {
            worker: "workers/a".to_owned(),
            task: name::task_name(&task_key(0)),
            epoch: epoch(of),
            unit_index: Some(unit_index),
        }))
    };
    assert!(read(held, 1).await.is_ok());
    for none in [-1, 2] {
        assert_eq!(read(held, none).await.err().expect("there is no such unit").code(), Code::InvalidArgument);
    }
    let copy = Epoch { incarnation: held.incarnation + 1, ..held };
    assert_eq!(read(copy, 1).await.err().expect("another life of the store").code(), Code::Aborted);
}
