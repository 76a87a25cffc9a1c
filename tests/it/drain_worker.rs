//! What TransferService shows of a worker's transfers, and draining a worker: running transfers end or are released, no
//! new one begins, and another worker does the rest.

use std::time::{Duration, Instant};

use anyhow::Context;
use mms_proto::transfer::v1 as pb;
use mms_proto::transfer::v1::transfer_service_client::TransferServiceClient;
use mms_proto::{ApiError, ErrorReason};
use mms_server::Client;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{PATIENCE, Suite, everything};

/// Large enough that tables are left while the first one is being moved.
const SCALE: f64 = 0.1;

type Transfers = TransferServiceClient<Client>;

async fn list(worker: &mut Transfers) -> anyhow::Result<Vec<pb::Transfer>> {
    let request = pb::ListTransfersRequest { parent: "workers/-".to_owned(), ..pb::ListTransfersRequest::default() };
    Ok(worker.list_transfers(request).await?.into_inner().transfers)
}

/// Waits for a transfer that is running.
async fn at_work(worker: &mut Transfers) -> anyhow::Result<pb::Transfer> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = list(worker).await?.into_iter().find(|transfer| transfer.end_time.is_none()) {
            return Ok(found);
        }
        anyhow::ensure!(Instant::now() < until, "the worker does nothing");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Watches a transfer from a position to its end.
async fn follow(
    mut worker: Transfers,
    name: String,
    position: String,
) -> anyhow::Result<Vec<pb::WatchTransferResponse>> {
    let mut answers = worker.watch_transfer(pb::WatchTransferRequest { name, position }).await?.into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await? {
        all.push(answer);
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_leaves_the_rest_to_another() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    mms_sandbox::samples::tpch(&root, SCALE, 1_700_000_000_000)?;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    let mut suite = Suite::processes_with(folder.path(), 30, &[("SLOTS", "1")]).await?;
    let source = Box::pin(suite.source(&sandbox.data_source("lake"))).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let job = suite.begin_job(&source, everything()).await?;

    let mut worker = TransferServiceClient::new(suite.channel("transfer")?);
    let first = at_work(&mut worker).await?;
    let followed = tokio::spawn(follow(worker.clone(), first.name.clone(), String::new()));
    let any = pb::DrainWorkerRequest { name: "workers/-".to_owned(), grace_period: None };
    let refused = worker.drain_worker(any).await.expect_err("nobody drains whichever it is");
    anyhow::ensure!(ApiError::from_status(&refused).reason == ErrorReason::InvalidField, "{refused}");
    let asked = pb::ListTransfersRequest { parent: "workers/-".to_owned(), ..pb::ListTransfersRequest::default() };
    let name = worker.list_transfers(asked).await?.into_inner().worker;
    anyhow::ensure!(first.name.starts_with(&format!("{name}/transfers/")), "{name}: {first:?}");
    let request = pb::DrainWorkerRequest { name, grace_period: None };
    let drained = worker.drain_worker(request).await?.into_inner();
    anyhow::ensure!(drained.finished_count + drained.released_count <= 1, "it has one slot: {drained:?}");
    let left = list(&mut worker).await?;
    anyhow::ensure!(left.iter().all(|transfer| transfer.end_time.is_some()), "something runs: {left:?}");

    // A watcher sees the end as GetTransfer shows it, and so does a watcher that comes later.
    let answers = followed.await??;
    let last = answers.last().context("an answer")?;
    let ended = worker.get_transfer(pb::GetTransferRequest { name: first.name.clone() }).await?.into_inner();
    anyhow::ensure!(last.transfer == ended.transfer && last.transfer.is_some(), "{last:?} is not {ended:?}");
    let rows: Vec<i64> = answers.iter().filter_map(|answer| Some(answer.transfer.as_ref()?.rows_read)).collect();
    anyhow::ensure!(rows.is_sorted(), "progress went back: {rows:?}");
    for position in ["", last.position.as_str()] {
        let again = follow(worker.clone(), first.name.clone(), position.to_owned()).await?;
        anyhow::ensure!(again == [last.clone()], "from `{position}`: {again:?}");
    }
    let nobody = follow(worker.clone(), format!("{}-not", first.name), String::new()).await;
    anyhow::ensure!(nobody.is_err_and(|error| error.to_string().contains("not")), "there is no such transfer");

    // The worker stays drained, and the rest waits for another worker.
    let state = suite.job(&job).await?;
    anyhow::ensure!(state.end_time.is_none(), "nothing was left to another: {state:?}");
    suite.start("transfer", "transfer-2").await?;
    suite.done(&job).await?;
    anyhow::ensure!(list(&mut worker).await? == left, "a drained worker took a task");
    let tables = suite.job_tables(&job).await?;
    anyhow::ensure!(tables.len() == 8 && tables.iter().all(|t| t.source_rows == t.target_rows), "{tables:?}");

    // After a restart the worker takes tasks again.
    suite.stop("transfer")?;
    suite.stop("transfer-2")?;
    suite.restart("transfer").await?;
    let again = suite.begin_job(&source, mms_proto::scheduler::v1::JobSpec { force: true, ..everything() }).await?;
    suite.done(&again).await?;
    Ok(())
}
