//! The certificates of a process: reads and checks them, and reads them again when they change, without disturbing
//! connections.

mod certificate;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::config::TlsConfig;
use crate::serve::FrameError;
use crate::supervise::chain;

/// A certificate that expires within this many days is reported.
pub(crate) const WARN_DAYS: i64 = 14;

/// The peer of a connection, by the certificate that it presented.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The DNS names of the certificate.
    pub names: Vec<String>,
}

impl Peer {
    /// The owner of a certificate that the handshake has verified.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self { names: certificate::names(certificate) }
    }
}

/// The certificate, key and client authority for new connections.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: TlsConfig,
    current: RwLock<Current>,
}

#[derive(Debug, Clone)]
struct Current {
    config: Arc<ServerConfig>,
    /// When our own certificate expires, in seconds since 1970; `None` if that cannot be read.
    ends: Option<i64>,
}

impl Certificates {
    /// Reads the files; `None` if TLS is not configured.
    pub fn read(files: &TlsConfig) -> Result<Option<Self>, FrameError> {
        let Some(current) = load(files)? else { return Ok(None) };
        Ok(Some(Self { files: files.clone(), current: RwLock::new(current) }))
    }

    /// The settings for a new connection.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).config)
    }

    /// Reads the files again. If one is wrong, the previous settings stay in use.
    pub fn reload(&self) -> Result<(), FrameError> {
        if let Some(fresh) = load(&self.files)? {
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(())
    }

    /// Days until our own certificate expires, negative once it has; `None` if that cannot be read.
    pub fn days_left(&self, now_seconds: i64) -> Option<i64> {
        let ends = self.current.read().unwrap_or_else(PoisonError::into_inner).ends;
        ends.map(|ends| days_until(ends, now_seconds))
    }
}

/// When the first certificate of a PEM text expires, in seconds since 1970; `None` if that cannot be read.
pub(crate) fn ends_of(pem: &[u8]) -> Option<i64> {
    certificate::ends(&CertificateDer::from_pem_slice(pem).ok()?)
}

/// Days until a moment, negative once it has passed.
pub(crate) fn days_until(ends: i64, now_seconds: i64) -> i64 {
    (ends - now_seconds).div_euclid(86_400)
}

fn load(files: &TlsConfig) -> Result<Option<Current>, FrameError> {
    let (Some(cert), Some(key)) = (&files.cert_file, &files.key_file) else { return Ok(None) };
    let mut named = format!("certificate {} with key {}", cert.display(), key.display());
    if let Some(ca) = &files.client_ca_file {
        named += &format!(" and authority {}", ca.display());
    }
    let wrong = |what: String| FrameError::Tls {
        text: format!("{named}: {what}; each must be PEM, and certificate and key a pair"),
    };
    only_ours(key)?;
    let chain_of = |file: &Path| {
        let pem = read(file)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let certificates = certificates.map_err(|error| wrong(format!("{}: {error}", file.display())))?;
        if certificates.is_empty() {
            Err(wrong(format!("{} holds no certificate", file.display())))
        } else {
            Ok(certificates)
        }
    };
    let chain_shown = chain_of(cert)?;
    let private =
        PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| wrong(format!("{}: {error}", key.display())))?;
    let ends = chain_shown.first().and_then(certificate::ends);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| wrong(error.to_string()))?;
    let builder = match &files.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for root in chain_of(ca)? {
                roots.add(root).map_err(|error| wrong(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong(chain(&error)))?)
        }
    };
    let mut config = builder.with_single_cert(chain_shown, private).map_err(|error| wrong(chain(&error)))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Some(Current { config: Arc::new(config), ends }))
}

fn read(file: &Path) -> Result<Vec<u8>, FrameError> {
    std::fs::read(file).map_err(|source| FrameError::File { file: file.to_owned(), source })
}

/// Refuses a private key that others can read.
fn only_ours(key: &Path) -> Result<(), FrameError> {
    use std::os::unix::fs::PermissionsExt;
    let found = std::fs::metadata(key).map_err(|source| FrameError::File { file: key.to_owned(), source })?;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let file = key.display();
    Err(FrameError::Tls { text: format!("key {file} has mode {mode:03o}: others can read it; run chmod 600 {file}") })
}
