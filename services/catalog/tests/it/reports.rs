//! A task's report changes its partitions, table, schema and the summary in one commit, and is applied once; states can also be
//! set by hand.

use crate::support::{SOURCE, Stand, append, create_table};
use mms_proto::catalog::v1 as pb;
use mms_proto::types::v1::{DeltaVersion, MigrationState, SourceVersion, source_version::Version};
use mms_proto::{ApiError, ErrorReason};

/// A report about a table at a version.
fn report(
    sequence: i64,
    table: &pb::Table,
    partitions: &[&str],
    state: MigrationState,
    version: i64,
) -> pb::MigrationReport {
    let Some(Version::Delta(seen)) = table.version.clone().and_then(|version| version.version) else {
        panic!("no version: {table:?}");
    };
    pb::MigrationReport {
        task: format!("{SOURCE}/jobs/j1/tasks/t000000"),
        sequence,
        table: table.name.clone(),
        partitions: partitions.iter().map(|text| (*text).to_owned()).collect(),
        state: state as i32,
        version: Some(SourceVersion { version: Some(Version::Delta(DeltaVersion { version, ..seen })) }),
        target: None,
        ..pb::MigrationReport::default()
    }
}

async fn tell(stand: &Stand, reports: Vec<pb::MigrationReport>) {
    stand.planning().report_migration(pb::ReportMigrationRequest { reports }).await.unwrap();
}

fn number(version: Option<SourceVersion>) -> Option<i64> {
    match version?.version? {
        Version::Delta(delta) => Some(delta.version),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_applied_once_in_order_and_survive_a_restart() {
    let mut stand = Stand::with_source().await;
    let mut table = create_table(&stand.delta_root(), "s", "parts", true);
    let first = append(&mut table, &[Some("a"), Some("b")]) as i64;
    stand.scan(pb::Scan::default()).await;
    let parts = stand.table("s", "parts").await;

    tell(&stand, vec![report(10, &parts, &["p=a"], MigrationState::Doing, first)]).await;
    assert_eq!(stand.table("s", "parts").await.state(), MigrationState::Doing);
    tell(&stand, vec![report(11, &parts, &["p=a"], MigrationState::Done, first)]).await;
    // An older report and a repeated one change nothing.
    tell(
        &stand,
        vec![
            report(9, &parts, &["p=b"], MigrationState::Failed, first),
            report(11, &parts, &["p=a"], MigrationState::Failed, first),
        ],
    )
    .await;
    let seen = stand.table("s", "parts").await;
    assert_eq!((seen.state(), number(seen.migrated_version)), (MigrationState::PartDone, Some(first)));

    stand.restart_catalog().await;
    tell(&stand, vec![report(12, &parts, &["p=b", "p=new"], MigrationState::Done, first)]).await;
    let seen = stand.table("s", "parts").await;
    let counts = seen.partitions.unwrap();
    assert_eq!((seen.state(), counts.total, counts.done, seen.changed), (MigrationState::Done, 3, 3, false));
    let schema = pb::GetSchemaRequest { name: format!("{SOURCE}/schemas/s") };
    let schema = stand.browse().get_schema(schema).await.unwrap().into_inner().schema.unwrap();
    assert_eq!((schema.state(), schema.tables.unwrap().done), (MigrationState::Done, 1));

    // A change at the source shows on the table and on exactly the partitions it concerns.
    let second = append(&mut table, &[Some("b")]) as i64;
    stand.scan(pb::Scan::default()).await;
    let seen = stand.table("s", "parts").await;
    assert!(seen.changed && number(seen.version.clone()) == Some(second), "{seen:?}");
    let list = pb::ListPartitionsRequest { parent: seen.name, ..Default::default() };
    let partitions = stand.browse().list_partitions(list).await.unwrap().into_inner().partitions;
    let changed: Vec<_> = partitions.iter().map(|p| (p.values[0].value.as_str(), p.changed)).collect();
    assert_eq!(changed, [("a", false), ("b", true)], "p=new was never in the log and is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn states_by_hand_are_all_or_none() {
    let stand = Stand::with_source().await;
    append(&mut create_table(&stand.delta_root(), "s", "parts", true), &[Some("a"), Some("b")]);
    create_table(&stand.delta_root(), "s", "plain", false);
    stand.scan(pb::Scan::default()).await;
    let set = |names: Vec<String>, state: MigrationState| {
        let mut client = stand.browse();
        let request = pb::BatchSetMigrationStateRequest { parent: SOURCE.to_owned(), names, state: state as i32 };
        async move { client.batch_set_migration_state(request).await.map(|answer| answer.into_inner().changed_count) }
    };
    let schema = format!("{SOURCE}/schemas/s");
    assert_eq!(set(vec![schema.clone()], MigrationState::Done).await.unwrap(), 3);
    assert_eq!(stand.table("s", "parts").await.state(), MigrationState::Done);
    assert_eq!(set(vec![format!("{schema}/tables/parts/partitions/p=a")], MigrationState::Init).await.unwrap(), 1);
    assert_eq!(stand.table("s", "parts").await.state(), MigrationState::PartDone);

    let parts = stand.table("s", "parts").await;
    tell(&stand, vec![report(1, &parts, &["p=a"], MigrationState::Doing, 1)]).await;
    let names = vec![format!("{schema}/tables/plain"), format!("{schema}/tables/parts")];
    let refused = set(names, MigrationState::Init).await.unwrap_err();
    assert_eq!(ApiError::from_status(&refused).reason, ErrorReason::WrongState);
    assert_eq!(stand.table("s", "plain").await.state(), MigrationState::Done, "nothing of it was done");
    let refused = set(vec![schema], MigrationState::Failed).await.unwrap_err();
    assert_eq!(ApiError::from_status(&refused).reason, ErrorReason::InvalidField);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_which_a_part_was_moved_is_not_done_before_a_scan_has_seen_what_else_there_is() {
    let stand = Stand::with_source().await;
    let mut table = create_table(&stand.delta_root(), "s", "parts", true);
    append(&mut table, &[Some("a")]);
    stand.scan(pb::Scan::default()).await;
    let parts = stand.table("s", "parts").await;
    // A version that no scan has seen, with a partition that the job did not take.
    let moved = append(&mut table, &[Some("a"), Some("new")]) as i64;
    let part = pb::MigrationReport { of_part: true, ..report(1, &parts, &["p=a"], MigrationState::Done, moved) };
    tell(&stand, vec![part.clone()]).await;
    assert_eq!(stand.table("s", "parts").await.state(), MigrationState::PartDone, "there may be more");
    stand.scan(pb::Scan::default()).await;
    let seen = stand.table("s", "parts").await;
    assert_eq!((seen.state(), seen.partitions.unwrap().init), (MigrationState::PartDone, 1), "and there is");
    tell(&stand, vec![pb::MigrationReport { sequence: 2, partitions: vec!["p=new".to_owned()], ..part }]).await;
    assert_eq!(stand.table("s", "parts").await.state(), MigrationState::Done, "all that a scan has seen");
}
