//! A caller that can send anything: HTTP/2 without any of our client code.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::net::TcpSocket;

/// A connection from an address of this machine.
pub struct Raw {
    send: SendRequest<Bytes>,
    at: SocketAddr,
}

impl Raw {
    /// Connects; `from` is the local address.
    ///
    /// # Errors
    /// The connection is refused.
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

    /// Begins a call without sending anything of its body.
    ///
    /// # Errors
    /// The connection has ended.
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

    /// Makes a call with one message and returns its status.
    ///
    /// # Errors
    /// The answer is not gRPC.
    pub async fn call(&mut self, path: &str, token: Option<&str>, message: &[u8]) -> anyhow::Result<tonic::Status> {
        let (answer, mut body) = self.begin(path, token).await?;
        let mut framed = vec![0];
        framed.extend(u32::try_from(message.len())?.to_be_bytes());
        framed.extend(message);
        // The service may refuse the call before the whole body was sent.
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
