//! A way between two programs that can be shut: connections through it break, and new ones are refused, until it is opened again.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The running gate.
pub struct Gate {
    /// Where it listens.
    pub url: String,
    open: watch::Sender<bool>,
    upstream: Arc<Mutex<Option<SocketAddr>>>,
}

impl Gate {
    /// Starts one, open, that leads nowhere yet.
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
                        // A connection that breaks is the point of this.
                        ended = copy_bidirectional(&mut client, &mut server) => drop(ended),
                        shut = told.wait_for(|open| !open) => drop(shut),
                    }
                });
            }
        });
        Ok(Self { url, open, upstream })
    }

    /// Leads to this address from now on.
    ///
    /// # Errors
    /// It is no address.
    pub fn lead_to(&self, url: &str) -> anyhow::Result<()> {
        let address = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner) = Some(address.parse()?);
        Ok(())
    }

    /// Breaks all connections and lets none through.
    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}
