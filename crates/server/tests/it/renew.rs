//! What is renewed while processes run: the certificates and tokens that a channel presents, and the suite's token.
//! Also tokens that expire, and warnings before our own certificate expires. Renewed files of a server are tested in
//! `tls`.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mms_proto::transfer::v1::transfer_service_client::TransferServiceClient;
use mms_server::config::TlsConfig;
use mms_server::{BoundServer, CancellationToken, Client, ClientConfig, FrameConfig, Services, SuiteToken};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{get, private, serve};
use crate::tls::hangup;

const PATIENCE: Duration = Duration::from_secs(30);

/// Repeats a question until the answer is yes, within bounds.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn tokens(entries: &[(&str, &str)]) -> String {
    let entry = |(token, more): &(&str, &str)| {
        format!("[[tokens]]\ntoken = \"{token}\"\nrole = \"VIEWER\"\nsubject = \"ann\"\n{more}\n")
    };
    entries.iter().map(entry).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_shows_renewed_certificates_and_tokens_and_drops_no_call() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| private(folder.path(), name, text);
    let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (server, before, after) = (made("mms.test"), made("client.test"), made("client.test"));
    let authority = write("server.pem", &server.cert.pem());
    let tls = TlsConfig {
        cert_file: Some(authority.clone()),
        key_file: Some(write("server.key", &server.signing_key.serialize_pem())),
        client_ca_file: Some(write("clients.pem", &before.cert.pem())),
        ..TlsConfig::default()
    };
    let known = write("tokens.toml", &tokens(&[("the-token-of-before", "")]));
    let running = serve(FrameConfig { tls, tokens_file: Some(known), ..FrameConfig::default() }).await;
    let config = ClientConfig {
        endpoint: format!("https://{}", running.addr),
        ca_file: Some(authority),
        cert_file: Some(write("own.pem", &before.cert.pem())),
        key_file: Some(write("own.key", &before.signing_key.serialize_pem())),
        server_name: Some("mms.test".into()),
        token_file: Some(write("own.token", "the-token-of-before")),
        ..ClientConfig::default()
    };
    let client = TransferServiceClient::new(Client::new(&config, None).unwrap());
    client.clone().get_transfer(get("fine")).await.unwrap();
    let mut held = client.clone();
    let call = tokio::spawn(async move { held.get_transfer(get("wait")).await });
    running.chosen.entered.notified().await;

    // A certificate without its key is not a pair: the previous pair stays in use.
    write("own.pem", &after.cert.pem());
    let half = Instant::now();
    until("half of a pair is taken", async || {
        client.clone().get_transfer(get("fine")).await.unwrap();
        half.elapsed() > Duration::from_millis(1500)
    })
    .await;
    write("own.key", &after.signing_key.serialize_pem());
    write("own.token", "the-token-of-after");
    write("clients.pem", &after.cert.pem());
    write("tokens.toml", &tokens(&[("the-token-of-after", "")]));
    hangup();
    until("the renewed files are not shown", async || client.clone().get_transfer(get("fine")).await.is_ok()).await;
    running.chosen.gate.notify_one();
    call.await.unwrap().unwrap();
}

/// The token with which a process calls others follows its file, so that the token of a whole suite can be replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suites_token_is_renewed_in_every_channel() {
    let folder = tempfile::tempdir().unwrap();
    let file = private(folder.path(), "service.token", "the-token-of-the-suite-before");
    let frame = FrameConfig { service_token_file: Some(file), ..FrameConfig::default() };
    let server = BoundServer::bind("transfer", frame).await.unwrap();
    let (told, token) = tokio::sync::oneshot::channel::<Option<SuiteToken>>();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.serve((), stop.clone(), |context| async move {
        told.send(context.service_token).ok();
        Ok(Services::new())
    }));
    let token = token.await.unwrap().unwrap();

    // As operators are told to do it: for a while both tokens are valid.
    let both = ["the-token-of-the-suite-before", "the-token-of-the-suite-after"];
    let both = both.map(|token| format!("[[tokens]]\ntoken = \"{token}\"\nrole = \"SERVICE\"\nsubject = \"suite\"\n"));
    let tokens_file = private(folder.path(), "tokens.toml", &both.concat());
    let peer_token = private(folder.path(), "peer.token", "the-token-of-the-suite-before");
    let frame =
        FrameConfig { tokens_file: Some(tokens_file), service_token_file: Some(peer_token), ..FrameConfig::default() };
    let peer = serve(frame).await;
    let client = TransferServiceClient::new(Client::new(&peer.config(), Some(&token)).unwrap());
    client.clone().get_transfer(get("fine")).await.unwrap();
    for name in ["service.token", "peer.token"] {
        private(folder.path(), name, "the-token-of-the-suite-after");
    }
    hangup();
    let begun = Instant::now();
    until("a call is refused meanwhile", async || {
        client.clone().get_transfer(get("fine")).await.unwrap();
        begun.elapsed() > Duration::from_millis(500)
    })
    .await;
    private(folder.path(), "tokens.toml", &tokens(&[("the-token-of-somebody", "")]));
    hangup();
    let before = SuiteToken::new("the-token-of-the-suite-before");
    let before = TransferServiceClient::new(Client::new(&peer.config(), Some(&before)).unwrap());
    until("the old token is still good", async || {
        let refused = before.clone().get_transfer(get("fine")).await;
        refused.is_err_and(|refused| refused.code() == Code::Unauthenticated)
    })
    .await;
    client.clone().get_transfer(get("fine")).await.unwrap();
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_token_ends_when_its_entry_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    let entries = [
        ("the-token-that-has-ended", "expires = \"2020-01-31T00:00:00Z\"".to_owned()),
        ("the-token-that-ends-soon", format!("name = \"laptop\"\nexpires = \"{soon}\"")),
        ("the-token-of-long-after", "expires = \"2999-01-31T00:00:00Z\"".to_owned()),
    ];
    let entries: Vec<(&str, &str)> = entries.iter().map(|(token, more)| (*token, more.as_str())).collect();
    let file = private(folder.path(), "tokens.toml", &tokens(&entries));
    let running = serve(FrameConfig { tokens_file: Some(file), ..FrameConfig::default() }).await;
    let code = async |token: &str| {
        let client = Client::new(&running.config(), Some(&SuiteToken::new(token))).unwrap();
        let answer = TransferServiceClient::new(client).get_transfer(get("fine")).await;
        answer.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    assert_eq!(code("the-token-that-has-ended").await, Code::Unauthenticated);
    assert_eq!(code("the-token-that-ends-soon").await, Code::Ok);
    until("it does not end", async || code("the-token-that-ends-soon").await == Code::Unauthenticated).await;
    assert!(jiff::Timestamp::now() >= soon, "it ended before its time");
    assert_eq!(code("the-token-of-long-after").await, Code::Ok);
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a certificate that expires in so many days, with its key, over the previous one.
fn certificate(folder: &Path, days: i64) -> TlsConfig {
    let ends = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC) + jiff::Span::new().days(days);
    let mut params = rcgen::CertificateParams::new(vec!["mms.test".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(ends.year().into(), ends.month() as u8, ends.day() as u8);
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    TlsConfig {
        key_file: Some(private(folder, "key.pem", &key.serialize_pem())),
        cert_file: Some(private(folder, "cert.pem", &pem)),
        ..TlsConfig::default()
    }
}

/// Collects the log lines of this thread, on which the whole test runs, for as long as the guard is held.
fn logged() -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

impl Lines {
    fn say(&self, what: &str) -> bool {
        String::from_utf8_lossy(&self.0.lock().unwrap()).contains(what)
    }
}

#[tokio::test]
async fn a_certificate_that_runs_out_within_two_weeks_is_said_in_log_and_health_until_it_is_renewed() {
    let (lines, _guard) = logged();
    let said = |what: &str| lines.say(what);
    let start = async |folder: &Path, days| {
        let tokens_file = Some(private(folder, "tokens.toml", &tokens(&[("the-token-of-somebody", "")])));
        serve(FrameConfig { tls: certificate(folder, days), tokens_file, ..FrameConfig::default() }).await
    };
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path(), 10).await;
    let serves = async |service: &str| {
        let config = ClientConfig {
            endpoint: format!("https://{}", running.addr),
            ca_file: Some(folder.path().join("cert.pem")),
            server_name: Some("mms.test".into()),
            ..ClientConfig::default()
        };
        let mut health = HealthClient::new(Client::new(&config, None).unwrap());
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await;
        answer.ok().map(|answer| answer.into_inner().status() == ServingStatus::Serving)
    };
    until("health does not say it", async || serves("mms.certificate").await == Some(false)).await;
    assert_eq!(serves("").await, Some(true), "the process itself serves");
    until("the log does not say it", async || said("expires soon: renew it")).await;
    certificate(folder.path(), 90);
    hangup();
    until("health does not see the renewed one", async || serves("mms.certificate").await == Some(true)).await;

    // With an expired certificate no client can connect to ask for health: only the log can say so.
    let folder = tempfile::tempdir().unwrap();
    start(folder.path(), -1).await;
    until("the log does not say that it has expired", async || said("has expired: renew it")).await;
}

#[tokio::test]
async fn so_is_one_that_a_channel_shows() {
    let (lines, _guard) = logged();
    let folder = tempfile::tempdir().unwrap();
    let own = certificate(folder.path(), 10);
    let config = ClientConfig {
        // Nothing listens there, and no call is made.
        endpoint: "https://127.0.0.1:1".into(),
        ca_file: own.cert_file.clone(),
        cert_file: own.cert_file,
        key_file: own.key_file,
        ..ClientConfig::default()
    };
    let server = BoundServer::bind("transfer", FrameConfig::default()).await.unwrap();
    let (at, stop) = (server.local_addr(), CancellationToken::new());
    let serving = tokio::spawn(server.serve((), stop.clone(), |context| async move {
        context.channel(&config)?;
        Ok(Services::new())
    }));
    let mut health = HealthClient::new(Client::new(&ClientConfig::to(format!("http://{at}")), None).unwrap());
    let mut serves = async || {
        let answer = health.check(HealthCheckRequest { service: "mms.certificate".into() }).await;
        answer.ok().map(|answer| answer.into_inner().status() == ServingStatus::Serving)
    };
    until("health does not say it", async || serves().await == Some(false)).await;
    until("the log does not say it", async || lines.say("shown to https://127.0.0.1:1 expires soon: renew it")).await;
    certificate(folder.path(), 90);
    until("health does not see the renewed one", async || {
        hangup();
        serves().await == Some(true)
    })
    .await;
    certificate(folder.path(), -1);
    until("the log does not say that it has expired", async || {
        hangup();
        lines.say("shown to https://127.0.0.1:1 has expired: renew it")
    })
    .await;
    stop.cancel();
    serving.await.unwrap().unwrap();
}
