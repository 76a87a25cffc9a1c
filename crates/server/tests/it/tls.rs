//! TLS from configured certificates, with and without client certificates.

use crate::hostile::closes;
use crate::support::{get, private, serve};
use mms_proto::transfer::v1::transfer_service_client::TransferServiceClient;
use mms_server::config::TlsConfig;
use mms_server::{Client, ClientConfig, Faults, FrameConfig};

#[tokio::test]
async fn calls_pass_over_tls_and_only_with_the_right_authority() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["mms.test".to_owned()]).unwrap();
    let cert = private(folder.path(), "cert.pem", &made.cert.pem());
    let key = private(folder.path(), "key.pem", &made.signing_key.serialize_pem());
    let other = rcgen::generate_simple_self_signed(["mms.test".to_owned()]).unwrap();
    let other = private(folder.path(), "other.pem", &other.cert.pem());
    let token = private(folder.path(), "token", "the-token-of-the-suite-42");
    let running = serve(FrameConfig {
        tls: TlsConfig {
            cert_file: Some(cert.clone()),
            key_file: Some(key),
            client_ca_file: None,
            ..TlsConfig::default()
        },
        service_token_file: Some(token),
        ..FrameConfig::default()
    })
    .await;
    let config = |ca| ClientConfig {
        endpoint: format!("https://{}", running.addr),
        ca_file: Some(ca),
        server_name: Some("mms.test".into()),
        ..ClientConfig::default()
    };
    let mut client = TransferServiceClient::new(Client::new(&config(cert), None).unwrap());
    client.get_transfer(get("fine")).await.unwrap();
    let mut stranger = TransferServiceClient::new(Client::new(&config(other), None).unwrap());
    stranger.get_transfer(get("fine")).await.unwrap_err();
    running.client().get_transfer(get("fine")).await.unwrap_err();
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["mms.test".to_owned()]).unwrap();
    let tls = TlsConfig {
        cert_file: Some(private(folder.path(), "cert.pem", &made.cert.pem())),
        key_file: Some(private(folder.path(), "key.pem", &made.signing_key.serialize_pem())),
        ..TlsConfig::default()
    };
    let mut frame = FrameConfig { tls, ..FrameConfig::default() };
    frame.limits.handshake_seconds = 1;
    let running = serve(frame).await;
    let mut silent = tokio::net::TcpStream::connect(running.addr).await.unwrap();
    assert!(closes(&mut silent).await, "it never said a word");
}

#[tokio::test]
async fn a_server_that_demands_client_certificates_gets_those_of_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["mms.test".to_owned()]).unwrap();
    let cert = private(folder.path(), "cert.pem", &made.cert.pem());
    let key = private(folder.path(), "key.pem", &made.signing_key.serialize_pem());
    let own = rcgen::generate_simple_self_signed(["client.test".to_owned()]).unwrap();
    let own_cert = private(folder.path(), "own.pem", &own.cert.pem());
    let own_key = private(folder.path(), "own.key", &own.signing_key.serialize_pem());
    let tls = TlsConfig {
        cert_file: Some(cert.clone()),
        key_file: Some(key.clone()),
        client_ca_file: Some(own_cert.clone()),
        ..TlsConfig::default()
    };
    let running = serve(FrameConfig { tls, ..FrameConfig::default() }).await;
    let without = ClientConfig {
        endpoint: format!("https://{}", running.addr),
        ca_file: Some(cert.clone()),
        server_name: Some("mms.test".into()),
        ..ClientConfig::default()
    };
    let with = |cert, key| ClientConfig { cert_file: Some(cert), key_file: Some(key), ..without.clone() };
    let client = |config: &ClientConfig| TransferServiceClient::new(Client::new(config, None).unwrap());
    client(&with(own_cert.clone(), own_key)).get_transfer(get("fine")).await.unwrap();
    client(&without).get_transfer(get("fine")).await.unwrap_err();
    client(&with(cert, key)).get_transfer(get("fine")).await.unwrap_err();

    let mut faults = Faults::default();
    ClientConfig { cert_file: Some(own_cert), ..without }.check("registry", &mut faults);
    assert_eq!(faults.keys().collect::<Vec<_>>(), ["registry.cert_file"]);
}

#[tokio::test]
async fn what_is_no_certificate_is_found_before_anything_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["mms.test".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["mms.test".to_owned()]).unwrap();
    let cert = private(folder.path(), "cert.pem", &made.cert.pem());
    let key = private(folder.path(), "key.pem", &made.signing_key.serialize_pem());
    let of_another = private(folder.path(), "other.key", &other.signing_key.serialize_pem());
    let garbage = private(folder.path(), "garbage.pem", "-----BEGIN NOTHING-----\n");
    let cases = [
        (&garbage, &key, None),
        (&cert, &garbage, None),
        (&cert, &of_another, None),
        (&cert, &key, Some(garbage.clone())),
    ];
    for (cert, key, client_ca_file) in cases {
        let tls = TlsConfig {
            cert_file: Some(cert.clone()),
            key_file: Some(key.clone()),
            client_ca_file,
            ..TlsConfig::default()
        };
        let bound = mms_server::BoundServer::bind("transfer", FrameConfig { tls, ..FrameConfig::default() }).await;
        let Err(error @ mms_server::FrameError::Tls { .. }) = bound else { panic!("{cert:?} {key:?}: {bound:?}") };
        assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_channel_to_another_machine_needs_tls() {
    let mut faults = Faults::default();
    ClientConfig::to("http://10.0.0.1:7401").check("registry", &mut faults);
    ClientConfig::to("registry:7401").check("registry", &mut faults);
    // A channel without TLS must not have an authority: its owner would believe that it is protected.
    let own = ClientConfig { ca_file: Some("ca.crt".into()), ..ClientConfig::to("http://127.0.0.1:7401") };
    own.check("registry", &mut faults);
    let keys: Vec<_> = faults.keys().collect();
    assert_eq!(keys, ["registry.endpoint", "registry.endpoint", "registry.ca_file"], "{faults}");
    let mut none = Faults::default();
    for good in ["http://127.0.0.1:7401", "http://[::1]:7401", "http://localhost:7401", "https://registry:7401"] {
        ClientConfig::to(good).check("registry", &mut none);
    }
    assert!(none.is_empty(), "{none}");
}

/// Makes this process read its files again, with SIGHUP as an operator does.
pub fn hangup() {
    let own = std::process::id().to_string();
    let told = std::process::Command::new("sh").args(["-c", "kill -HUP \"$1\"", "sh", &own]).status();
    assert!(told.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_tokens_are_renewed_without_dropping_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| private(folder.path(), name, text);
    let [before, after] = [(); 2].map(|()| rcgen::generate_simple_self_signed(["mms.test".to_owned()]).unwrap());
    let (trust_before, trust_after) = (write("before.pem", &before.cert.pem()), write("after.pem", &after.cert.pem()));
    let cert = write("cert.pem", &before.cert.pem());
    let key = write("key.pem", &before.signing_key.serialize_pem());
    let tokens = |token: &str| format!("[[tokens]]\ntoken = \"{token}\"\nrole = \"VIEWER\"\nsubject = \"ann\"\n");
    let file = write("tokens.toml", &tokens("the-token-of-before"));
    let tls = TlsConfig { cert_file: Some(cert), key_file: Some(key), ..TlsConfig::default() };
    let running = serve(FrameConfig { tls, tokens_file: Some(file), ..FrameConfig::default() }).await;
    let client = |ca: &std::path::Path| {
        let config = ClientConfig {
            endpoint: format!("https://{}", running.addr),
            ca_file: Some(ca.to_owned()),
            server_name: Some("mms.test".into()),
            ..ClientConfig::default()
        };
        TransferServiceClient::new(Client::new(&config, None).unwrap())
    };
    let ask = async |mut client: TransferServiceClient<Client>, token: &str| {
        let mut request = tonic::Request::new(get("fine"));
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        client.get_transfer(request).await.map(drop)
    };
    let mut held = client(&trust_before);
    let mut request = tonic::Request::new(get("wait"));
    request.metadata_mut().insert("authorization", "Bearer the-token-of-before".parse().unwrap());
    let call = tokio::spawn(async move { held.get_transfer(request).await });
    running.chosen.entered.notified().await;

    // A file that is no certificate changes nothing.
    write("cert.pem", "-----BEGIN NOTHING-----\n");
    hangup();
    ask(client(&trust_before), "the-token-of-before").await.unwrap();

    write("cert.pem", &after.cert.pem());
    write("key.pem", &after.signing_key.serialize_pem());
    write("tokens.toml", &tokens("the-token-of-after"));
    hangup();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while ask(client(&trust_after), "the-token-of-after").await.is_err() {
        assert!(std::time::Instant::now() < until, "the renewed files are not taken");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    ask(client(&trust_before), "the-token-of-after").await.unwrap_err();
    ask(client(&trust_after), "the-token-of-before").await.unwrap_err();
    running.chosen.gate.notify_one();
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_key_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["mms.test".to_owned()]).unwrap();
    let cert = private(folder.path(), "cert.pem", &made.cert.pem());
    let key = private(folder.path(), "key.pem", &made.signing_key.serialize_pem());
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let tls = TlsConfig { cert_file: Some(cert), key_file: Some(key), ..TlsConfig::default() };
    let bound = mms_server::BoundServer::bind("transfer", FrameConfig { tls, ..FrameConfig::default() }).await;
    assert!(bound.unwrap_err().to_string().contains("chmod 600"));
}
