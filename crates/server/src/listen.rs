//! Connections: how many there are, from whom, and for how long. Owns the accept loop, and never looks at a call.
//!
//! The process never has more connections than the limit of open files allows, less a reserve: making acknowledged
//! writes durable must not fail for want of a file descriptor. After a failed accept the loop waits before it tries
//! again.

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

/// The first and the longest pause after a failed accept; it doubles in between.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// Connections that are ready and wait to be taken by the transport.
const READY: usize = 64;

/// Accepts connections for as long as the stream is held.
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
                    // A connection above the limit is closed at once: its peer learns of it, and no other connection
                    // waits.
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
        // An error means that nobody takes connections any more: the process drains.
        drop(self.ready.send(io).await);
    }
}
