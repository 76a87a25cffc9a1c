//! SQL against Spark's own Thrift server: an older protocol than Databricks', whose rows come as columns. Run the server in
//! HTTP mode, in a network namespace, because it listens on every address, and name it in `MMS_SPARK_THRIFT`, as
//! `http://127.0.0.1:PORT`:
//!
//! ```sh
//! $SPARK_HOME/bin/spark-submit --master 'local[2]' --class org.apache.spark.sql.hive.thriftserver.HiveThriftServer2 spark-internal \
//!   --hiveconf hive.server2.transport.mode=http --hiveconf hive.server2.thrift.http.port=PORT
//! ```

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use mms_databricks::DatabricksError;
use mms_databricks::sql::{HttpPath, Session};
use mms_http::{HttpClient, Method, NetworkConnection};

use crate::common::client;

/// A session through a proxy that replaces the token by what Spark accepts: it rejects every scheme but Basic.
#[allow(clippy::print_stderr, reason = "a skip is seen")]
async fn session() -> Option<Session> {
    let Ok(server) = std::env::var("MMS_SPARK_THRIFT") else {
        eprintln!("SKIPPED Spark's Thrift server: MMS_SPARK_THRIFT names none");
        return None;
    };
    let http = HttpClient::new(&NetworkConnection::default()).unwrap();
    let url: mms_http::Url = format!("{server}/cliservice").parse().unwrap();
    let forward = move |body: Bytes| {
        let request = http.request(Method::POST, url.clone()).header("content-type", "application/x-thrift");
        let request = request.header("authorization", "Basic YTpi").body(body);
        async move {
            let answer = request.send().await.unwrap();
            let status = answer.status();
            (status, answer.bytes(64 << 20).await.unwrap())
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/sql/protocolv1/o/0/spark", post(forward));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let workspace = client(&format!("http://{address}"), "token");
    let path = HttpPath::of_cluster(workspace.url(), "spark").unwrap();
    Some(Session::open(&workspace, &path).await.unwrap())
}

async fn all(session: &Session, sql: &str) -> Result<RecordBatch, DatabricksError> {
    let batches = session.all(sql, 100_000).await?;
    Ok(concat_batches(&batches[0].schema(), &batches).unwrap())
}

#[tokio::test]
async fn columns_of_every_plain_type_are_exact() {
    let Some(session) = session().await else { return };
    let types = [
        "boolean",
        "tinyint",
        "smallint",
        "int",
        "bigint",
        "float",
        "double",
        "decimal(38,18)",
        "string",
        "binary",
        "date",
        "timestamp",
    ];
    let values = [
        "true",
        "-128",
        "32767",
        "-2147483648",
        "9223372036854775807",
        "0.1",
        "1e-300",
        "'12345678901234567890.123456789012345678'",
        "'é'",
        "X'00FF'",
        "DATE'1582-10-15'",
        "TIMESTAMP'2024-03-31 02:30:00.123456'",
    ];
    let columns = |values: &[&str]| {
        let cast = |(at, (value, kind)): (usize, (&&str, &&str))| format!("CAST({value} AS {kind}) AS c{at}");
        values.iter().zip(&types).enumerate().map(cast).collect::<Vec<_>>().join(", ")
    };
    let sql = format!("SELECT {} UNION ALL SELECT {}", columns(&values), columns(&["NULL"; 12]));
    let found = all(&session, &sql).await.unwrap();
    assert!(found.columns().iter().all(|column| column.len() == 2 && column.null_count() == 1), "{found:?}");
    let row = usize::from(found.column(0).is_null(0));
    assert!(found.column(0).as_boolean().value(row));
    assert_eq!(found.column(1).as_primitive::<Int8Type>().value(row), -128);
    assert_eq!(found.column(2).as_primitive::<Int16Type>().value(row), i16::MAX);
    assert_eq!(found.column(3).as_primitive::<Int32Type>().value(row), i32::MIN);
    assert_eq!(found.column(4).as_primitive::<Int64Type>().value(row), i64::MAX);
    assert_eq!(found.column(5).as_primitive::<Float32Type>().value(row), 0.1);
    assert_eq!(found.column(6).as_primitive::<Float64Type>().value(row), 1e-300);
    assert_eq!(found.column(7).data_type(), &DataType::Decimal128(38, 18));
    let decimal = 12_345_678_901_234_567_890_123_456_789_012_345_678;
    assert_eq!(found.column(7).as_primitive::<Decimal128Type>().value(row), decimal);
    assert_eq!(found.column(8).as_string::<i32>().value(row), "é");
    assert_eq!(found.column(9).as_binary::<i32>().value(row), [0, 0xFF]);
    assert_eq!(found.column(10).as_primitive::<Date32Type>().value(row), -141_427);
    assert_eq!(found.column(11).as_primitive::<TimestampMicrosecondType>().value(row), 1_711_852_200_123_456);
    let nested = all(&session, "SELECT array(1, NULL)").await.unwrap_err();
    assert!(nested.to_string().contains("cannot be carried exactly"), "{nested}");
}

#[tokio::test]
async fn pages_follow_one_another_and_are_given_once() {
    let Some(session) = session().await else { return };
    let mut statement = session.query("SELECT id FROM range(0, 25000, 1, 1)").await.unwrap();
    let mut next = 0;
    while let Some(rows) = statement.next().await.unwrap() {
        let ids = rows.batch.column(0).as_primitive::<Int64Type>();
        assert_eq!(rows.first_row, next);
        assert_eq!(ids.value(0).cast_unsigned(), next);
        next += rows.batch.num_rows() as u64;
        assert_eq!(ids.value(ids.len() - 1).cast_unsigned(), next - 1);
    }
    assert_eq!(next, 25_000);
    assert!(matches!(statement.seek(0), Err(DatabricksError::Lost { .. })));
}

#[tokio::test]
async fn failures_have_their_state() {
    let Some(session) = session().await else { return };
    let error = all(&session, "SELECT * FROM nothing").await.unwrap_err();
    let DatabricksError::Statement { state, message } = &error else { panic!("{error}") };
    assert_eq!(state.as_deref(), Some("42P01"), "{message}");
    assert!(message.contains("TABLE_OR_VIEW_NOT_FOUND"), "{message}");
}
