//! A link with a slow upload: a proxy that accepts so many bytes per second from all its clients together and makes
//! them wait for the rest.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// Bytes that the kernel may buffer for it: a real link has no room for whole blocks.
const BUFFER: u32 = 32 << 10;

/// The running proxy.
pub struct SlowLink {
    /// The URL that it listens on.
    pub url: String,
    state: Arc<Mutex<State>>,
}

struct State {
    /// When the next byte may be sent.
    free: Instant,
    sent: u64,
}

impl SlowLink {
    /// Starts a link before `upstream`.
    pub async fn start(upstream: SocketAddr, bytes_a_second: f64) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // Accepted connections inherit this setting.
        socket.set_recv_buffer_size(BUFFER)?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let listener = socket.listen(64)?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(Mutex::new(State { free: Instant::now(), sent: 0 }));
        let known = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(upstream).await else { continue };
                let (up, mut down) = client.into_split();
                let (mut answers, server) = server.into_split();
                let known = known.clone();
                // Either side may close the connection: what it sent before that has passed.
                tokio::spawn(async move { drop(slowly(up, server, &known, bytes_a_second).await) });
                tokio::spawn(async move { drop(copy(&mut answers, &mut down).await) });
            }
        });
        Ok(Self { url, state })
    }

    /// Bytes sent up so far.
    pub async fn sent(&self) -> u64 {
        self.state.lock().await.sent
    }
}

async fn slowly(mut up: OwnedReadHalf, mut server: OwnedWriteHalf, state: &Mutex<State>, rate: f64) -> io::Result<()> {
    let mut part = vec![0; 16 << 10];
    loop {
        let read = up.read(&mut part).await?;
        if read == 0 {
            return server.shutdown().await;
        }
        let free = {
            let mut state = state.lock().await;
            state.free = state.free.max(Instant::now()) + Duration::from_secs_f64(read as f64 / rate);
            state.sent += read as u64;
            state.free
        };
        sleep_until(free).await;
        server.write_all(&part[..read]).await?;
    }
}
