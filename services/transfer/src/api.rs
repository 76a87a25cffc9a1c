//! TransferService: shows what this process does now, and drains it. No decisions.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use mms_proto::transfer::v1 as pb;
use mms_proto::{ApiError, page};
use pb::transfer_service_server::TransferService;
use prost::Message;
use tonic::{Request, Response, Status};

use crate::transfers::{Place, Transfers};
use crate::worker::Worker;

/// The shortest time between two answers of a watch.
const PACE: Duration = Duration::from_millis(250);
/// How long a drain lets tasks go on unless the caller says.
const DRAIN: Duration = Duration::from_secs(600);

pub struct Api {
    transfers: Arc<Transfers>,
    worker: Arc<Worker>,
}

impl Api {
    pub fn new(transfers: Arc<Transfers>, worker: Arc<Worker>) -> Self {
        Self { transfers, worker }
    }

    fn ours(&self, name: &str) -> Result<(), Status> {
        if name == self.transfers.worker() {
            return Ok(());
        }
        Err(ApiError::not_found(format!("{name} (this process is {})", self.transfers.worker())).into())
    }

    fn get(&self, name: &str) -> Result<pb::Transfer, Status> {
        self.transfers.get(name).ok_or_else(|| ApiError::not_found(name).into())
    }
}

/// A digest of a transfer's content, by which a watcher says what it has seen. Any process computes the same.
fn position(transfer: &pb::Transfer) -> String {
    let digest = transfer
        .encode_to_vec()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{digest:016x}")
}

#[tonic::async_trait]
impl TransferService for Api {
    type WatchTransferStream = Pin<Box<dyn Stream<Item = Result<pb::WatchTransferResponse, Status>> + Send>>;

    async fn get_transfer(
        &self,
        request: Request<pb::GetTransferRequest>,
    ) -> Result<Response<pb::GetTransferResponse>, Status> {
        mms_proto::validate(request.get_ref())?;
        let transfer = self.get(&request.get_ref().name)?;
        Ok(Response::new(pb::GetTransferResponse { transfer: Some(transfer) }))
    }

    async fn list_transfers(
        &self,
        request: Request<pb::ListTransfersRequest>,
    ) -> Result<Response<pb::ListTransfersResponse>, Status> {
        let request = request.into_inner();
        mms_proto::validate(&request)?;
        if request.parent != "workers/-" {
            self.ours(&request.parent)?;
        }
        let after = match page::after(&["transfers"], &request.page_token)? {
            Some(text) => Some(Place::of(&text).ok_or_else(ApiError::invalid_page_token)?),
            None => None,
        };
        let mut page = self.transfers.after(after);
        let size = page::size(request.page_size);
        let more = page.len() > size;
        page.truncate(size);
        let last = page.last().filter(|_| more);
        let next_page_token = last.map(|(place, _)| page::token(&["transfers"], &place.text())).unwrap_or_default();
        let transfers = page.into_iter().map(|(_, transfer)| transfer).collect();
        Ok(Response::new(pb::ListTransfersResponse {
            transfers,
            worker: self.transfers.worker().to_owned(),
            next_page_token,
            total_size: None,
        }))
    }

    async fn watch_transfer(
        &self,
        request: Request<pb::WatchTransferRequest>,
    ) -> Result<Response<Self::WatchTransferStream>, Status> {
        let request = request.into_inner();
        mms_proto::validate(&request)?;
        self.get(&request.name)?;
        let state = (self.transfers.clone(), request.name, request.position, None);
        let stream = futures::stream::try_unfold(state, |(transfers, name, seen, told)| async move {
            match told {
                Some(true) => return Ok(None),
                Some(false) => tokio::time::sleep(PACE).await,
                None => {}
            }
            loop {
                let now = transfers.get(&name).ok_or_else(|| Status::from(ApiError::not_found(&name)))?;
                let (position, ended) = (position(&now), now.end_time.is_some());
                // The end is sent whatever the watcher has seen, so that nobody waits for one that has passed.
                if position != seen || ended {
                    let answer = pb::WatchTransferResponse { transfer: Some(now), position: position.clone() };
                    return Ok(Some((answer, (transfers, name, position, Some(ended)))));
                }
                tokio::time::sleep(PACE).await;
            }
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn drain_worker(
        &self,
        request: Request<pb::DrainWorkerRequest>,
    ) -> Result<Response<pb::DrainWorkerResponse>, Status> {
        let request = request.into_inner();
        mms_proto::validate(&request)?;
        self.ours(&request.name)?;
        let deadline = request.grace_period.and_then(|d| Duration::try_from(d).ok()).unwrap_or(DRAIN);
        // In a task of its own: the drain keeps its deadline when the caller disconnects.
        let worker = self.worker.clone();
        let drained = tokio::spawn(async move { worker.drain(deadline).await }).await;
        let (finished, released) =
            drained.map_err(|error| ApiError::internal(format!("the drain ended early: {error}")))?;
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        Ok(Response::new(pb::DrainWorkerResponse { finished_count: count(finished), released_count: count(released) }))
    }
}
