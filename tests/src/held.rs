//! A proxy before the tunnel that holds back one answer: the first request of a kind is carried out, and its sender
//! never gets the answer. All other requests pass.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// The running proxy.
pub struct Held {
    /// The URL that it listens on.
    pub url: String,
    /// Resolves when the request was carried out.
    pub done: oneshot::Receiver<()>,
}

impl Held {
    /// Starts a proxy before `upstream`, for the first request whose first line contains all of these parts.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(upstream: SocketAddr, parts: &'static [&'static str]) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (tell, done) = oneshot::channel();
        let tell = Arc::new(Mutex::new(Some(tell)));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let tell = tell.clone();
                // Broken connections are what this proxy is for.
                tokio::spawn(async move { drop(serve(client, upstream, parts, &tell).await) });
            }
        });
        Ok(Self { url, done })
    }
}

async fn serve(
    client: TcpStream,
    upstream: SocketAddr,
    parts: &[&str],
    tell: &Mutex<Option<oneshot::Sender<()>>>,
) -> io::Result<()> {
    let mut client = BufReader::new(client);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if client.read_until(b'\n', &mut head).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let line = text.lines().next().unwrap_or_default();
    let tell = match parts.iter().all(|part| line.contains(part)) {
        true => tell.lock().unwrap_or_else(PoisonError::into_inner).take(),
        false => None,
    };
    let mut up = TcpStream::connect(upstream).await?;
    // One request per connection, so that each request is seen here.
    up.write_all(text.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes()).await?;
    let Some(tell) = tell else {
        copy_bidirectional(&mut client, &mut up).await?;
        return Ok(());
    };
    let (mut answer, mut body) = up.split();
    let mut told = Vec::new();
    let mut drained = tokio::io::sink();
    tokio::select! {
        // The tunnel closes the connection after its answer.
        read = answer.read_to_end(&mut told) => drop(read?),
        sent = copy(&mut client, &mut body) => drop(sent?),
    }
    // The receiver may be gone already.
    tell.send(()).unwrap_or_default();
    copy(&mut client, &mut drained).await.map(drop)
}
