//! A caller that sends what it likes: HTTP/2 without any of our code above it.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::net::TcpSocket;

/// A connection from some address of this machine.
pub struct Raw {
    send: SendRequest<Bytes>,
    at: SocketAddr,
}

impl Raw {
    /// Connects; `from` is the own address.
    ///
    /// # Errors
    /// It is not let in.
    pub async fn connect(at: SocketAddr, from: IpAddr) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        let stream = socket.connect(at).await?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1 << 24).initial_connection_window_size(1 << 26);
        let (send, connection) = builder.handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self { send, at })
    }

    /// Begins a call and sends nothing of its body.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn begin(
        &mut self,
        path: &str,
        token: Option<&str>,
    ) -> anyhow::Result<(h2::client::ResponseFuture, SendStream<Bytes>)> {
        let mut send = self.send.clone().ready().await?;
        let mut request = Request::post(format!("http://{}{path}", self.at))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        Ok(send.send_request(request.body(())?, false)?)
    }

    /// Calls with one message and tells the status.
    ///
    /// # Errors
    /// There is no gRPC answer.
    pub async fn call(&mut self, path: &str, token: Option<&str>, message: &[u8]) -> anyhow::Result<tonic::Status> {
        let (answer, mut body) = self.begin(path, token).await?;
        let mut framed = vec![0];
        framed.extend(u32::try_from(message.len())?.to_be_bytes());
        framed.extend(message);
        // A refusal may come before all of it was taken.
        drop(body.send_data(framed.into(), true));
        let answer = answer.await?;
        let (head, mut body) = answer.into_parts();
        let status = |headers: &HeaderMap| tonic::Status::from_header_map(headers);
        if let Some(status) = status(&head.headers) {
            return Ok(status);
        }
        drain(&mut body).await?;
        let trailers = body.trailers().await?.unwrap_or_default();
        status(&trailers).ok_or_else(|| anyhow::anyhow!("HTTP {} without a gRPC status", head.status))
    }
}

async fn drain(body: &mut RecvStream) -> anyhow::Result<()> {
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    Ok(())
}
