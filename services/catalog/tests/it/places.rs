//! What is at the target is a version of one table at one target: the same version of another table, or at another target, does
//! not count, and a table whose rows were not moved is not DONE.

use std::path::Path;

use crate::support::{SOURCE, Stand, append, create_table};
use mms_proto::catalog::v1 as pb;
use mms_proto::types::v1::{MigrationState, TargetTable};
use prost_types::FieldMask;

/// Reports that a table is at the target as pinned; with `rows` unset, that only the table was created.
async fn moved(stand: &Stand, sequence: i64, table: &str, partitions: &[&str], rows: bool) {
    let plan = stand.pin_table("s", table).await.0.plan.unwrap();
    tell(stand, sequence, plan, partitions, rows).await;
}

async fn tell(stand: &Stand, sequence: i64, plan: pb::TablePlan, partitions: &[&str], rows: bool) {
    let report = pb::MigrationReport {
        task: format!("{SOURCE}/jobs/j1/tasks/t000000"),
        sequence,
        table: plan.table,
        partitions: partitions.iter().map(|text| (*text).to_owned()).collect(),
        state: MigrationState::Done as i32,
        version: plan.version.filter(|_| rows),
        target: plan.target.and_then(|target| target.table),
        ..pb::MigrationReport::default()
    };
    let request = pb::ReportMigrationRequest { reports: vec![report] };
    stand.planning().report_migration(request).await.unwrap();
}

async fn send_to(stand: &Stand, table: &str, target: &str) -> pb::Table {
    let request = pb::UpdateTableRequest {
        name: format!("{SOURCE}/schemas/s/tables/{table}"),
        table: Some(pb::Table {
            target: Some(TargetTable { table: target.to_owned(), ..Default::default() }),
            ..Default::default()
        }),
        update_mask: Some(FieldMask { paths: vec!["target.table".to_owned()] }),
    };
    stand.browse().update_table(request).await.unwrap().into_inner().table.unwrap()
}

/// Gives a table another id, as a catalog does when a table is recreated; the sandbox's writer derives the id from the folder, so
/// it would be the same.
fn another_id(folder: &Path) {
    let first = folder.join("_delta_log").join("00000000000000000000.json");
    let log = std::fs::read_to_string(&first).unwrap();
    let lines = log.lines().map(|line| {
        let mut action: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(id) = action.pointer_mut("/metaData/id") {
            *id = "11111111-2222-3333-4444-555555555555".into();
        }
        action.to_string() + "\n"
    });
    std::fs::write(&first, lines.collect::<String>()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_only_made_is_not_migrated() {
    let stand = Stand::with_source().await;
    append(&mut create_table(&stand.delta_root(), "s", "plain", false), &[Some("x")]);
    append(&mut create_table(&stand.delta_root(), "s", "parts", true), &[Some("a"), Some("b")]);
    stand.scan(pb::Scan::default()).await;
    moved(&stand, 1, "plain", &[], false).await;
    moved(&stand, 2, "parts", &["p=a", "p=b"], false).await;
    for name in ["plain", "parts"] {
        let seen = stand.table("s", name).await;
        assert_eq!((seen.state(), seen.migrated_version), (MigrationState::Init, None), "{name}");
    }
    moved(&stand, 3, "plain", &[], true).await;
    let seen = stand.table("s", "plain").await;
    assert_eq!((seen.state(), &seen.migrated_version), (MigrationState::Done, &seen.version));
    assert_eq!(seen.migrated_target.unwrap().table, "plain");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_sent_elsewhere_is_not_done_there() {
    let stand = Stand::with_source().await;
    append(&mut create_table(&stand.delta_root(), "s", "plain", false), &[Some("x")]);
    append(&mut create_table(&stand.delta_root(), "s", "parts", true), &[Some("a"), Some("b")]);
    stand.scan(pb::Scan::default()).await;
    moved(&stand, 1, "plain", &[], true).await;
    moved(&stand, 2, "parts", &["p=a", "p=b"], true).await;
    assert_eq!(stand.table("s", "parts").await.state(), MigrationState::Done);

    let same = send_to(&stand, "parts", "").await;
    assert_eq!(same.state(), MigrationState::Done, "the place is what it was");
    let old = stand.pin_table("s", "parts").await.0.plan.unwrap();
    let parts = send_to(&stand, "parts", "elsewhere").await;
    let counts = parts.partitions.unwrap();
    assert_eq!((parts.state(), counts.init), (MigrationState::Init, 2));
    assert_eq!(parts.migrated_target.unwrap().table, "parts", "where the rows are stays known");
    // A task that started earlier reports the old target, which is no longer the table's.
    tell(&stand, 3, old, &["p=a", "p=b"], true).await;
    assert_eq!(stand.table("s", "parts").await.state(), MigrationState::Init);
    moved(&stand, 4, "parts", &["p=a", "p=b"], true).await;
    let parts = stand.table("s", "parts").await;
    assert_eq!((parts.state(), parts.migrated_target.unwrap().table), (MigrationState::Done, "elsewhere".to_owned()));

    let schema = pb::UpdateSchemaRequest {
        name: format!("{SOURCE}/schemas/s"),
        schema: Some(pb::Schema { target_schema: "landing".to_owned(), ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["target_schema".to_owned()] }),
    };
    let schema = stand.browse().update_schema(schema).await.unwrap().into_inner().schema.unwrap();
    assert_eq!((schema.state(), schema.tables.unwrap().init), (MigrationState::Init, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_made_anew_is_another() {
    let stand = Stand::with_source().await;
    let folder = stand.delta_root().join("s").join("parts");
    let first = append(&mut create_table(&stand.delta_root(), "s", "parts", true), &[Some("a"), Some("b")]);
    stand.scan(pb::Scan::default()).await;
    moved(&stand, 1, "parts", &["p=a", "p=b"], true).await;
    let before = stand.table("s", "parts").await;
    assert!(!before.changed);

    std::fs::remove_dir_all(&folder).unwrap();
    let again = append(&mut create_table(&stand.delta_root(), "s", "parts", true), &[Some("a"), Some("b")]);
    assert_eq!(first, again, "its versions begin anew");
    another_id(&folder);
    stand.scan(pb::Scan::default()).await;
    let after = stand.table("s", "parts").await;
    assert!(after.changed && after.version != after.migrated_version, "{after:?}");
    let list = pb::ListPartitionsRequest { parent: after.name, ..Default::default() };
    let partitions = stand.browse().list_partitions(list).await.unwrap().into_inner().partitions;
    assert!(partitions.len() == 2 && partitions.iter().all(|partition| partition.changed), "{partitions:?}");

    // One of the two partitions is of the new table, the other still of the old one: neither table is complete.
    moved(&stand, 2, "parts", &["p=a"], true).await;
    let mixed = stand.table("s", "parts").await;
    assert!(mixed.changed && mixed.migrated_target.is_none(), "{mixed:?}");
    moved(&stand, 3, "parts", &["p=b"], true).await;
    let whole = stand.table("s", "parts").await;
    assert_eq!((whole.changed, &whole.migrated_version), (false, &whole.version));
}
