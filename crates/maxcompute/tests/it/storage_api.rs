//! Tests the Storage API against the sandbox project: timestamps of all years arrive, attempts that the commit does not name are
//! not published, and the server's state decides.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use mms_maxcompute::name::{ColumnName, ProjectName, SchemaName, TableName};
use mms_maxcompute::session::SessionState;
use mms_maxcompute::storage_api::{Attempt, WriteSession};
use mms_maxcompute::table::{PartitionSpec, TableRef};
use mms_maxcompute::tunnel::{BlockAdvice, Codec};
use mms_maxcompute::{MaxComputeError, RefusalKind, Statement};
use uuid::Uuid;

use crate::support::{self, Setting};

const LIMIT: Duration = Duration::from_secs(20);
/// 9999-12-31 23:59:59.999999, 0001-01-01 and 0000-01-01, in microseconds since 1970.
const FAR: [i64; 3] = [253_402_300_799_999_999, -62_135_596_800_000_000, -62_167_219_200_000_000];

async fn setting() -> Setting {
    let setting = support::setting().await;
    setting
        .sql("CREATE TABLE t (id BIGINT, at TIMESTAMP, wall TIMESTAMP_NTZ, text STRING) PARTITIONED BY (pt STRING);")
        .await;
    setting.sql("ALTER TABLE t ADD PARTITION (pt='a');").await;
    setting
}

impl Setting {
    async fn sql(&self, text: &str) {
        self.project.run(&Statement::new(text, Uuid::new_v4(), true), LIMIT).await.unwrap();
    }

    async fn session(&self) -> WriteSession {
        let api = self.project.storage_api().await.unwrap();
        api.create_write(&table(), Some(&partition("a"))).await.unwrap()
    }

    async fn rows(&self) -> u64 {
        let tunnel = self.project.tunnel().await.unwrap();
        tunnel.create_download(&table(), Some(&partition("a"))).await.unwrap().record_count
    }
}

fn table() -> TableRef {
    TableRef {
        project: ProjectName::new("demo").unwrap(),
        schema: Some(SchemaName::new("default").unwrap()),
        table: TableName::new("t").unwrap(),
    }
}

fn partition(value: &str) -> PartitionSpec {
    PartitionSpec(vec![(ColumnName::new("pt").unwrap(), value.to_owned())])
}

fn batch(times: &[i64]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..times.len() as i64));
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()));
    let texts: ArrayRef = Arc::new(StringArray::from_iter(
        ids.as_any().downcast_ref::<Int64Array>().unwrap().iter().map(|id| id.map(|id| "y".repeat(id as usize))),
    ));
    let columns = [("id", ids), ("at", times.clone()), ("wall", times), ("text", texts)];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
}

async fn write(session: &WriteSession, block_id: u32, number: u32, codec: Codec, times: &[i64]) -> String {
    let mut block = session.open_block(Attempt { block_id, number }, codec).await.unwrap();
    block.write(&batch(times)).await.unwrap();
    let receipt = block.finish().await.unwrap();
    assert_eq!((receipt.block.rows, receipt.block.block_id), (times.len() as u64, block_id));
    assert!(receipt.block.wire_bytes > 0 && receipt.block.arrow_bytes > 0);
    receipt.commit_message.unwrap()
}

#[tokio::test]
async fn timestamps_of_all_years_arrive_and_only_what_is_committed_counts() {
    let setting = setting().await;
    let session = setting.session().await;
    assert_eq!(session.status().await.unwrap(), SessionState::Normal);
    write(&session, 0, 0, Codec::None, &[1, 2, 3, 4, 5]).await;
    let mut messages = Vec::new();
    for (block, codec) in [Codec::None, Codec::Zstd, Codec::Lz4, Codec::Deflate].into_iter().enumerate() {
        messages.push(write(&session, block as u32, 1, codec, &FAR).await);
    }
    assert_eq!(setting.rows().await, 0, "nothing is seen before the commit");
    // A successor, which knows only the id and the messages.
    let again = setting.project.storage_api().await.unwrap().write_session(&table(), session.id());
    for _ in 0..2 {
        again.commit(&messages, LIMIT).await.unwrap();
        assert_eq!(again.status().await.unwrap(), SessionState::Closed);
        assert_eq!(setting.rows().await, 12);
    }
    // The tunnel cannot read these timestamps; its refusal quotes the stored value to the last digit.
    let tunnel = setting.project.tunnel().await.unwrap();
    let read = tunnel.create_download(&table(), Some(&partition("a"))).await.unwrap().read_all().await;
    let error = read.unwrap_err().to_string();
    assert!(error.contains("253402300799 s and 999999000 ns"), "{error}");
}

#[tokio::test]
async fn the_last_commit_replaces_what_was_there() {
    let setting = setting().await;
    for rows in [5, 2] {
        let session = setting.session().await;
        let message = write(&session, 0, 0, Codec::Lz4, &FAR.repeat(rows)).await;
        session.commit(&[message], LIMIT).await.unwrap();
        assert_eq!(setting.rows().await, 3 * rows as u64);
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_kind() {
    let setting = setting().await;
    let api = setting.project.storage_api().await.unwrap();
    let error = api.create_write(&table(), Some(&partition("nowhere"))).await.unwrap_err();
    assert!(error.target_is_gone(), "{error}");
    assert_eq!(api.create_write(&table(), None).await.unwrap_err().refusal(), Some(RefusalKind::Invalid));
    assert_eq!(api.write_session(&table(), "nobody's").status().await.unwrap(), SessionState::Missing);

    let session = setting.session().await;
    assert!(matches!(session.commit(&[], LIMIT).await, Err(MaxComputeError::EmptyCommit { .. })));
    let refused = session.commit(&["nonsense".to_owned()], LIMIT).await.unwrap_err();
    assert_eq!(refused.refusal(), Some(RefusalKind::Invalid));
    let error = session.open_block(Attempt { block_id: 20_000, number: 0 }, Codec::None).await.err().unwrap();
    assert!(matches!(error.error, MaxComputeError::BlockId { block_id: 20_000, most: 19_999 }));
    // A block without rows is not sent, and has no message to commit.
    let empty =
        session.open_block(Attempt { block_id: 0, number: 0 }, Codec::None).await.unwrap().finish().await.unwrap();
    assert_eq!((empty.commit_message, empty.block.wire_bytes), (None, 0));

    let message = write(&session, 0, 0, Codec::None, &FAR).await;
    setting.sql("ALTER TABLE t DROP PARTITION (pt='a');").await;
    let error = session.commit(&[message], LIMIT).await.unwrap_err();
    assert!(error.target_is_gone(), "{error}");
    let mut block = session.open_block(Attempt { block_id: 1, number: 0 }, Codec::None).await.unwrap();
    let wrong = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    assert_eq!(block.write(&wrong).await.unwrap_err().advice, BlockAdvice::GiveUp);
}
