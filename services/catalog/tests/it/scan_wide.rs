//! Many schemas and tables are read with as many concurrent calls as configured, and none is lost. A workspace that rejects the
//! token fails the scan instead of every table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::{Stand, append, create_table};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mms_http::{HttpClient, Method, NetworkConnection, Url};
use mms_proto::catalog::v1 as pb;
use mms_proto::registry::v1::MigrationSettings;
use pb::ScanState;
use tokio::sync::watch;

const CALLS: usize = 8;

/// A proxy between the catalog and the workspace, which holds calls back.
struct Gate {
    workspace: String,
    http: HttpClient,
    /// Descriptions of tables requested at this moment, and the maximum so far.
    reading: AtomicUsize,
    widest: watch::Sender<usize>,
    /// All calls at this moment, and the maximum so far.
    calls: AtomicUsize,
    most: AtomicUsize,
    /// Whether descriptions are rejected as if the token had been revoked.
    refuses: AtomicBool,
}

impl Gate {
    async fn wide(&self, enough: usize) {
        let mut widest = self.widest.subscribe();
        widest.wait_for(|widest| *widest >= enough).await.unwrap();
    }
}

/// Table lists of all schemas but the first wait until a table is being read, and descriptions wait until the maximum of them is
/// being read: a scan that holds calls for lists without polling them never gets there.
async fn pass(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    let list = path.ends_with("/tables");
    let describe = path.contains("/tables/");
    if list || describe {
        let calls = gate.calls.fetch_add(1, Ordering::SeqCst) + 1;
        gate.most.fetch_max(calls, Ordering::SeqCst);
    }
    if describe {
        let reading = gate.reading.fetch_add(1, Ordering::SeqCst) + 1;
        gate.widest.send_if_modified(|widest| {
            let wider = reading > *widest;
            *widest = reading.max(*widest);
            wider
        });
        gate.wide(CALLS).await;
    } else if list && !query.contains("schema_name=s00") {
        gate.wide(1).await;
    }
    let answer = if describe && gate.refuses.load(Ordering::SeqCst) {
        (StatusCode::FORBIDDEN, r#"{"error_code":"403","message":"Invalid access token."}"#).into_response()
    } else {
        let url = Url::parse(&format!("{}{path}?{query}", gate.workspace.trim_end_matches('/'))).unwrap();
        let token = request.headers().get("authorization").unwrap().to_str().unwrap();
        let answer = gate.http.request(Method::GET, url).header("authorization", token).send().await.unwrap();
        let status = StatusCode::from_u16(answer.status().as_u16()).unwrap();
        let kind = answer.header("content-type").unwrap_or("application/json").to_owned();
        (status, [("content-type", kind)], answer.bytes(1 << 24).await.unwrap().to_vec()).into_response()
    };
    if describe {
        gate.reading.fetch_sub(1, Ordering::SeqCst);
    }
    if list || describe {
        gate.calls.fetch_sub(1, Ordering::SeqCst);
    }
    answer
}

/// A started data source whose workspace is reached through the gate.
async fn gated(stand: &Stand) -> Arc<Gate> {
    let gate = Arc::new(Gate {
        workspace: stand.workspace_url(),
        http: HttpClient::new(&NetworkConnection::default()).unwrap(),
        reading: AtomicUsize::new(0),
        widest: watch::channel(0).0,
        calls: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        refuses: AtomicBool::new(false),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().fallback(pass).with_state(Arc::clone(&gate));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let settings = MigrationSettings { metadata_concurrency: CALLS as i32, ..MigrationSettings::default() };
    stand.create_source_at(&url, settings).await;
    stand.start_source().await;
    gate
}

fn fill(stand: &Stand, schemas: usize, tables: usize) {
    for schema in 0..schemas {
        for table in 0..tables {
            let schema = format!("s{schema:02}");
            append(&mut create_table(&stand.delta_root(), &schema, &format!("t{table}"), false), &[None]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_catalog_is_read_many_tables_at_a_time_and_whole() {
    let stand = Stand::start().await;
    fill(&stand, 14, 5);
    let gate = gated(&stand).await;
    let scan = stand.scan(pb::Scan::default()).await;
    assert_eq!(scan.state(), ScanState::Done, "{scan:?}");
    let progress = scan.progress.unwrap();
    assert_eq!((progress.schemas_found, progress.tables_found, progress.tables_read), (14, 70, 70));
    assert_eq!((progress.tables_failed, progress.vanished, progress.listing_done), (0, 0, true));
    assert_eq!(stand.table_names().await.len(), 70);
    assert_eq!(*gate.widest.borrow(), CALLS, "so many tables were described at once");
    assert_eq!(gate.most.load(Ordering::SeqCst), CALLS, "and never more calls were open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_taken_no_more_ends_the_scan() {
    let stand = Stand::start().await;
    fill(&stand, 3, 4);
    let gate = gated(&stand).await;
    gate.refuses.store(true, Ordering::SeqCst);
    let scan = stand.scan(pb::Scan::default()).await;
    assert_eq!(scan.state(), ScanState::Failed, "{scan:?}");
    assert!(scan.error.contains("Invalid access token"), "{}", scan.error);
    assert_eq!(scan.progress.unwrap().tables_failed, 0, "nothing is wrong with the tables");
    gate.refuses.store(false, Ordering::SeqCst);
    assert_eq!(stand.scan(pb::Scan::default()).await.state(), ScanState::Done);
}
