//! A served process whose service answers as the name in the request says, so that each test chooses its answer.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use futures::{Stream, StreamExt};
use mms_proto::transfer::v1::transfer_service_client::TransferServiceClient;
use mms_proto::transfer::v1::transfer_service_server::{TransferService, TransferServiceServer};
use mms_proto::transfer::v1::{
    DrainWorkerRequest, DrainWorkerResponse, GetTransferRequest, GetTransferResponse, ListTransfersRequest,
    ListTransfersResponse, Transfer, WatchTransferRequest, WatchTransferResponse,
};
use mms_proto::{ApiError, validate};
use mms_server::{
    BoundServer, CallContext, CancellationToken, Client, ClientConfig, FrameConfig, FrameError, Services, sized,
};
use tokio::sync::Notify;
use tonic::{Request, Response, Status};

#[derive(Clone, Default)]
pub struct Chosen {
    pub entered: Arc<Notify>,
    pub gate: Arc<Notify>,
    latch: Arc<(Mutex<bool>, Condvar)>,
}

impl Chosen {
    /// Blocks its thread, as a long computation does, until somebody calls `unblock`; false if nobody does within 20 s.
    fn block(&self) -> bool {
        self.entered.notify_one();
        let open = self.latch.0.lock().unwrap();
        *self.latch.1.wait_timeout_while(open, Duration::from_secs(20), |open| !*open).unwrap().0
    }

    pub fn unblock(&self) {
        *self.latch.0.lock().unwrap() = true;
        self.latch.1.notify_all();
    }
}

type Watch = Pin<Box<dyn Stream<Item = Result<WatchTransferResponse, Status>> + Send>>;

#[tonic::async_trait]
impl TransferService for Chosen {
    async fn get_transfer(
        &self,
        request: Request<GetTransferRequest>,
    ) -> Result<Response<GetTransferResponse>, Status> {
        let subject = mms_server::caller(&request).subject;
        assert!(request.metadata().get("authorization").is_none(), "handlers must not see tokens");
        let request = request.into_inner();
        validate(&request)?;
        match request.name.rsplit('/').next().unwrap() {
            "panic" => panic!("a handler panicked on purpose"),
            "bare" => return Err(Status::unknown("text for the log only")),
            "never" => std::future::pending().await,
            "blocks" => assert!(self.block(), "nobody else was served meanwhile"),
            "wait" => {
                self.entered.notify_one();
                self.gate.notified().await;
            }
            "big" => {
                let error = "x".repeat(6 << 20);
                return Ok(Response::new(GetTransferResponse {
                    transfer: Some(Transfer { error, ..Transfer::default() }),
                }));
            }
            _ => {}
        }
        let context = CallContext::current().unwrap();
        let transfer = Transfer {
            name: subject,
            task: context.request_id.to_string(),
            bytes_total: context.remaining().map_or(-1, |left| i64::try_from(left.as_millis()).unwrap()),
            ..Transfer::default()
        };
        Ok(Response::new(GetTransferResponse { transfer: Some(transfer) }))
    }

    async fn list_transfers(
        &self,
        _: Request<ListTransfersRequest>,
    ) -> Result<Response<ListTransfersResponse>, Status> {
        Err(ApiError::not_yet("ListTransfers").into())
    }

    type WatchTransferStream = Watch;

    async fn watch_transfer(&self, request: Request<WatchTransferRequest>) -> Result<Response<Watch>, Status> {
        let first = futures::stream::iter([Ok(WatchTransferResponse::default())]);
        let rest: Watch = match request.get_ref().name.rsplit('/').next().unwrap() {
            "panic" => Box::pin(futures::stream::poll_fn(|_| panic!("a stream panicked on purpose"))),
            "bare" => Box::pin(futures::stream::iter([Err(Status::unknown("text for the log only"))])),
            // The producer is a task: it sends the id of its call and the time left, then ends as requested.
            way @ ("produced" | "producer-panics") => {
                let panics = way == "producer-panics";
                mms_server::stream(1, move |send| async move {
                    let context = CallContext::current().unwrap();
                    let left = context.remaining().map_or(-1, |left| i64::try_from(left.as_millis()).unwrap());
                    let transfer =
                        Transfer { task: context.request_id.to_string(), bytes_total: left, ..Transfer::default() };
                    let answer = WatchTransferResponse { position: String::new(), transfer: Some(transfer) };
                    send.send(Ok(answer)).await.unwrap();
                    assert!(!panics, "a producer panicked on purpose");
                })
            }
            _ => Box::pin(futures::stream::pending()),
        };
        Ok(Response::new(Box::pin(first.chain(rest))))
    }

    async fn drain_worker(
        &self,
        request: Request<DrainWorkerRequest>,
    ) -> Result<Response<DrainWorkerResponse>, Status> {
        if request.get_ref().name.ends_with("wait") {
            self.entered.notify_one();
            self.gate.notified().await;
        }
        Ok(Response::new(DrainWorkerResponse::default()))
    }
}

pub struct Running {
    pub addr: SocketAddr,
    pub chosen: Chosen,
    pub shutdown: CancellationToken,
    pub served: tokio::task::JoinHandle<Result<(), FrameError>>,
}

impl Running {
    pub fn config(&self) -> ClientConfig {
        ClientConfig::to(format!("http://{}", self.addr))
    }

    pub fn client(&self) -> TransferServiceClient<Client> {
        TransferServiceClient::new(Client::new(&self.config(), None).unwrap())
    }
}

pub async fn serve(frame: FrameConfig) -> Running {
    run(frame, None).await
}

/// As [`serve`], with a method whose calls wait.
pub async fn serve_waiting(frame: FrameConfig, waiting: &'static str) -> Running {
    run(frame, Some(waiting)).await
}

async fn run(frame: FrameConfig, waiting: Option<&'static str>) -> Running {
    let server = BoundServer::bind("transfer", frame).await.unwrap();
    let (addr, shutdown, chosen) = (server.local_addr(), CancellationToken::new(), Chosen::default());
    let service = chosen.clone();
    let serving = server.serve((), shutdown.clone(), move |context| async move {
        let max = context.max_message_bytes();
        let services = Services::new().add(sized!(TransferServiceServer::new(service), max));
        Ok(waiting.into_iter().fold(services, Services::waiting))
    });
    Running { addr, chosen, shutdown, served: tokio::spawn(serving) }
}

pub fn get(last: &str) -> GetTransferRequest {
    GetTransferRequest { name: format!("workers/w/transfers/{last}") }
}

pub fn watch(last: &str) -> WatchTransferRequest {
    WatchTransferRequest { name: format!("workers/w/transfers/{last}"), position: String::new() }
}

/// Writes a file that only its owner may read.
pub fn private(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    file
}
