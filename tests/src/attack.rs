//! Callers who mean harm: each goes on in its way for as long as it is let, and counts what it is answered.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use mms_proto::descriptor;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::raw::Raw;
use crate::wire::field;

const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// Between 200 calls and the next: every place is taken within a second and taken again when it is given up. Attackers and
/// attacked share the processors here, so a flood would measure those.
const PAUSE: Duration = Duration::from_millis(100);

/// What they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Calls whose body never comes.
    SilentBodies,
    /// Streams of reflection, which needs no token, from many addresses.
    Reflection,
    /// The longest list that a message can hold, again and again.
    Lists,
    /// Connections that do nothing.
    Connections,
    /// Calls with tokens that nobody has.
    WrongTokens,
}

/// What they were answered.
#[derive(Debug, Default)]
pub struct Answers {
    requests: AtomicU64,
    answered: AtomicU64,
    internal: AtomicU64,
    let_in: AtomicU64,
}

/// The same, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Requests, or connections.
    pub requests: u64,
    /// Those of them that were answered.
    pub answered: u64,
    /// Answers INTERNAL, or another that no service has a reason for here.
    pub internal: u64,
    /// Answers OK to what should have been refused.
    pub let_in: u64,
}

impl Answers {
    /// What there is by now.
    pub fn counted(&self) -> Counted {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        Counted {
            requests: count(&self.requests),
            answered: count(&self.answered),
            internal: count(&self.internal),
            let_in: count(&self.let_in),
        }
    }

    fn sent(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    fn answered(&self, status: &Status, may_pass: bool) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        let broken = matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss);
        self.internal.fetch_add(u64::from(broken), Ordering::Relaxed);
        self.let_in.fetch_add(u64::from(status.code() == Code::Ok && !may_pass), Ordering::Relaxed);
    }

    /// A request with its answer.
    pub fn take(&self, status: &Status, may_pass: bool) {
        self.sent();
        self.answered(status, may_pass);
    }
}

/// Calls that are begun and held open, up to so many at once; what is answered is counted and let go.
struct Held {
    calls: JoinSet<()>,
    answers: Arc<Answers>,
}

impl Held {
    const MOST: usize = 20_000;

    fn new(answers: &Arc<Answers>) -> Self {
        Self { calls: JoinSet::new(), answers: Arc::clone(answers) }
    }

    /// Begins calls on a connection until it or this has enough.
    async fn begin(&mut self, raw: &mut Raw, path: &str) {
        while self.calls.try_join_next().is_some() {}
        for _ in 0..200 {
            if self.calls.len() >= Self::MOST {
                return;
            }
            let Ok((answer, body)) = raw.begin(path, None).await else { return };
            self.answers.sent();
            let answers = Arc::clone(&self.answers);
            self.calls.spawn(async move {
                let Ok(answer) = answer.await else { return };
                match Status::from_header_map(answer.headers()) {
                    Some(status) => answers.answered(&status, false),
                    // A stream that is open.
                    None => std::future::pending().await,
                }
                drop(body);
            });
        }
    }
}

/// A method of each service that people call, one for services only where there is one, and one with a list in it.
fn methods(service: &str) -> [&'static str; 3] {
    match service {
        "registry" => [
            "/mms.registry.v1.DataSourceService/UpdateDataSource",
            "/mms.registry.v1.SessionService/OpenSession",
            "/mms.registry.v1.DataSourceService/UpdateDataSource",
        ],
        "catalog" => [
            "/mms.catalog.v1.ScanService/CreateScan",
            "/mms.catalog.v1.PlanningService/PinTable",
            "/mms.catalog.v1.CatalogService/UpdateTable",
        ],
        "scheduler" => [
            "/mms.scheduler.v1.JobService/CreateJob",
            "/mms.scheduler.v1.WorkerService/LeaseTasks",
            "/mms.scheduler.v1.TimerService/UpdateTimer",
        ],
        _ => ["/mms.transfer.v1.TransferService/GetTransfer"; 3],
    }
}

/// A mask of half a million paths, 1 MB; a name as long where a message holds no mask.
fn longest(path: &str) -> anyhow::Result<Vec<u8>> {
    let request = descriptor::method(path).with_context(|| path.to_owned())?.input.clone();
    let mask = request.get_field_by_name("update_mask");
    Ok(mask
        .map_or_else(|| field(1, &vec![b'x'; 1_000_000]), |mask| field(mask.number(), &field(1, &[]).repeat(500_000))))
}

fn from(last: u8) -> IpAddr {
    [127, 0, 0, last].into()
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::SilentBodies, Self::Reflection, Self::Lists, Self::Connections, Self::WrongTokens];

    /// As the figures name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SilentBodies => "bodies that never come",
            Self::Reflection => "reflection streams",
            Self::Lists => "lists without end",
            Self::Connections => "idle connections",
            Self::WrongTokens => "wrong tokens",
        }
    }

    /// Goes on until it is dropped, or the service lets nobody in any more.
    ///
    /// # Errors
    /// An answer that is none of gRPC.
    pub async fn run(self, service: &str, at: SocketAddr, answers: &Arc<Answers>) -> anyhow::Result<()> {
        let [people, services, list] = methods(service);
        match self {
            Self::SilentBodies => silent_bodies(at, people, answers).await,
            Self::Reflection => reflection(at, answers).await,
            Self::Lists => lists(at, list, answers).await,
            Self::Connections => connections(at, answers).await,
            Self::WrongTokens => wrong_tokens(at, services, answers).await,
        }
    }
}

async fn silent_bodies(at: SocketAddr, path: &str, answers: &Arc<Answers>) -> anyhow::Result<()> {
    let mut held = Held::new(answers);
    loop {
        let Ok(mut raw) = Raw::connect(at, from(2)).await else { return Ok(()) };
        held.begin(&mut raw, path).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn reflection(at: SocketAddr, answers: &Arc<Answers>) -> anyhow::Result<()> {
    let mut held = Held::new(answers);
    for last in (2..250_u8).cycle() {
        if let Ok(mut raw) = Raw::connect(at, from(last)).await {
            held.begin(&mut raw, REFLECT).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn lists(at: SocketAddr, path: &str, answers: &Arc<Answers>) -> anyhow::Result<()> {
    let message = longest(path)?;
    let mut raw = Raw::connect(at, from(2)).await?;
    loop {
        answers.take(&raw.call(path, None, &message).await?, false);
    }
}

async fn connections(at: SocketAddr, answers: &Arc<Answers>) -> anyhow::Result<()> {
    let mut held = Vec::new();
    loop {
        for last in 2..20_u8 {
            if let Ok(raw) = Raw::connect(at, from(last)).await {
                held.push(raw);
            }
            answers.sent();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn wrong_tokens(at: SocketAddr, path: &str, answers: &Arc<Answers>) -> anyhow::Result<()> {
    let mut raw = Raw::connect(at, from(2)).await?;
    for number in 0_u64.. {
        let token = format!("a-token-that-nobody-has-{number}");
        answers.take(&raw.call(path, Some(&token), &[]).await?, false);
    }
    Ok(())
}
