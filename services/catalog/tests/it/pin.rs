//! PinTable streams the plan of a pinned version, then its files by target unit.

use crate::support::{SOURCE, Stand, append, create_table};
use mms_proto::catalog::v1 as pb;
use mms_proto::types::v1::{
    self as types, ColumnMappingMode, ColumnRole, FindingReason, Severity, TargetKind, source_version::Version,
};

fn version(pinned: &pb::PinnedTable) -> i64 {
    match pinned.plan.clone().unwrap().version.unwrap().version.unwrap() {
        Version::Delta(delta) => delta.version,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_table_comes_unit_by_unit_at_its_pinned_version() {
    let stand = Stand::with_source().await;
    let mut table = create_table(&stand.delta_root(), "s", "parts", true);
    append(&mut table, &[Some("b"), Some("a"), None]);
    let second = append(&mut table, &[Some("a"), Some("b")]);
    stand.scan(pb::Scan::default()).await;
    append(&mut table, &[Some("later")]);

    let pin = pb::PinTableRequest {
        name: format!("{SOURCE}/schemas/s/tables/parts"),
        version: Some(types::SourceVersion {
            version: Some(Version::Delta(types::DeltaVersion {
                version: second as i64,
                commit_time: None,
                ..Default::default()
            })),
        }),
        ..Default::default()
    };
    let (pinned, files) = stand.pin(pin.clone()).await;
    assert_eq!(version(&pinned), second as i64);
    let plan = pinned.plan.clone().unwrap();
    assert_eq!((plan.file_count, plan.row_count, plan.unit_count), (5, Some(5), 3));
    let units: Vec<_> = files
        .iter()
        .map(|f| (f.target_partition[0].value.as_str(), f.source_partition.as_str(), f.files.len()))
        .collect();
    assert_eq!(units, [("__HIVE_DEFAULT_PARTITION__", "p", 1), ("a", "p=a", 2), ("b", "p=b", 2)]);
    assert_eq!(files, stand.pin(pin).await.1, "the same version streams the same files in the same order");

    let target = plan.target.unwrap();
    assert_eq!(target.kind(), TargetKind::AppendDelta);
    let uid = stand.source_uid().await;
    assert_eq!(
        target.ownership,
        format!("{uid}/s/parts"),
        "two suites may have sources of one id, and none of one uid"
    );
    assert!(target.create_sql.starts_with("CREATE TABLE IF NOT EXISTS"), "{}", target.create_sql);
    assert_eq!(target.create_schema_sql, "CREATE SCHEMA IF NOT EXISTS `target_project`.`s`;");
    let partitions = target.columns.iter().filter(|column| column.role() == ColumnRole::Partition);
    assert_eq!(partitions.count(), 1);
    let Some(pb::pinned_table::Format::Delta(delta)) = &pinned.format else { panic!("{pinned:?}") };
    assert_eq!(
        (delta.column_mapping(), delta.partition_columns.as_slice()),
        (ColumnMappingMode::None, &["p".to_owned()][..])
    );
    assert!(delta.schema_json.starts_with(r#"{"type":"struct","fields":[{"name":"id","type":"long""#), "{delta:?}");
    assert!(pinned.location.ends_with("/s/parts/"), "{}", pinned.location);

    let (pinned, files) = stand.pin_table("s", "parts").await;
    assert_eq!((version(&pinned), files.len()), (second as i64 + 1, 4), "without a version: the newest");
    let looked = stand
        .browse()
        .plan_table(pb::PlanTableRequest { name: format!("{SOURCE}/schemas/s/tables/parts") })
        .await
        .unwrap();
    assert_eq!(looked.into_inner().plan, pinned.plan);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpartitioned_table_is_one_unit_even_when_empty() {
    let stand = Stand::with_source().await;
    create_table(&stand.delta_root(), "s", "empty", false);
    append(&mut create_table(&stand.delta_root(), "s", "plain", false), &[Some("x")]);
    stand.scan(pb::Scan::default()).await;
    let (pinned, files) = stand.pin_table("s", "empty").await;
    assert_eq!((pinned.plan.unwrap().unit_count, files.len()), (1, 0));
    let (pinned, files) = stand.pin_table("s", "plain").await;
    assert_eq!((pinned.plan.unwrap().unit_count, files.len()), (1, 1));
    assert!(files[0].target_partition.is_empty() && files[0].source_partition.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_target_cannot_hold_is_a_blocker_and_nothing_follows() {
    let stand = Stand::with_source().await;
    append(&mut create_table(&stand.delta_root(), "s", "bad", true), &[Some("a/b"), Some("c")]);
    stand.scan(pb::Scan::default()).await;
    let (pinned, files) = stand.pin_table("s", "bad").await;
    let plan = pinned.plan.unwrap();
    let blocker = plan.findings.iter().find(|finding| finding.severity() == Severity::Blocker).unwrap();
    assert_eq!(blocker.reason(), FindingReason::PartitionValueUnsupported);
    assert!(blocker.message.contains("a/b") && !blocker.remedy.is_empty(), "{blocker:?}");
    assert!(plan.target.is_none() && files.is_empty());
    let name = format!("{SOURCE}/schemas/s/tables/nowhere");
    let missing = pb::PinTableRequest { name, ..Default::default() };
    let mut stream = stand.planning().pin_table(missing).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap_err().code(), tonic::Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_partitions_that_a_job_takes_are_planned_and_sent() {
    let stand = Stand::with_source().await;
    let mut table = create_table(&stand.delta_root(), "s", "parts", true);
    append(&mut table, &[Some("a"), Some("b"), Some("c"), None]);
    append(&mut table, &[Some("b")]);
    stand.scan(pb::Scan::default()).await;
    let pin = async |partitions: &[&str], filter: &str| {
        let options = types::TableOptions {
            table: Some(types::SourceTable { schema: "s".to_owned(), table: "parts".to_owned() }),
            partition_filter: filter.to_owned(),
            ..Default::default()
        };
        let request = pb::PinTableRequest {
            name: format!("{SOURCE}/schemas/s/tables/parts"),
            partitions: partitions.iter().map(|name| (*name).to_owned()).collect(),
            options: Some(options),
            ..Default::default()
        };
        let (pinned, files) = stand.pin(request).await;
        let sources: Vec<String> = files.into_iter().map(|files| files.source_partition).collect();
        (pinned.plan.unwrap(), sources)
    };
    let (plan, sources) = pin(&[], "P IN ('b', 'c')").await;
    assert_eq!((plan.file_count, plan.row_count, plan.unit_count), (3, Some(3), 2));
    assert_eq!(sources, ["p=b", "p=c"]);
    assert_eq!(plan.findings[0].reason(), FindingReason::PartitionsChosen);
    assert!(plan.findings[0].message.contains("2 of 4 partitions are taken: p=b, p=c"), "{:?}", plan.findings);
    assert_eq!(pin(&["p", "p=a"], "").await.1, ["p", "p=a"]);
    let (plan, sources) = pin(&["p=a"], "p > 'a'").await;
    assert!(plan.target.is_none() && sources.is_empty(), "nothing is left: {plan:?}");
    assert_eq!(plan.findings[0].reason(), FindingReason::PartitionFilterKeepsNone);
    assert_eq!(pin(&[], "id > 1").await.0.findings[0].reason(), FindingReason::PartitionFilterInvalid);
}
