//! Targets that people set decide where a table goes; two tables never go to the same one; etags reject stale changes.

use crate::support::{SOURCE, Stand, create_table};
use mms_proto::catalog::v1 as pb;
use mms_proto::types::v1::{FindingReason, SourceTable, TableOptions, TargetKind, TargetTable};
use mms_proto::{ApiError, ErrorReason};
use prost_types::FieldMask;

fn update(table: &pb::Table, target: &str) -> pb::UpdateTableRequest {
    pb::UpdateTableRequest {
        name: table.name.clone(),
        table: Some(pb::Table {
            etag: table.etag.clone(),
            target: Some(TargetTable { table: target.to_owned(), ..Default::default() }),
            ..Default::default()
        }),
        update_mask: Some(FieldMask { paths: vec!["target.table".to_owned()] }),
    }
}

fn target(pinned: &pb::PinnedTable) -> TargetTable {
    pinned.plan.clone().unwrap().target.unwrap().table.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_belongs_to_one_table_until_it_is_sent_elsewhere() {
    let stand = Stand::with_source().await;
    create_table(&stand.delta_root(), "s", "one", false);
    create_table(&stand.delta_root(), "s", "two", false);
    stand.scan(pb::Scan::default()).await;
    let (pinned, _) = stand.pin_table("s", "one").await;
    assert_eq!(target(&pinned).table, "one");

    let two = stand.table("s", "two").await;
    let changed = stand.browse().update_table(update(&two, "ONE")).await.unwrap().into_inner().table.unwrap();
    assert_eq!(changed.target.unwrap().table, "ONE");
    let stale = stand.browse().update_table(update(&two, "x")).await.unwrap_err();
    assert_eq!(ApiError::from_status(&stale).reason, ErrorReason::EtagMismatch);
    let (pinned, files) = stand.pin_table("s", "two").await;
    let plan = pinned.plan.unwrap();
    assert!(plan.target.is_none() && files.is_empty());
    let blocker = plan.findings.iter().find(|finding| finding.reason() == FindingReason::TargetTaken).unwrap();
    assert!(blocker.message.contains("schemas/s/tables/one"), "{}", blocker.message);

    let one = stand.table("s", "one").await;
    stand.browse().update_table(update(&one, "elsewhere")).await.unwrap();
    let (pinned, _) = stand.pin_table("s", "two").await;
    assert_eq!(target(&pinned).table, "ONE");
    assert_eq!(target(&stand.pin_table("s", "one").await.0).table, "elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_table_and_job_each_win_over_the_one_before() {
    let stand = Stand::with_source().await;
    create_table(&stand.delta_root(), "s-1", "2 t", false);
    stand.scan(pb::Scan::default()).await;
    let at = target(&stand.pin_table("s-1", "2%20t").await.0);
    assert_eq!((at.project.as_str(), at.schema.as_str(), at.table.as_str()), ("target_project", "s_1", "t_2_t"));

    let request = pb::UpdateSchemaRequest {
        name: format!("{SOURCE}/schemas/s-1"),
        schema: Some(pb::Schema { target_schema: "landing".to_owned(), ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["target_schema".to_owned()] }),
    };
    stand.browse().update_schema(request.clone()).await.unwrap();
    assert_eq!(target(&stand.pin_table("s-1", "2%20t").await.0).schema, "landing");
    let wrong =
        pb::UpdateSchemaRequest { update_mask: Some(FieldMask { paths: vec!["comment".to_owned()] }), ..request };
    let refused = stand.browse().update_schema(wrong).await.unwrap_err();
    assert_eq!(ApiError::from_status(&refused).reason, ErrorReason::InvalidField);

    let options = TableOptions {
        table: Some(SourceTable { schema: "s-1".to_owned(), table: "2 t".to_owned() }),
        target: Some(TargetTable { schema: "job_schema".to_owned(), ..Default::default() }),
        column_names: [("id".to_owned(), "key".to_owned())].into(),
        lifecycle_days: Some(30),
        target_kind: TargetKind::Ordinary as i32,
        ..Default::default()
    };
    let pin = pb::PinTableRequest {
        name: format!("{SOURCE}/schemas/s-1/tables/2%20t"),
        options: Some(options.clone()),
        ..Default::default()
    };
    let (pinned, _) = stand.pin(pin.clone()).await;
    assert_eq!(target(&pinned).schema, "job_schema");
    let made = pinned.plan.unwrap().target.unwrap();
    assert_eq!(made.columns[0].target_column, "key");
    assert_eq!((made.kind(), made.lifecycle_days), (TargetKind::Ordinary, 30));
    assert!(made.create_sql.contains("LIFECYCLE 30"), "{}", made.create_sql);
    let unknown = TableOptions { column_names: [("other".to_owned(), "x".to_owned())].into(), ..options.clone() };
    let (pinned, _) = stand.pin(pb::PinTableRequest { options: Some(unknown), ..pin.clone() }).await;
    let unknown = pinned.plan.unwrap().findings.iter().filter(|f| f.reason() == FindingReason::ColumnUnknown).count();
    assert_eq!(unknown, 1);
    let elsewhere = TargetTable { project: "foreign".to_owned(), ..Default::default() };
    let (pinned, _) = stand
        .pin(pb::PinTableRequest { options: Some(TableOptions { target: Some(elsewhere), ..options }), ..pin })
        .await;
    assert_eq!(
        pinned.plan.unwrap().findings.iter().filter(|f| f.reason() == FindingReason::ProjectNotAllowed).count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_applied_whole_or_not_at_all() {
    let stand = Stand::with_source().await;
    for table in ["one", "two"] {
        create_table(&stand.delta_root(), "s", table, false);
    }
    stand.scan(pb::Scan::default()).await;
    let (one, two) = (stand.table("s", "one").await, stand.table("s", "two").await);
    let batch = |requests: Vec<pb::UpdateTableRequest>| {
        let request = pb::BatchUpdateTablesRequest { parent: SOURCE.to_owned(), requests };
        async { stand.browse().batch_update_tables(request).await }
    };

    let stale = pb::Table { etag: "\"stale\"".to_owned(), ..two.clone() };
    let refused = batch(vec![update(&one, "first"), update(&stale, "second")]).await.unwrap_err();
    assert_eq!(ApiError::from_status(&refused).reason, ErrorReason::EtagMismatch);
    assert_eq!(stand.table("s", "one").await, one, "the half that could be applied was not");

    let elsewhere = pb::Table { name: two.name.replace(SOURCE, "dataSources/other"), ..two.clone() };
    let refused = ApiError::from_status(&batch(vec![update(&one, "x"), update(&elsewhere, "y")]).await.unwrap_err());
    assert_eq!(refused.reason, ErrorReason::InvalidField);
    assert_eq!(refused.violations.iter().map(|v| v.field.as_str()).collect::<Vec<_>>(), ["requests[1].name"]);
    let wrong = batch(vec![update(&one, "x"), update(&two, &"y".repeat(129))]).await.unwrap_err();
    let fields: Vec<_> = ApiError::from_status(&wrong).violations.into_iter().map(|v| v.field).collect();
    assert_eq!(fields, ["requests[1].table.target.table"]);
    assert!(batch(Vec::new()).await.is_err(), "nothing to do");

    let changed = batch(vec![update(&one, "second"), update(&two, "first")]).await.unwrap().into_inner().tables;
    let targets: Vec<_> = changed.into_iter().map(|table| table.target.unwrap().table).collect();
    assert_eq!(targets, ["second", "first"], "in the order of the requests");
    assert_eq!(target(&stand.pin_table("s", "two").await.0).table, "first");
}
