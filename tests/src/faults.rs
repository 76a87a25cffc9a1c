//! A proxy before the tunnel that does to blocks what networks and services do. The first try of each block meets one
//! of the faults in turn; every later try passes.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The whole block is read, and answered with 429 and a time to wait.
    Wait,
    /// The whole block is read, and answered with 503.
    Unavailable,
    /// The connection breaks in the middle of the block.
    Reset,
    /// The block is stored, and the answer never arrives.
    AnswerLost,
}

const FAULTS: [Fault; 4] = [Fault::Wait, Fault::Unavailable, Fault::Reset, Fault::AnswerLost];

#[derive(Default)]
struct Seen {
    /// Tries of each block, by the request's path and query.
    tries: BTreeMap<String, usize>,
    done: BTreeMap<Fault, usize>,
}

/// The running proxy.
pub struct Proxy {
    /// The URL that it listens on.
    pub url: String,
    seen: Arc<Mutex<Seen>>,
}

impl Proxy {
    /// Starts a proxy before `upstream`.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let known = seen.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let known = known.clone();
                // Broken connections are what this proxy is for.
                tokio::spawn(async move { drop(serve(client, upstream, &known).await) });
            }
        });
        Ok(Self { url, seen })
    }

    /// How often each fault happened, and how many tries all blocks took together.
    pub fn done(&self) -> (BTreeMap<Fault, usize>, usize) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.done.clone(), seen.tries.values().sum())
    }
}

/// The fault that this request meets; `None` if it passes.
fn fate(line: &str, seen: &Mutex<Seen>) -> Option<Fault> {
    if !(line.starts_with("PUT ") && line.contains("blockid=")) {
        return None;
    }
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let blocks = seen.tries.len();
    if let Some(tries) = seen.tries.get_mut(line) {
        *tries += 1;
        return None;
    }
    seen.tries.insert(line.to_owned(), 1);
    let fault = FAULTS[blocks % FAULTS.len()];
    *seen.done.entry(fault).or_default() += 1;
    Some(fault)
}

async fn serve(client: TcpStream, upstream: SocketAddr, seen: &Mutex<Seen>) -> io::Result<()> {
    let mut client = BufReader::new(client);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if client.read_until(b'\n', &mut head).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let line = text.lines().next().unwrap_or_default();
    // One request per connection, so that each request is seen here.
    let head = text.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    match fate(line, seen) {
        Some(Fault::Wait) => answer(client, "429 Too Many Requests", "FlowExceeded").await,
        Some(Fault::Unavailable) => answer(client, "503 Service Unavailable", "ServiceUnavailable").await,
        Some(Fault::Reset) => {
            let mut up = TcpStream::connect(upstream).await?;
            up.write_all(head.as_bytes()).await?;
            // Whatever has arrived: a block may be shorter than any fixed length.
            let mut part = vec![0; 20_000];
            let read = client.read(&mut part).await?;
            up.write_all(&part[..read]).await
        }
        Some(Fault::AnswerLost) => {
            let mut up = TcpStream::connect(upstream).await?;
            up.write_all(head.as_bytes()).await?;
            let (mut answer, mut block) = up.split();
            let mut told = Vec::new();
            tokio::select! {
                // The tunnel closes the connection after its answer; the client waits for the answer in vain.
                read = answer.read_to_end(&mut told) => read.map(|_| ()),
                sent = copy(&mut client, &mut block) => sent.map(|_| ()),
            }
        }
        None => {
            let mut up = TcpStream::connect(upstream).await?;
            up.write_all(head.as_bytes()).await?;
            copy_bidirectional(&mut client, &mut up).await?;
            Ok(())
        }
    }
}

/// Reads a chunked body to its end, then answers with the failure.
async fn answer(mut client: BufReader<TcpStream>, status: &str, code: &str) -> io::Result<()> {
    let (mut tail, mut part) = (Vec::new(), vec![0; 65_536]);
    while !tail.ends_with(b"0\r\n\r\n") {
        let read = client.read(&mut part).await?;
        if read == 0 {
            return Ok(());
        }
        tail.extend_from_slice(&part[..read]);
        tail.drain(..tail.len().saturating_sub(5));
    }
    let body = format!(r#"{{"Code":"{code}","Message":"said the proxy","HoldClientMillis":20}}"#);
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    client.write_all((head + &body).as_bytes()).await?;
    client.shutdown().await
}
