use std::sync::Mutex as Plain;

use mms_http::{HttpClient, NetworkConnection, Url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::{LocalFiles, StorageCredential, StorageLocation, StorageSettings, open};

/// A blob storage that accepts one signature and reports every other one as expired. It records the signatures.
async fn storage(takes: &'static str) -> (Url, Arc<Plain<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let asked: Arc<Plain<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = vec![0; 8192];
            let n = socket.read(&mut head).await.unwrap();
            let text = String::from_utf8_lossy(&head[..n]).into_owned();
            let signature =
                text.split("sig=").nth(1).and_then(|rest| rest.split([' ', '&']).next()).unwrap_or_default();
            seen.lock().unwrap().push(signature.to_owned());
            let body = "<Error><Code>AuthenticationFailed</Code><Message>No.</Message><AuthenticationErrorDetail>Signature \
                        not valid in the specified time frame</AuthenticationErrorDetail></Error>";
            let head = "last-modified: Wed, 12 Nov 2025 10:00:00 GMT\r\netag: \"0x1\"\r\nconnection: close";
            let answer = match signature == takes {
                true => format!("HTTP/1.1 200 OK\r\n{head}\r\ncontent-length: 2\r\n\r\nhi"),
                false => format!("HTTP/1.1 403 No\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
            };
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, asked)
}

fn opened(url: &Url, signature: &str) -> Arc<dyn ObjectStore> {
    let location = StorageLocation::parse("abfss://lake@acct.dfs.core.windows.net/t", LocalFiles::Refused).unwrap();
    let client = HttpClient::new(&NetworkConnection::default()).unwrap();
    let settings = StorageSettings { endpoint: Some(url.clone()), max_retries: 0, ..StorageSettings::new(client) };
    open(&location, &StorageCredential::Sas(format!("sv=1&sig={signature}").into()), &settings).unwrap()
}

/// What the owner returns when it is asked regularly, and after a refusal; and the number of refusals.
struct Owner {
    now: Plain<Option<Arc<dyn ObjectStore>>>,
    refused: Plain<Option<Arc<dyn ObjectStore>>>,
    refusals: Arc<Plain<usize>>,
}

impl Reopen for Owner {
    fn reopened(&self, refused: bool) -> BoxFuture<'_, Option<Arc<dyn ObjectStore>>> {
        let found = if refused {
            *self.refusals.lock().unwrap() += 1;
            self.refused.lock().unwrap().take()
        } else {
            self.now.lock().unwrap().take()
        };
        Box::pin(std::future::ready(found))
    }
}

fn live(url: &Url, now: Option<&str>, refused: Option<&str>) -> (LiveStore, Arc<Plain<usize>>) {
    let refusals: Arc<Plain<usize>> = Arc::default();
    let owner = Owner {
        now: Plain::new(now.map(|signature| opened(url, signature))),
        refused: Plain::new(refused.map(|signature| opened(url, signature))),
        refusals: Arc::clone(&refusals),
    };
    (LiveStore::new(opened(url, "old"), owner), refusals)
}

async fn text(store: &LiveStore) -> Result<Bytes> {
    store.get(&Path::from("t/x")).await?.bytes().await
}

#[tokio::test]
async fn what_an_old_credential_is_refused_the_next_one_is_asked() {
    let (url, asked) = storage("new").await;
    let (store, refusals) = live(&url, None, Some("new"));
    let all = futures::future::join_all((0..4).map(|_| text(&store))).await;
    assert!(all.into_iter().all(|read| read.unwrap() == "hi"));
    assert_eq!(*refusals.lock().unwrap(), 1, "however many were refused");
    asked.lock().unwrap().clear();
    assert_eq!(text(&store).await.unwrap(), "hi");
    assert_eq!(*asked.lock().unwrap(), ["new"], "the old one is not tried again");
}

#[tokio::test]
async fn a_credential_that_was_rotated_is_used_before_it_is_refused() {
    let (url, asked) = storage("new").await;
    let (store, refusals) = live(&url, Some("new"), None);
    assert_eq!(text(&store).await.unwrap(), "hi");
    assert_eq!((*refusals.lock().unwrap(), asked.lock().unwrap().clone()), (0, vec!["new".to_owned()]));
}

#[tokio::test]
async fn without_another_credential_the_refusal_is_told_as_it_was() {
    let (url, asked) = storage("new").await;
    let (store, _) = live(&url, None, None);
    let error = text(&store).await.unwrap_err();
    assert!(refusal(&error).is_some_and(|refused| refused.why.is_of_time()), "{error}");
    assert_eq!(asked.lock().unwrap().len(), 1);
}
