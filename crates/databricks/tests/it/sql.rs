//! Rows by SQL are the same in every form that the server may send, from any row on; a result that is not complete is an
//! error.

use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use mms_databricks::sql::{ClusterStart, HttpPath, Session, Statement, ready_cluster, text};
use mms_databricks::{DatabricksError, RefusalKind};
use mms_sandbox::samples::{self, SampleTable};
use mms_sandbox::workspace::sql::SqlSettings;
use mms_sandbox::workspace::{CLUSTER_ID, Workspace as Sandbox, WorkspaceConfig};
use tempfile::TempDir;

use crate::common::{TOKEN, client};

struct Samples {
    sandbox: Sandbox,
    tables: Vec<SampleTable>,
    _root: TempDir,
}

impl Samples {
    async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let tables = samples::types(root.path(), 1_700_000_000_000).unwrap();
        let sandbox = Sandbox::start(WorkspaceConfig {
            page_size: 10,
            ..WorkspaceConfig::new(root.path().join("delta-root"), "main", TOKEN)
        })
        .await
        .unwrap();
        Self { sandbox, tables, _root: root }
    }

    async fn session(&self) -> Session {
        let path = HttpPath::parse(&self.sandbox.http_path()).unwrap();
        Session::open(&client(&self.sandbox.url(), TOKEN), &path).await.unwrap()
    }

    fn name(&self, table: &str) -> String {
        text::table("main", "samples", table)
    }
}

async fn rows(statement: &mut Statement) -> Result<RecordBatch, DatabricksError> {
    let mut batches = Vec::new();
    let mut next = None;
    while let Some(rows) = statement.next().await? {
        assert!(next.is_none_or(|next| next == rows.first_row), "rows follow one another");
        next = Some(rows.first_row + rows.batch.num_rows() as u64);
        batches.push(rows.batch);
    }
    Ok(concat_batches(&batches[0].schema(), &batches).unwrap())
}

async fn all(session: &Session, sql: &str) -> Result<RecordBatch, DatabricksError> {
    rows(&mut session.query(sql).await?).await
}

/// Settings by which all rows come in files behind links.
fn links(batch_rows: usize) -> SqlSettings {
    SqlSettings { links_from: 0, batch_rows, ..SqlSettings::default() }
}

#[tokio::test]
async fn rows_are_the_same_in_every_form() {
    let samples = Samples::start().await;
    let session = samples.session().await;
    for table in samples.tables.iter().filter(|table| table.rows > 0) {
        let name = samples.name(&table.name);
        // Splits the rows into a few batches, or files.
        let batch_rows = usize::try_from(table.rows / 3).unwrap() + 1;
        let forms = [
            SqlSettings { links_from: usize::MAX, batch_rows, ..SqlSettings::default() },
            SqlSettings { links_from: usize::MAX, direct_wait: Duration::ZERO, ..SqlSettings::default() },
            links(batch_rows),
            SqlSettings { direct_wait: Duration::ZERO, ..links(batch_rows) },
        ];
        let mut first: Option<RecordBatch> = None;
        for form in forms {
            samples.sandbox.set_sql(form);
            let found = all(&session, &format!("SELECT * FROM {name}")).await.unwrap();
            assert_eq!(found.num_rows() as u64, table.rows, "{name} {form:?}");
            assert_eq!(*first.get_or_insert_with(|| found.clone()), found, "{name} {form:?}");
        }
        let count = all(&session, &format!("SELECT COUNT(*) FROM {name}")).await.unwrap();
        assert_eq!(count.column(0).as_primitive::<Int64Type>().value(0).cast_unsigned(), table.rows, "{name}");
    }
}

#[tokio::test]
async fn a_row_is_met_again_in_the_same_statement() {
    let samples = Samples::start().await;
    let session = samples.session().await;
    let sql = format!("SELECT id FROM {}", samples.name("partitioned"));
    for form in [SqlSettings { links_from: usize::MAX, batch_rows: 2, ..SqlSettings::default() }, links(2)] {
        samples.sandbox.set_sql(form);
        let mut statement = session.query(&sql).await.unwrap();
        let whole = rows(&mut statement).await.unwrap();
        assert!(whole.num_rows() > 3);
        for row in [3, 0, whole.num_rows() - 1] {
            statement.seek(row as u64).unwrap();
            let again = rows(&mut statement).await.unwrap();
            assert_eq!(again, whole.slice(row, whole.num_rows() - row), "from {row} {form:?}");
        }
    }
}

#[tokio::test]
async fn links_that_have_ended_are_asked_for_again() {
    let samples = Samples::start().await;
    let session = samples.session().await;
    let sql = format!("SELECT * FROM {}", samples.name("every_type"));
    samples.sandbox.set_sql(SqlSettings { ended_links: 2, ..links(100) });
    assert!(all(&session, &sql).await.unwrap().num_rows() > 0);
    samples.sandbox.set_sql(SqlSettings { ended_links: 1000, ..links(100) });
    let error = all(&session, &sql).await.unwrap_err();
    assert!(matches!(error, DatabricksError::Lost { .. }), "{error}");
}

#[tokio::test]
async fn rows_that_are_missing_are_an_error() {
    let samples = Samples::start().await;
    let session = samples.session().await;
    for form in [SqlSettings { links_from: usize::MAX, ..SqlSettings::default() }, links(100)] {
        samples.sandbox.set_sql(SqlSettings { rows_lost: 1, ..form });
        let error = all(&session, &format!("SELECT * FROM {}", samples.name("every_type"))).await.unwrap_err();
        assert!(error.to_string().contains("rows, the server said"), "{error}");
    }
}

#[tokio::test]
async fn rows_of_a_partition_and_of_a_version() {
    let samples = Samples::start().await;
    let session = samples.session().await;
    let name = samples.name("partitioned");
    let grouped = all(&session, &format!("SELECT region, COUNT(*) AS n FROM {name} GROUP BY region")).await.unwrap();
    let (regions, counts) = (grouped.column(0).as_string::<i32>(), grouped.column(1).as_primitive::<Int64Type>());
    assert!(regions.len() > 1);
    for row in 0..regions.len() {
        let condition = match regions.is_null(row) {
            true => "region IS NULL".to_owned(),
            false => format!("region = {}", text::literal(regions.value(row))),
        };
        let found = all(&session, &format!("SELECT id FROM {name} WHERE {condition}")).await.unwrap();
        assert_eq!(found.num_rows() as i64, counts.value(row), "{condition}");
    }
    let history = session.all(&format!("DESCRIBE HISTORY {name}"), 100).await.unwrap();
    assert_eq!(
        history[0].column_by_name("version").unwrap().as_primitive::<Int64Type>().value(history[0].num_rows() - 1),
        0
    );
    // The table was created before it got its rows.
    let first = all(&session, &format!("SELECT COUNT(*) FROM {name} VERSION AS OF 0")).await.unwrap();
    assert_eq!(first.column(0).as_primitive::<Int64Type>().value(0), 0);
    let error = all(&session, &format!("SELECT * FROM {name} VERSION AS OF 99")).await.unwrap_err();
    assert!(matches!(error, DatabricksError::Statement { .. }), "{error}");
}

#[tokio::test]
async fn what_goes_wrong_is_told_as_what_it_is() {
    let samples = Samples::start().await;
    let session = samples.session().await;
    let error = all(&session, "SELECT * FROM main.samples.nothing").await.unwrap_err();
    let DatabricksError::Statement { state, message } = &error else { panic!("{error}") };
    assert_eq!(state.as_deref(), Some("42P01"));
    assert!(message.contains("TABLE_OR_VIEW_NOT_FOUND"), "{message}");
    let path = HttpPath::parse(&samples.sandbox.http_path()).unwrap();
    let error = Session::open(&client(&samples.sandbox.url(), "dapi-wrong"), &path).await.unwrap_err();
    assert_eq!(error.refusal(), Some(RefusalKind::Unauthenticated), "{error}");
    let workspace = client(&samples.sandbox.url(), TOKEN);
    let other = HttpPath::of_cluster(workspace.url(), "other").unwrap();
    let error = Session::open(&workspace, &other).await.unwrap_err();
    assert!(error.to_string().contains("other"), "{error}");
    let mut states = Vec::new();
    ready_cluster(&workspace, CLUSTER_ID, ClusterStart::Never, |cluster| states.push(cluster.state.clone()))
        .await
        .unwrap();
    assert_eq!(states, [mms_databricks::ClusterState::Running]);
    assert!(ready_cluster(&workspace, "other", ClusterStart::WhenNeeded, |_| ()).await.is_err());
}

#[tokio::test]
async fn what_is_dropped_is_closed_at_the_server() {
    let samples = Samples::start().await;
    samples.sandbox.set_sql(links(1000));
    let session = samples.session().await;
    let mut statement = session.query(&format!("SELECT * FROM {}", samples.name("every_type"))).await.unwrap();
    assert!(statement.next().await.unwrap().is_some());
    assert_eq!(samples.sandbox.sql_open(), (1, 1));
    drop((statement, session));
    let closed = async {
        while samples.sandbox.sql_open() != (0, 0) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), closed).await.expect("it is closed");
}
