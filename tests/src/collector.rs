//! An OTLP collector that keeps the bytes of every request it receives.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;

/// The running collector.
pub struct Collector {
    /// The address that it listens on.
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    /// Starts a collector.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let got = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&got);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                // A process that exits may close its connection in any way.
                tokio::spawn(async move { drop(serve(stream, &kept).await) });
            }
        });
        Ok(Self { address, got })
    }

    /// All bytes received so far.
    pub fn got(&self) -> Vec<u8> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(stream: tokio::net::TcpStream, kept: &Mutex<Vec<u8>>) -> anyhow::Result<()> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        let mut body = request.into_body();
        let mut whole = Vec::new();
        // The connection makes progress only while it is polled.
        let read = async {
            while let Some(data) = body.data().await {
                let data = data?;
                body.flow_control().release_capacity(data.len())?;
                whole.extend_from_slice(&data);
            }
            anyhow::Ok(())
        };
        tokio::select! {
            read = read => read?,
            _ = std::future::poll_fn(|cx| connection.poll_closed(cx)) => anyhow::bail!("closed"),
        }
        kept.lock().unwrap_or_else(PoisonError::into_inner).extend(whole);
        let head = http::Response::builder().header("content-type", "application/grpc").body(())?;
        let mut send = respond.send_response(head, false)?;
        send.send_data(bytes::Bytes::from_static(&[0; 5]), false)?;
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        send.send_trailers(trailers)?;
    }
    Ok(())
}
