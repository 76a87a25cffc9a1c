//! A server that repeats the credentials it is called with, in every field of its errors and in several encodings. It
//! stands before a real server and passes on what it does not repeat; as a proxy, or in place of a storage account, it
//! answers everything itself.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The server behind the echo, and what is replaced in requests on the way to it.
#[derive(Debug, Clone, Default)]
pub struct Behind {
    /// The address of the server; `None` if the echo answers everything itself.
    pub address: Option<SocketAddr>,
    /// Text in the head of a request, and its replacement; a header whose value becomes empty is left out.
    pub swaps: Vec<(String, String)>,
}

/// Whether a request, given by its first line, is answered by repeating it.
pub type Repeats = fn(&str) -> bool;

/// The running echo.
pub struct Echo {
    /// The address that it listens on.
    pub address: SocketAddr,
    repeats: Arc<Mutex<Repeats>>,
    repeated: Arc<AtomicUsize>,
}

impl Echo {
    /// Starts an echo; with an acceptor it speaks TLS.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(behind: Behind, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let repeats: Arc<Mutex<Repeats>> = Arc::new(Mutex::new(|_| false));
        let repeated = Arc::new(AtomicUsize::new(0));
        let (which, count) = (Arc::clone(&repeats), Arc::clone(&repeated));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (behind, tls) = (behind.clone(), tls.clone());
                let (which, count) = (Arc::clone(&which), Arc::clone(&count));
                // A caller that breaks the connection is not an error.
                tokio::spawn(async move {
                    let served = match tls {
                        Some(tls) => serve(tls.accept(stream).await?, &behind, &which, &count).await,
                        None => serve(stream, &behind, &which, &count).await,
                    };
                    served.or(Ok::<(), io::Error>(()))
                });
            }
        });
        Ok(Self { address, repeats, repeated })
    }

    /// Sets which requests are repeated from now on.
    pub fn repeat(&self, which: Repeats) {
        *self.repeats.lock().unwrap_or_else(PoisonError::into_inner) = which;
    }

    /// How many requests were repeated.
    pub fn repeated(&self) -> usize {
        self.repeated.load(Ordering::Relaxed)
    }
}

async fn serve<S>(stream: S, behind: &Behind, which: &Mutex<Repeats>, count: &AtomicUsize) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let line = head.lines().next().unwrap_or_default().to_owned();
    let repeats = *which.lock().unwrap_or_else(PoisonError::into_inner);
    match behind.address {
        Some(address) if !repeats(&line) => {
            let mut head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            for (from, to) in &behind.swaps {
                head = head.replace(from, to);
            }
            let kept: Vec<&str> = head.split("\r\n").filter(|line| !line.ends_with(": ")).collect();
            let mut up = TcpStream::connect(address).await?;
            up.write_all(kept.join("\r\n").as_bytes()).await?;
            copy_bidirectional(&mut stream, &mut up).await.map(drop)
        }
        _ => {
            let length = header(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0_u64);
            let mut body = Vec::new();
            (&mut stream).take(length.min(1 << 16)).read_to_end(&mut body).await?;
            let at = count.fetch_add(1, Ordering::Relaxed);
            let text = words(&head, &line, &String::from_utf8_lossy(&body), at);
            stream.write_all(answer(&head, &line, &text, at).as_bytes()).await?;
            stream.shutdown().await
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name)))
        .map(|(_, value)| value)
}

/// What the request was called with, in each encoding; which one comes first depends on `at`.
fn words(head: &str, line: &str, body: &str, at: usize) -> String {
    let headers = ["authorization", "authorization-sts-token", "proxy-authorization"];
    let query = line.split(' ').nth(1).and_then(|target| target.split_once('?')).map(|(_, query)| query);
    let given = headers.iter().filter_map(|name| header(head, name)).chain(query).chain(Some(body));
    let mut words = Vec::new();
    for given in given.filter(|given| !given.is_empty()) {
        let forms = [
            given.to_owned(),
            given.bytes().map(|byte| format!("%{byte:02X}")).collect(),
            STANDARD.encode(given),
            given.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ];
        words.extend(forms.into_iter().cycle().skip(at % 4).take(4));
    }
    words.join(" ")
}

/// An error in the shape that the server behind gives, with the words in every field that can have text.
fn answer(head: &str, line: &str, words: &str, at: usize) -> String {
    let xml = |root: &str| {
        let words = words.replace('&', "&amp;");
        format!(
            "<?xml version=\"1.0\"?><{root}><Code>{words}</Code><Message>{words}</Message><RequestId>{words}</RequestId><HostId>{words}</HostId></{root}>"
        )
    };
    let (kind, body) = if line.contains("/api/2.") {
        let details =
            json!([{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": words, "domain": words }]);
        match at % 3 {
            0 => ("text/html", format!("<html><title>{words}</title></html>")),
            _ => ("application/json", json!({ "error_code": words, "message": words, "details": details }).to_string()),
        }
    } else if line.contains("/oauth2/") {
        ("application/json", json!({ "error": "invalid_client", "error_description": words }).to_string())
    } else if header(head, "host").is_some_and(|host| host.contains(".blob.")) || at.is_multiple_of(2) {
        ("application/xml", xml("Error"))
    } else {
        ("application/json", json!({ "Code": words, "Message": words, "RequestId": words }).to_string())
    };
    let status = match (line.split(' ').next(), at % 4) {
        _ if header(head, "proxy-authorization").is_some() => "407 Proxy Authentication Required",
        (_, 0) => "400 Bad Request",
        (Some("GET"), 1) if line.contains("/api/2.") => "302 Found",
        _ => "403 Forbidden",
    };
    let told = ["x-request-id", "x-odps-request-id", "x-ms-request-id", "www-authenticate", "x-ms-error-code"];
    let told: String = told.iter().map(|name| format!("{name}: {words}\r\n")).collect();
    let query: String = words.split(' ').map(|word| format!("&was={word}")).collect();
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nLocation: https://elsewhere.example/login?{query}\r\n{told}Content-Type: \
         {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A secret, in each encoding in which it is searched for.
pub struct Canary {
    /// The secret in clear.
    pub secret: String,
    forms: Vec<Vec<u8>>,
}

impl Canary {
    /// A canary for a secret that is long enough to be recognised by a piece of it.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        let hex = |upper: bool| -> String {
            secret.bytes().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }).collect()
        };
        let encoded = |keep: fn(u8) -> bool| -> String {
            let one = |byte: u8| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
            secret.bytes().map(one).collect()
        };
        let mut forms = vec![secret[..16].to_owned(), secret[secret.len() - 16..].to_owned(), hex(false), hex(true)];
        forms.extend([
            encoded(|_| false),
            encoded(|byte| byte.is_ascii_alphanumeric()),
            encoded(|_| false).to_lowercase(),
        ]);
        for shift in 0..3 {
            let mut shifted = vec![b' '; shift];
            shifted.extend(secret.bytes());
            let all = STANDARD.encode(&shifted);
            // The part of the base64 text that does not depend on the bytes around the secret.
            let own = &all[(8 * shift).div_ceil(6)..8 * shifted.len() / 6];
            forms.extend([own.to_owned(), own.replace('+', "-").replace('/', "_")]);
        }
        Self { secret: secret.to_owned(), forms: forms.into_iter().map(String::into_bytes).collect() }
    }

    /// The encoding of the secret that the bytes contain, if any.
    #[must_use]
    pub fn found(&self, within: &[u8]) -> Option<String> {
        let stands = |form: &&Vec<u8>| {
            let mut at = within.iter().enumerate().filter(|(_, byte)| **byte == form[0]).map(|(at, _)| at);
            at.any(|at| within[at..].starts_with(form))
        };
        self.forms.iter().find(stands).map(|form| String::from_utf8_lossy(form).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_found_in_every_alphabet_and_nowhere_else() {
        let canary = Canary::new("a-secret/of+this=test");
        let text =
            words("GET /?x=a-secret/of+this=test HTTP/1.1\r\n\r\n", "GET /?x=a-secret/of+this=test HTTP/1.1", "", 0);
        for word in text.split(' ') {
            assert!(canary.found(word.as_bytes()).is_some(), "{word}");
        }
        assert_eq!(canary.found(b"x=*** and a-secret of another test"), None);
    }
}
