use std::sync::mpsc;

use mms_http::{HostPattern, NetworkConnection};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::LocalFiles;

fn lake() -> StorageLocation {
    StorageLocation::parse("abfss://lake@acct.dfs.core.windows.net/t", LocalFiles::Refused).unwrap()
}

/// Answers every connection with one fixed response, and returns the head of each request.
async fn peer(response: &'static str) -> (Url, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let (lines, seen) = mpsc::channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = vec![0; 8192];
            let n = socket.read(&mut head).await.unwrap();
            lines.send(String::from_utf8_lossy(&head[..n]).into_owned()).unwrap();
            socket.write_all(response.as_bytes()).await.unwrap();
        }
    });
    (url, seen)
}

fn settings(endpoint: Url) -> StorageSettings {
    let client = HttpClient::new(&NetworkConnection::default()).unwrap();
    StorageSettings { endpoint: Some(endpoint), max_retries: 2, ..StorageSettings::new(client) }
}

#[tokio::test]
async fn a_sas_is_sent_as_query_to_the_container_of_the_blob_endpoint() {
    let (url, seen) = peer("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let store = open(&lake(), &StorageCredential::Sas("?sv=1&sig=a%2Bb".into()), &settings(url)).unwrap();
    let error = store.get(&Path::from("t/a b")).await.unwrap_err();
    assert!(matches!(error, object_store::Error::NotFound { .. }), "{error}");
    let request = seen.recv().unwrap();
    assert!(request.starts_with("GET /lake/t/a%20b?sv=1&sig=a%2Bb HTTP/1.1"), "{request}");
}

#[tokio::test]
async fn repetitions_are_bounded() {
    let (url, seen) = peer("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let store = open(&lake(), &StorageCredential::Sas("sig=canary".into()), &settings(url)).unwrap();
    let error = store.get(&Path::from("t/x")).await.unwrap_err();
    assert_eq!(seen.try_iter().count(), 3, "one try and two repetitions");
    assert!(!error.to_string().contains("canary"), "{error}");
}

fn principal(login: &Url) -> StorageCredential {
    let login = Some(login.as_str().to_owned());
    StorageCredential::ServicePrincipal(ServicePrincipal::new("ten".into(), "app".into(), "canary".into(), login))
}

#[tokio::test]
async fn all_tables_of_a_service_principal_share_its_token() {
    const TOKEN: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 62\r\nconnection: close\r\n\r\n\
                         {\"token_type\":\"Bearer\",\"expires_in\":3600,\"access_token\":\"tok\"}";
    let (login, asked) = peer(TOKEN).await;
    let (url, seen) = peer("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let (credential, settings) = (principal(&login), settings(url));
    let read = |table: &'static str| {
        let store = open(&lake(), &credential.clone(), &settings).unwrap();
        async move { store.get(&Path::from(table)).await.unwrap_err() }
    };
    futures::future::join_all(["t/1", "t/2", "t/3"].map(read)).await;
    drop(read("t/4").await);
    assert_eq!(asked.try_iter().count(), 1, "one token for four tables");
    let requests: Vec<String> = seen.try_iter().collect();
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().all(|request| request.contains("Bearer tok")), "{requests:?}");
}

#[tokio::test]
async fn a_service_principal_asks_its_authority_for_a_token() {
    let (url, seen) = peer("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await;
    let credential = principal(&url);
    let store = open(&lake(), &credential, &settings(url)).unwrap();
    let error = store.get(&Path::from("t/x")).await.unwrap_err();
    assert!(!error.to_string().contains("canary"), "{error}");
    let request = seen.recv().unwrap();
    assert!(request.starts_with("POST /ten/oauth2/v2.0/token HTTP/1.1"), "{request}");
}

#[test]
fn credentials_must_fit_the_location() {
    let settings = StorageSettings::new(HttpClient::new(&NetworkConnection::default()).unwrap());
    let local = StorageLocation::local(std::path::Path::new("/x")).unwrap();
    assert!(open(&local, &StorageCredential::None, &settings).is_ok());
    assert!(matches!(
        open(&local, &StorageCredential::Sas("sig=x".into()), &settings),
        Err(StorageError::CredentialMismatch { .. })
    ));
    let malformed = StorageCredential::Sas("https://acct.blob.core.windows.net/?sig=canary".into());
    let error = open(&lake(), &malformed, &settings).unwrap_err();
    assert!(matches!(error, StorageError::MalformedSas { .. }));
    assert!(!error.to_string().contains("canary"));
}

#[tokio::test]
async fn the_allowed_hosts_of_the_network_connection_hold_and_are_not_retried() {
    let (url, seen) = peer("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let allowed_hosts = vec!["elsewhere.example".parse::<HostPattern>().unwrap()];
    let client = HttpClient::new(&NetworkConnection { allowed_hosts, ..NetworkConnection::default() }).unwrap();
    let store = open(&lake(), &StorageCredential::Sas("sig=x".into()), &StorageSettings { client, ..settings(url) });
    let error = store.unwrap().get(&Path::from("t/x")).await.unwrap_err();
    assert!(error.to_string().contains("not among the allowed hosts"), "{error}");
    assert_eq!(seen.try_iter().count(), 0);
}
