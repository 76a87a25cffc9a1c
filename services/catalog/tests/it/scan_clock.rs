//! A data source is scanned at the times of its schedule, which may change while everything runs.

use std::time::Duration;

use crate::support::{SOURCE, Stand, append, create_table};
use mms_proto::catalog::v1 as pb;
use mms_proto::registry::v1 as registry;
use mms_proto::types::v1::{Cron, Schedule, schedule};

async fn scans(stand: &Stand) -> Vec<pb::Scan> {
    let request = pb::ListScansRequest { parent: SOURCE.to_owned(), ..Default::default() };
    stand.scans().list_scans(request).await.unwrap().into_inner().scans
}

async fn schedule(stand: &Stand, expression: Option<&str>) {
    let cron = |text: &str| schedule::Schedule::Cron(Cron { expression: text.to_owned() });
    let schedule = expression.map(|text| Schedule { schedule: Some(cron(text)), ..Schedule::default() });
    let settings = registry::MigrationSettings { scan_schedule: schedule, ..Default::default() };
    let request = registry::UpdateDataSourceRequest {
        name: SOURCE.to_owned(),
        data_source: Some(registry::DataSource { settings: Some(settings), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["settings.scan_schedule".to_owned()] }),
        ..Default::default()
    };
    stand.sources().update_data_source(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_scanned_by_itself_once_its_settings_say_so() {
    let stand = Stand::with_source().await;
    append(&mut create_table(&stand.delta_root(), "sales", "orders", false), &[Some("x")]);
    assert!(scans(&stand).await.is_empty());
    // This test runs on the machine's clock: the next minute begins in at most a minute.
    schedule(&stand, Some("* * * * *")).await;
    let came = tokio::time::timeout(Duration::from_secs(90), async {
        loop {
            if let Some(scan) = scans(&stand).await.pop() {
                return scan;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let scan = came.await.expect("a minute passes");
    let ended = stand.ended(&scan.name).await;
    assert_eq!(ended.state(), pb::ScanState::Done, "{ended:?}");
    assert_eq!(stand.table_names().await.len(), 1);
    schedule(&stand, None).await;
}
