//! A proxy that can be shut: its connections break and new ones are refused, until it is opened again.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The running gate.
pub struct Gate {
    /// The URL that it listens on.
    pub url: String,
    open: watch::Sender<bool>,
    upstream: Arc<Mutex<Option<SocketAddr>>>,
}

impl Gate {
    /// Starts an open gate that leads nowhere yet.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (open, told) = watch::channel(true);
        let upstream: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let to = upstream.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let to = *to.lock().unwrap_or_else(PoisonError::into_inner);
                let (Some(to), true) = (to, *told.borrow()) else { continue };
                let mut told = told.clone();
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(to).await else { return };
                    tokio::select! {
                        // Broken connections are what this gate is for.
                        ended = copy_bidirectional(&mut client, &mut server) => drop(ended),
                        shut = told.wait_for(|open| !open) => drop(shut),
                    }
                });
            }
        });
        Ok(Self { url, open, upstream })
    }

    /// Leads connections to this URL from now on.
    ///
    /// # Errors
    /// The URL has no valid address.
    pub fn lead_to(&self, url: &str) -> anyhow::Result<()> {
        let address = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner) = Some(address.parse()?);
        Ok(())
    }

    /// Breaks all connections and refuses new ones.
    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    /// Accepts connections again.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}
