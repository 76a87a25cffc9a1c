//! Entra's login endpoint, as far as a service principal needs it: over HTTPS, a token for the right secret, and
//! Azure's error for a wrong one. The secret can be rotated while it runs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Most bytes of a form that are read.
const FORM_MAX: usize = 64 << 10;
/// How long a token lasts.
const LASTS: Duration = Duration::from_secs(3600);

/// The running endpoint.
pub struct Login {
    /// The address that it listens on.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    secret: String,
    given: usize,
    refused: usize,
}

impl Login {
    /// Starts an endpoint that accepts no secret yet.
    pub(crate) async fn start(certificate: CertificateDer<'static>, key: Vec<u8>) -> anyhow::Result<Self> {
        let key = PrivateKeyDer::try_from(key).map_err(|error| anyhow::anyhow!(error))?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State { secret: String::new(), given: 0, refused: 0 }));
        let known = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, known) = (acceptor.clone(), Arc::clone(&known));
                tokio::spawn(async move {
                    // A client may close the connection early.
                    if let Ok(stream) = acceptor.accept(socket).await {
                        drop(serve(stream, &known).await);
                    }
                });
            }
        });
        Ok(Self { address, state })
    }

    /// Makes this the application's only secret.
    pub fn rotate(&self, secret: &str) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).secret = secret.to_owned();
    }

    /// How many tokens were issued, and how many requests were refused.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.given, state.refused)
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: &Mutex<State>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut form = vec![0; length.min(FORM_MAX)];
    stream.read_exact(&mut form).await?;
    let form = String::from_utf8_lossy(&form).into_owned();
    let secret = form.split('&').find_map(|pair| pair.strip_prefix("client_secret=")).unwrap_or_default().to_owned();
    let (status, body) = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.secret.is_empty() && secret == state.secret {
            state.given += 1;
            let token = crate::azurite::token(LASTS).unwrap_or_default();
            ("200 OK", json!({ "token_type": "Bearer", "expires_in": LASTS.as_secs(), "access_token": token }))
        } else {
            state.refused += 1;
            let text = "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the \
                        client secret value, not the client secret ID, for a secret added to app 'mover'.";
            (
                "401 Unauthorized",
                json!({ "error": "invalid_client", "error_description": text, "error_codes": [7_000_215] }),
            )
        }
    };
    let body = body.to_string();
    let head = format!("content-type: application/json\r\ncontent-length: {}\r\nconnection: close", body.len());
    stream.write_all(format!("HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}").as_bytes()).await?;
    stream.shutdown().await
}
