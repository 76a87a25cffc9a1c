//! Connections: how many there are, of whom, and for how long. Owns the accept loop; it never looks at a call.
//!
//! The process never has more connections than it may open files, less a reserve: what makes acknowledged writes durable
//! must not fail for want of a descriptor. A loop that cannot accept waits before it tries again.

mod io;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

pub(crate) use self::io::{Busy, Connection};
use self::io::{Idle, Io};
use self::slots::{Slot, Slots};
use crate::config::LimitsConfig;
use crate::tls::Certificates;

/// The pause after an accept that failed; it doubles up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// Connections that are ready and wait for the transport.
const READY: usize = 64;

/// Accepts for as long as the stream is held.
pub(crate) fn incoming(
    listener: TcpListener,
    certificates: Option<Arc<Certificates>>,
    limits: &LimitsConfig,
) -> impl Stream<Item = std::io::Result<Io>> + use<> {
    let (ready, mut taken) = mpsc::channel(READY);
    let accept = Accept {
        slots: Arc::new(Slots::new(limits.connections, limits.connections_per_address)),
        certificates,
        handshake: Duration::from_secs(limits.handshake_seconds),
        idle: Duration::from_secs(limits.idle_seconds),
        ready,
    };
    tokio::spawn(accept.run(listener));
    futures::stream::poll_fn(move |cx| taken.poll_recv(cx).map(|io| io.map(Ok)))
}

#[derive(Clone)]
struct Accept {
    slots: Arc<Slots>,
    certificates: Option<Arc<Certificates>>,
    handshake: Duration,
    idle: Duration,
    ready: mpsc::Sender<Io>,
}

impl Accept {
    async fn run(self, listener: TcpListener) {
        let mut pause = PAUSE.0;
        loop {
            let accepted = tokio::select! {
                () = self.ready.closed() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    pause = PAUSE.0;
                    // One too many is closed at once: its peer hears of it, and the others are not held up.
                    if let Some(slot) = self.slots.take(peer.ip()) {
                        tokio::spawn(self.clone().open(stream, slot));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, pause_ms = pause.as_millis(), "a connection could not be accepted");
                    tokio::select! {
                        () = self.ready.closed() => return,
                        () = tokio::time::sleep(pause) => pause = (2 * pause).min(PAUSE.1),
                    }
                }
            }
        }
    }

    async fn open(self, stream: TcpStream, slot: Slot) {
        drop(stream.set_nodelay(true));
        let idle = Idle::new(self.handshake, self.idle);
        let io = match &self.certificates {
            None => Io::plain(stream, slot, idle),
            Some(certificates) => {
                let acceptor = TlsAcceptor::from(certificates.current());
                match tokio::time::timeout(self.handshake, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => Io::tls(stream, slot, idle),
                    Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
                    Err(_) => return tracing::debug!("a TLS handshake did not end in time"),
                }
            }
        };
        // Nobody takes it any more: the process drains.
        drop(self.ready.send(io).await);
    }
}
