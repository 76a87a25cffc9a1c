//! Hostile callers. Each kind attacks as long as it is let in, and counts the answers it gets.

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

/// Pause after every 200 calls: all places are taken within a second, and taken again when they are released. Attackers
/// and service share the processors here, so a flood without pauses would measure the processors only.
const PAUSE: Duration = Duration::from_millis(100);

/// A kind of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Calls whose body never arrives.
    SilentBodies,
    /// Streams of reflection, which needs no token, from many addresses.
    Reflection,
    /// The longest list that a message can hold, over and over.
    Lists,
    /// Connections that send nothing.
    Connections,
    /// Calls with tokens that the service does not know.
    WrongTokens,
}

/// Counts the answers to an attack while it runs.
#[derive(Debug, Default)]
pub struct Answers {
    requests: AtomicU64,
    answered: AtomicU64,
    internal: AtomicU64,
    let_in: AtomicU64,
}

/// The answers at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Requests, or connections for [`Attack::Connections`].
    pub requests: u64,
    /// How many of them were answered.
    pub answered: u64,
    /// Answers with INTERNAL, or with another code that no service has a reason to give here.
    pub internal: u64,
    /// Answers with OK to calls that should have been refused.
    pub let_in: u64,
}

impl Answers {
    /// The answers so far.
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

    /// Counts a request and its answer; `may_pass` allows the answer to be OK.
    pub fn take(&self, status: &Status, may_pass: bool) {
        self.sent();
        self.answered(status, may_pass);
    }
}

/// Calls that are begun and kept open, up to a maximum; those that are answered are counted and dropped.
struct Held {
    calls: JoinSet<()>,
    answers: Arc<Answers>,
}

impl Held {
    const MOST: usize = 20_000;

    fn new(answers: &Arc<Answers>) -> Self {
        Self { calls: JoinSet::new(), answers: Arc::clone(answers) }
    }

    /// Begins up to 200 calls on a connection, until the connection or this holds no more.
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
                    // A stream that stays open.
                    None => std::future::pending().await,
                }
                drop(body);
            });
        }
    }
}

/// Of each service: a method for people, one for services only if there is one, and one whose request has a list.
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

/// A request whose mask has half a million paths, 1 MB; without a mask in the request, a name of the same length.
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
    /// All kinds of attack.
    pub const ALL: [Self; 5] =
        [Self::SilentBodies, Self::Reflection, Self::Lists, Self::Connections, Self::WrongTokens];

    /// The name of the attack in the figures.
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

    /// Attacks until it is dropped, or until the service accepts no connection any more.
    ///
    /// # Errors
    /// An answer that is not gRPC.
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
