//! The metrics page: `GET /metrics` over HTTP/1.1, one request per connection, and nothing else. Connections, the size
//! of a request and the time for it are bounded; a client beyond a bound is cut off.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Metrics;
use crate::BoxError;

/// Most connections at once; further ones wait in the system's queue.
const CONNECTIONS: usize = 8;
/// Most bytes of a request's head.
const HEAD_BYTES: usize = 8 << 10;
/// Time for a request, from its first byte to the last byte of the answer.
const TIME: Duration = Duration::from_secs(5);
/// Pause after a failed accept.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the page until `stop` is cancelled.
pub(crate) async fn serve(listener: TcpListener, metrics: Metrics, stop: CancellationToken) -> Result<(), BoxError> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let Some((accepted, place)) = stop.run_until_cancelled(accepted).await else { return Ok(()) };
        match accepted {
            Ok((stream, _)) => {
                let metrics = metrics.clone();
                tokio::spawn(async move {
                    let answered = tokio::time::timeout(TIME, answer(stream, metrics)).await;
                    drop(place);
                    if let Ok(Err(error)) = answered {
                        tracing::debug!(%error, "a client did not read the metrics");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, metrics: Metrics) -> std::io::Result<()> {
    let (status, kind, body) = match judge(&head(&mut stream).await?) {
        // Collecting the values takes locks and some CPU: not on the threads that answer calls.
        Ok(()) => match tokio::task::spawn_blocking(move || metrics.text()).await {
            Ok(Ok(text)) => ("200 OK", prometheus::TEXT_FORMAT, text),
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot write the metrics page");
                refused("500 Internal Server Error")
            }
            Err(_) => refused("500 Internal Server Error"),
        },
        Err(status) => refused(status),
    };
    let length = body.len();
    let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{allow}Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await
}

fn refused(status: &'static str) -> (&'static str, &'static str, Vec<u8>) {
    (status, "text/plain; charset=utf-8", format!("{status}: only GET /metrics is served here\n").into_bytes())
}

/// Reads a request up to the empty line. A longer one is cut off, and then fails to parse.
async fn head(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(512);
    while !ended(&head) && head.len() < HEAD_BYTES {
        let mut part = [0; 512];
        let most = part.len().min(HEAD_BYTES - head.len());
        match stream.read(&mut part[..most]).await? {
            0 => break,
            read => head.extend_from_slice(&part[..read]),
        }
    }
    Ok(head)
}

fn ended(head: &[u8]) -> bool {
    head.windows(4).any(|end| end == b"\r\n\r\n")
}

/// Whether the request is for the page; else the status of the refusal.
fn judge(head: &[u8]) -> Result<(), &'static str> {
    let text = std::str::from_utf8(head).ok().filter(|_| ended(head)).ok_or("400 Bad Request")?;
    let mut words = text.split("\r\n").next().unwrap_or_default().split(' ');
    let (method, target) = (words.next(), words.next());
    if !words.next().is_some_and(|version| version.starts_with("HTTP/1.")) || words.next().is_some() {
        return Err("400 Bad Request");
    }
    if target.and_then(|target| target.split('?').next()) != Some("/metrics") {
        return Err("404 Not Found");
    }
    if method == Some("GET") { Ok(()) } else { Err("405 Method Not Allowed") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_get_of_the_page_is_answered() {
        let judged = |line: &str| judge(format!("{line}\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!(judged("GET /metrics HTTP/1.1"), Ok(()));
        assert_eq!(judged("GET /metrics?x=1 HTTP/1.0"), Ok(()));
        assert_eq!(judged("POST /metrics HTTP/1.1"), Err("405 Method Not Allowed"));
        for path in ["/", "/metrics/", "/metricsx", "//metrics", "http://a/metrics"] {
            assert_eq!(judged(&format!("GET {path} HTTP/1.1")), Err("404 Not Found"), "{path}");
        }
        for line in ["", "GET", "GET /metrics", "GET /metrics HTTP/2", "GET /metrics HTTP/1.1 x", "PRI * HTTP/2.0"] {
            assert_eq!(judged(line), Err("400 Bad Request"), "{line:?}");
        }
        assert_eq!(judge(b"GET /metrics HTTP/1.1\r\n"), Err("400 Bad Request"), "cut");
    }
}
