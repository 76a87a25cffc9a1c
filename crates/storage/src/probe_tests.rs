use mms_http::{HttpClient, NetworkConnection, Url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::{LocalFiles, ServicePrincipal, StorageCredential, StorageLocation, StorageSettings, open};

const LISTED: &str = r#"<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs><Blob>
<Name>t/_delta_log/0.json</Name><Properties><Last-Modified>Wed, 12 Nov 2025 10:00:00 GMT</Last-Modified>
<Content-Length>5</Content-Length><Content-Type>application/json</Content-Type><Etag>"0x1"</Etag></Properties></Blob></Blobs><NextMarker/></EnumerationResults>"#;
const NOTHING: &str =
    r#"<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs></Blobs><NextMarker/></EnumerationResults>"#;

fn refusal(status: &str, code: &str, detail: &str) -> (String, String) {
    let body = format!(
        r#"<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>No.</Message><AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail></Error>"#
    );
    (status.to_owned(), body)
}

/// Probes a blob storage that gives one answer to lists and one to reads.
async fn probed(list: (String, String), read: (String, String)) -> Result<String, ProbeError> {
    let login = ("500 Nobody asks".to_owned(), String::new());
    probed_by(|_| StorageCredential::Sas("sv=1&sig=canary".into()), [list, read, login]).await
}

/// The same, with a login endpoint at the same address for credentials that need one.
async fn probed_by(
    credential: impl FnOnce(&Url) -> StorageCredential,
    answers: [(String, String); 3],
) -> Result<String, ProbeError> {
    let [list, read, login] = answers;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = vec![0; 8192];
            let n = socket.read(&mut head).await.unwrap();
            let asked = String::from_utf8_lossy(&head[..n]).into_owned();
            let (status, body) = match () {
                () if asked.starts_with("POST") => &login,
                () if asked.contains("comp=list") => &list,
                () => &read,
            };
            let headers = "last-modified: Wed, 12 Nov 2025 10:00:00 GMT\r\netag: \"0x1\"\r\nconnection: close";
            let range = if status.starts_with("206") { "content-range: bytes 0-0/5\r\n" } else { "" };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\n{headers}\r\n{range}content-length: {length}\r\n\r\n{body}");
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let location = StorageLocation::parse("abfss://lake@acct.dfs.core.windows.net/t", LocalFiles::Refused).unwrap();
    let client = HttpClient::new(&NetworkConnection::default()).unwrap();
    let credential = credential(&endpoint);
    let settings = StorageSettings { endpoint: Some(endpoint), max_retries: 0, ..StorageSettings::new(client) };
    let store = open(&location, &credential, &settings).unwrap();
    probe(store.as_ref(), &Path::from("t/_delta_log")).await
}

#[tokio::test]
async fn each_way_to_be_unreadable_is_told_apart() {
    let listed = || ("200 OK".to_owned(), LISTED.to_owned());
    let byte = || ("206 Partial Content".to_owned(), "{".to_owned());
    assert_eq!(probed(listed(), byte()).await.unwrap(), "t/_delta_log/0.json");
    let expired = "Signature not valid in the specified time frame: Start [] - Expiry [Tue, 01 Jan 2019] - Current []";
    for (list, read, why) in [
        (refusal("403 Forbidden", "AuthenticationFailed", expired), byte(), Unreadable::Expired),
        (
            refusal("403 Forbidden", "AuthenticationFailed", "Signature did not match."),
            byte(),
            Unreadable::Unauthenticated,
        ),
        (refusal("403 Forbidden", "AuthorizationPermissionMismatch", ""), byte(), Unreadable::ListDenied),
        (listed(), refusal("403 Forbidden", "AuthorizationPermissionMismatch", ""), Unreadable::ReadDenied),
        (refusal("404 Not Found", "ContainerNotFound", ""), byte(), Unreadable::Missing),
        (("200 OK".to_owned(), NOTHING.to_owned()), byte(), Unreadable::Missing),
        (refusal("500 Internal Server Error", "InternalError", ""), byte(), Unreadable::Unreachable),
    ] {
        let error = probed(list, read).await.unwrap_err();
        assert_eq!(error.why, why, "{error}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}

fn principal(login: &Url) -> StorageCredential {
    let principal =
        ServicePrincipal::new("tenant".into(), "app".into(), "canary".into(), Some(login.as_str().to_owned()));
    StorageCredential::ServicePrincipal(principal)
}

#[tokio::test]
async fn a_refused_login_is_told_from_storage_that_does_not_answer() {
    for (code, why) in
        [("AADSTS7000222: expired", Unreadable::Expired), ("AADSTS7000215: bad", Unreadable::Unauthenticated)]
    {
        let body = format!(r#"{{"error":"invalid_client","error_description":"{code}"}}"#);
        let refused = ("401 Unauthorized".to_owned(), body);
        let error = probed_by(principal, [refused.clone(), refused.clone(), refused]).await.unwrap_err();
        assert_eq!(error.why, why, "{error}");
        assert!(error.words.contains(code) && !error.to_string().contains("canary"), "{error}");
    }
}

#[tokio::test]
async fn a_login_endpoint_that_is_away_is_told_from_storage_that_is() {
    let away = || ("500 Internal Server Error".to_owned(), String::new());
    let error = probed_by(principal, [away(), away(), away()]).await.unwrap_err();
    assert_eq!(error.why, Unreadable::LoginAway, "{error}");
    let error = probed(away(), away()).await.unwrap_err();
    assert_eq!(error.why, Unreadable::Unreachable, "{error}");
}

#[tokio::test]
async fn a_first_file_without_bytes_can_be_read() {
    let empty = LISTED.replace("<Content-Length>5<", "<Content-Length>0<");
    let whole = || ("200 OK".to_owned(), String::new());
    let listed = || ("200 OK".to_owned(), empty.clone());
    assert_eq!(probed(listed(), whole()).await.unwrap(), "t/_delta_log/0.json");
    let denied = refusal("403 Forbidden", "AuthorizationPermissionMismatch", "");
    assert_eq!(probed(listed(), denied).await.unwrap_err().why, Unreadable::ReadDenied);
}
