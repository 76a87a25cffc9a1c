//! How an intent that an earlier attempt left open is resolved, against a sandbox project that speaks the real protocol.

use std::time::Duration;

use mms_http::{HttpClient, NetworkConnection};
use mms_maxcompute::account::Account;
use mms_maxcompute::name::{ColumnName, ProjectName, SchemaName, TableName};
use mms_maxcompute::project::{Project, ProjectConfig};
use mms_maxcompute::storage_api::{Attempt, WriteSession};
use mms_maxcompute::table::{Column, TableDefinition, TableKind, TableRef};
use mms_maxcompute::tunnel::{Codec, PartitionMode, UploadSession, WriteMode};
use mms_maxcompute::{Statement, ddl};
use mms_proto::types::v1::PartitionValue;
use mms_sandbox::project as sandbox;

use super::*;

struct Setting {
    _dir: tempfile::TempDir,
    far_end: sandbox::Project,
    target: Target,
}

/// A target whose table exists, partitioned by `pt`, with the partition of [`unit`].
async fn setting() -> Setting {
    mms_http::install_crypto_provider();
    let dir = tempfile::tempdir().expect("a folder");
    let config = sandbox::ProjectConfig::new(dir.path().join("project"), "demo", "id", "key");
    let far_end = sandbox::Project::start(config).await.expect("a project");
    let name = ProjectName::new("demo").expect("a name");
    let endpoint = far_end.endpoint().parse().expect("a URL");
    let config = ProjectConfig::new(endpoint, name.clone(), Account::new("id", "key".into()));
    let http = HttpClient::new(&NetworkConnection::default()).expect("a client");
    let column = |name: &str, data_type: &str| Column {
        name: ColumnName::new(name).expect("a name"),
        data_type: data_type.parse().expect("a type"),
        nullable: true,
        comment: None,
    };
    let definition = TableDefinition {
        target: TableRef {
            project: name,
            schema: Some(SchemaName::new("default").expect("a name")),
            table: TableName::new("t").expect("a name"),
        },
        kind: TableKind::Ordinary,
        columns: vec![column("id", "bigint")],
        partition_columns: vec![column("pt", "string")],
        primary_key: Vec::new(),
        comment: None,
        lifecycle_days: None,
        properties: std::collections::BTreeMap::new(),
    };
    let project = Project::new(http, config).expect("a client");
    let settings = std::collections::BTreeMap::new();
    let target = Target { definition, project, schemas: std::sync::Arc::default(), settings };
    make(&target).await;
    Setting { _dir: dir, far_end, target }
}

async fn make(target: &Target) {
    target.run(ddl::create_table(&target.definition)).await.expect("made");
    let partition = target.partition(&unit().partition).expect("a partition").into_iter().collect::<Vec<_>>();
    for sql in ddl::add_partitions(&target.definition.target, &partition) {
        target.run(sql).await.expect("made");
    }
}

fn unit() -> IntentUnit {
    let partition =
        vec![PartitionValue { column: "pt".to_owned(), value: "a".to_owned(), ..PartitionValue::default() }];
    IntentUnit { unit_index: 0, partition, rows: 0, bytes: 0 }
}

/// A session of the unit that is ready to commit, and its intent.
async fn session(target: &Target) -> (UploadSession, pb::CommitIntent) {
    let tunnel = target.project.tunnel().await.expect("a tunnel");
    let partition = target.partition(&unit().partition).expect("a partition");
    let (write, exists) = (WriteMode::Overwrite, PartitionMode::MustExist);
    let table = &target.definition.target;
    let session = tunnel.create_upload(table, partition.as_ref(), write, exists).await.expect("a session");
    session.write_no_rows().await.expect("written");
    let commit = Commit::Tunnel(pb::TunnelCommit { session_id: session.id().to_owned(), block_ids: vec![0] });
    let mut intent = intent(target, Uuid::new_v4(), vec![unit()], commit);
    intent.identity = target.project.table(table).await.expect("told").as_ref().map(identity::of);
    (session, intent)
}

async fn drop_now(target: &Target) {
    let instance = target.send_drop(Uuid::new_v4(), &[]).await.expect("sent");
    assert_eq!(target.ended(&instance).await.expect("told"), InstanceState::Succeeded);
}

#[tokio::test]
async fn a_session_that_still_can_is_committed() {
    let Setting { target, far_end: _far_end, _dir } = setting().await;
    let (session, intent) = session(&target).await;
    for _ in 0..2 {
        assert_eq!(ask(&target, Drops::Tables, &intent).await.expect("told"), CommitOutcome::Committed);
    }
    assert_eq!(session.status().await.expect("told"), SessionState::Closed);
}

#[tokio::test]
async fn a_session_whose_table_went_or_was_made_anew_never_publishes() {
    let Setting { target, far_end: _far_end, _dir } = setting().await;
    let (_, dropped) = session(&target).await;
    drop_now(&target).await;
    assert_eq!(ask(&target, Drops::Tables, &dropped).await.expect("told"), CommitOutcome::UnknownToServer);
    make(&target).await;
    assert_eq!(ask(&target, Drops::Tables, &dropped).await.expect("told"), CommitOutcome::UnknownToServer);
    let mut foreign = dropped.clone();
    foreign.commit = Some(Commit::Tunnel(pb::TunnelCommit { session_id: "nobody's".to_owned(), block_ids: vec![] }));
    assert_eq!(ask(&target, Drops::Tables, &foreign).await.expect("told"), CommitOutcome::UnknownToServer);
}

/// Whether a session can still publish after its table was dropped is known to the service only.
#[tokio::test]
async fn a_session_of_the_table_before_is_not_committed_where_it_could_be() {
    let Setting { target, far_end, _dir } = setting().await;
    far_end.let_sessions_outlive_tables(true);
    let (session, intent) = session(&target).await;
    drop_now(&target).await;
    make(&target).await;
    assert_eq!(session.status().await.expect("it lives on"), SessionState::Normal);
    let seen = identity::still(&target, intent.identity.as_ref().expect("seen")).await;
    assert!(matches!(seen, Err(TransferError::TargetGone { whole: true, found: Some(_), .. })), "{seen:?}");
    let outcome = ask(&target, Drops::Nothing, &intent).await.expect("told");
    assert_eq!(outcome, CommitOutcome::UnknownToServer);
    assert_eq!(session.status().await.expect("it lives on"), SessionState::Normal, "nobody committed it");
}

#[tokio::test]
async fn a_job_that_replaces_nothing_sends_no_drop() {
    let Setting { target, far_end: _far_end, _dir } = setting().await;
    let id = Uuid::new_v4();
    let commit = Commit::Replace(pb::TableReplacement { instance_key: id.to_string(), partitions: Vec::new() });
    let replace = intent(&target, id, Vec::new(), commit);
    for policy in [Drops::Nothing, Drops::Partitions] {
        let why = ask(&target, policy, &replace).await.expect_err("stays open").to_string();
        assert!(why.contains("CancelIntent"), "{why}");
    }
    assert!(target.project.table(&target.definition.target).await.expect("told").is_some());
}

#[tokio::test]
async fn partitions_beyond_the_plan_are_dropped_and_nothing_else() {
    let Setting { target, far_end: _far_end, _dir } = setting().await;
    let table = &target.definition.target;
    let other =
        target.partition(&[PartitionValue { column: "pt".to_owned(), value: "b".to_owned(), ..Default::default() }]);
    let other = other.expect("a partition").into_iter().collect::<Vec<_>>();
    for sql in ddl::add_partitions(table, &other) {
        target.run(sql).await.expect("made");
    }
    let partitions = other.iter().map(|spec| pb::DroppedPartition { values: values(spec) }).collect();
    let commit = Commit::Replace(pb::TableReplacement { instance_key: Uuid::new_v4().to_string(), partitions });
    let intent = intent(&target, Uuid::new_v4(), Vec::new(), commit);
    for _ in 0..2 {
        let outcome = ask(&target, Drops::Tables, &intent).await.expect("told");
        assert_eq!(outcome, CommitOutcome::Committed);
    }
    let left: Vec<String> =
        target.project.partitions(table).await.expect("told").iter().map(|part| part.spec.to_string()).collect();
    assert_eq!(left, ["pt=a"]);
}

#[tokio::test]
async fn a_replacement_is_settled_by_the_one_statement_that_it_names() {
    let Setting { target, far_end: _far_end, _dir } = setting().await;
    let id = Uuid::new_v4();
    let commit = Commit::Replace(pb::TableReplacement { instance_key: id.to_string(), partitions: Vec::new() });
    let replace = intent(&target, id, Vec::new(), commit);
    // Its maker died before it sent the drop: that happens now, and the intent is settled.
    assert_eq!(ask(&target, Drops::Tables, &replace).await.expect("told"), CommitOutcome::Committed);
    assert!(target.project.table(&target.definition.target).await.expect("told").is_none());
    make(&target).await;
    // The maker had sent it after all, or another successor asks too.
    assert_eq!(ask(&target, Drops::Tables, &replace).await.expect("told"), CommitOutcome::Committed);
    assert!(target.project.table(&target.definition.target).await.expect("told").is_some());
}

#[tokio::test]
async fn a_statement_that_failed_settles_its_replacement() {
    let Setting { target, far_end: _far_end, _dir } = setting().await;
    // The id was used by a statement that failed.
    let id = Uuid::new_v4();
    let statement = Statement::new("DROP TABLE `demo`.`default`.`none`;", id, true);
    let failed = target.project.run(&statement, Duration::from_secs(20)).await;
    assert!(failed.expect_err("there is none").is_not_found());
    let instance = target.send_drop(id, &[]).await.expect("found");
    let (outcome, error) = dropped(&target, &instance).await.expect("told");
    assert_eq!(outcome, CommitOutcome::Expired);
    assert!(error.expect("why").is_not_found());
    assert!(target.project.table(&target.definition.target).await.expect("told").is_some());
}

/// A session of the Storage API with one row, ready to commit, and its intent.
async fn storage(target: &Target) -> (WriteSession, pb::CommitIntent) {
    let api = target.project.storage_api().await.expect("an api");
    let (table, partition) = (&target.definition.target, target.partition(&unit().partition).expect("a partition"));
    let session = api.create_write(table, partition.as_ref()).await.expect("a session");
    let attempt = Attempt { block_id: 0, number: 0 };
    let mut block = session.open_block(attempt, Codec::None).await.expect("a block");
    let ids: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::Int64Array::from(vec![7]));
    block.write(&arrow::array::RecordBatch::try_from_iter([("id", ids)]).expect("a batch")).await.expect("written");
    let message = block.finish().await.expect("arrived").commit_message;
    let held = Session::Storage(session.clone(), message.into_iter().collect());
    let mut intent = intent(target, Uuid::new_v4(), vec![unit()], held.intent(&[]));
    intent.identity = target.project.table(table).await.expect("told").as_ref().map(identity::of);
    (session, intent)
}

#[tokio::test]
async fn a_storage_session_that_a_predecessor_left_is_committed_or_known_as_lost() {
    let Setting { target, far_end: _far_end, _dir } = setting().await;
    let (left, intent) = storage(&target).await;
    let policy = Drops::Nothing;
    for _ in 0..2 {
        assert_eq!(ask(&target, policy, &intent).await.expect("told"), CommitOutcome::Committed);
    }
    assert_eq!(left.status().await.expect("told"), SessionState::Closed);
    let (_, dropped) = storage(&target).await;
    drop_now(&target).await;
    assert_eq!(ask(&target, policy, &dropped).await.expect("told"), CommitOutcome::UnknownToServer);
    make(&target).await;
    assert_eq!(ask(&target, policy, &dropped).await.expect("told"), CommitOutcome::UnknownToServer);
    let count = target.run(ddl::count(&target.definition.target, &[], &[])).await.expect("counted");
    assert_eq!(count.single_number().expect("a number"), 0, "nothing of the table before is in the new one");
}

#[tokio::test]
async fn an_intent_of_another_kind_is_left_to_whoever_makes_them() {
    let Setting { target, far_end: _far_end, _dir } = setting().await;
    let commit = Commit::Sql(pb::SqlCommit { instance_key: Uuid::new_v4().to_string(), staging: None });
    let sql = intent(&target, Uuid::new_v4(), vec![unit()], commit);
    let refused = ask(&target, Drops::Tables, &sql).await.expect_err("not known here").to_string();
    assert!(refused.contains(&sql.intent_id) && refused.contains("stays open"), "{refused}");
}
