//! One connection: its bytes, the peer's certificate, and how long it may stay open without a call.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::slots::Slot;
use crate::tls::Peer;

/// Bytes of the preface that an HTTP/2 connection begins with.
const PREFACE: usize = 24;

/// A connection as the transport uses it.
pub(crate) struct Io {
    stream: Stream,
    connection: Connection,
    idle: Idle,
    _slot: Slot,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What a call knows of its connection; stands in the request's extensions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connection {
    /// The owner of the client certificate, if one was demanded.
    pub peer: Option<Arc<Peer>>,
    calls: Arc<Calls>,
}

#[derive(Debug)]
struct Calls {
    open: AtomicUsize,
    last: Mutex<Instant>,
}

impl Default for Calls {
    fn default() -> Self {
        Self { open: AtomicUsize::new(0), last: Mutex::new(Instant::now()) }
    }
}

/// Held by a call: its connection is not idle meanwhile.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Calls>);

impl Connection {
    /// Marks the beginning of a call; its end is when the mark is dropped.
    pub fn busy(&self) -> Busy {
        self.calls.open.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(&self.calls))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Decides when a connection is closed for being idle: without its preface in time, or without a call for too long.
pub(super) struct Idle {
    timer: Pin<Box<Sleep>>,
    preface_until: Instant,
    seen: usize,
    most: Duration,
}

impl Idle {
    pub fn new(preface: Duration, most: Duration) -> Self {
        let preface_until = Instant::now() + preface;
        Self { timer: Box::pin(tokio::time::sleep_until(preface_until)), preface_until, seen: 0, most }
    }

    /// Whether the connection has been idle too long; if not, sets the waker for when it may be.
    fn is_over(&mut self, calls: &Calls, cx: &mut Context<'_>) -> bool {
        loop {
            if self.timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            let now = Instant::now();
            let next = if self.seen < PREFACE {
                self.preface_until
            } else if calls.open.load(Ordering::Relaxed) > 0 {
                now + self.most
            } else {
                *calls.last.lock().unwrap_or_else(PoisonError::into_inner) + self.most
            };
            if next <= now {
                return true;
            }
            self.timer.as_mut().reset(next);
        }
    }
}

impl Io {
    pub(super) fn plain(stream: TcpStream, slot: Slot, idle: Idle) -> Self {
        Self { stream: Stream::Plain(stream), connection: Connection::default(), idle, _slot: slot }
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, slot: Slot, idle: Idle) -> Self {
        let shown = stream.get_ref().1.peer_certificates().and_then(<[CertificateDer<'_>]>::first);
        let peer = shown.map(|certificate| Arc::new(Peer::of(certificate)));
        let connection = Connection { peer, ..Connection::default() };
        Self { stream: Stream::Tls(Box::new(stream)), connection, idle, _slot: slot }
    }
}

impl Connected for Io {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        match polled {
            Poll::Pending if this.idle.is_over(&this.connection.calls, cx) => {
                tracing::debug!("a connection without calls is closed");
                // Looks as if the peer had closed its side: calls in flight finish, and no new one begins.
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) => {
                this.idle.seen = this.idle.seen.saturating_add(buf.filled().len() - before);
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
