//! A plan takes an existing target table into account: a table of ours keeps the types of its partition columns, and a foreign
//! one is reported.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{SOURCE, Stand};
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use mms_http::{HttpClient, NetworkConnection, Url};
use mms_maxcompute::name::ProjectName;
use mms_maxcompute::sql::Statement;
use mms_maxcompute::{Account, Project, ProjectConfig};
use mms_proto::catalog::v1 as pb;
use mms_proto::types::v1::{FindingReason, MigrationState, Severity};
use mms_sandbox::samples::{DeltaWriter, TableSpec};

fn project(stand: &Stand) -> Project {
    let http = HttpClient::new(&NetworkConnection::default()).unwrap();
    let account = Account::new("id", "key".into());
    let name = ProjectName::new("target_project").unwrap();
    let endpoint = Url::parse(stand.project_endpoint()).unwrap();
    Project::new(http, ProjectConfig::new(endpoint, name, account)).unwrap()
}

async fn run(project: &Project, sql: &str) {
    let statement = Statement::new(sql.to_owned(), uuid::Uuid::new_v4(), true);
    project.run(&statement, Duration::from_secs(30)).await.unwrap();
}

fn append(table: &mut DeltaWriter, days: &[Option<i32>]) {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..days.len() as i64));
    let days: ArrayRef = Arc::new(Int32Array::from(days.to_vec()));
    let batch = RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("day", days, true)]).unwrap();
    table.append([Ok::<_, arrow::error::ArrowError>(batch)]).unwrap();
}

fn day_type(plan: &pb::TablePlan) -> String {
    let columns = &plan.target.as_ref().unwrap().columns;
    columns.iter().find(|column| column.target_column == "day").unwrap().target_type.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_ours_keeps_its_partition_types_and_a_foreign_one_is_told() {
    let stand = Stand::with_source().await;
    let columns = vec![Field::new("id", DataType::Int64, true), Field::new("day", DataType::Int32, true)];
    let mut spec = TableSpec::new(Arc::new(Schema::new(columns)), 1_700_000_000_000);
    spec.partition_columns = vec!["day".to_owned()];
    let mut table = DeltaWriter::create(&stand.delta_root().join("s/days"), spec).unwrap();
    append(&mut table, &[Some(1), Some(2)]);
    stand.scan(pb::Scan::default()).await;
    let plan = stand.pin_table("s", "days").await.0.plan.unwrap();
    assert_eq!(day_type(&plan), "INT");
    let target = plan.target.unwrap();
    let project = project(&stand);
    run(&project, &target.create_schema_sql).await;
    run(&project, &target.create_sql).await;
    let plan = stand.pin_table("s", "days").await.0.plan.unwrap();
    assert!(plan.findings.is_empty(), "the table that is there is the planned one: {:?}", plan.findings);

    append(&mut table, &[None]);
    let plan = stand.pin_table("s", "days").await.0.plan.unwrap();
    let blockers: Vec<_> = plan.findings.iter().filter(|found| found.severity() == Severity::Blocker).collect();
    assert_eq!(blockers.len(), 1, "{:?}", plan.findings);
    assert_eq!(blockers[0].reason(), FindingReason::PartitionValueUnsupported);
    assert!(blockers[0].message.contains("the value NULL cannot be stored in the INT"), "{}", blockers[0].message);

    // Without the table, the type follows from the snapshot again. A foreign table has no influence on it.
    run(&project, "DROP TABLE `target_project`.`s`.`days`;").await;
    let plan = stand.pin_table("s", "days").await.0.plan.unwrap();
    assert_eq!(day_type(&plan), "STRING");
    run(&project, "CREATE TABLE `target_project`.`s`.`days` (`id` BIGINT) PARTITIONED BY (`day` INT);").await;
    let plan = stand.pin_table("s", "days").await.0.plan.unwrap();
    assert_eq!(day_type(&plan), "STRING");
    let told = plan.findings.iter().find(|found| found.reason() == FindingReason::TargetDiffers).unwrap();
    assert!(told.message.contains("day") && told.remedy.contains("target_policy"), "{told:?}");
}

/// Reports that a whole table is at its target, with the digest of the target's present state.
async fn looked_at(stand: &Stand, project: &Project, sequence: i64, plan: &pb::TablePlan) {
    let target = plan.target.as_ref().unwrap();
    let name = mms_maxcompute::table::TableRef {
        project: ProjectName::new("target_project").unwrap(),
        schema: Some(mms_maxcompute::name::SchemaName::new("s").unwrap()),
        table: mms_maxcompute::name::TableName::new("days").unwrap(),
    };
    let table = project.table(&name).await.unwrap().unwrap();
    let partitions = project.partitions(&name).await.unwrap();
    let report = pb::MigrationReport {
        task: format!("{SOURCE}/jobs/j1/tasks/t000000"),
        sequence,
        table: plan.table.clone(),
        state: MigrationState::Done as i32,
        version: plan.version.clone(),
        target: target.table.clone(),
        target_digest: mms_maxcompute::metadata::state_digest(&table, &partitions, mms_mapping::NONCE_PROPERTY)
            .to_vec()
            .into(),
        ..pb::MigrationReport::default()
    };
    let request = pb::ReportMigrationRequest { reports: vec![report] };
    stand.planning().report_migration(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_unchanged_until_somebody_touches_it() {
    let stand = Stand::with_source().await;
    let mut spec = TableSpec::new(
        Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("day", DataType::Int32, true)])),
        1_700_000_000_000,
    );
    spec.partition_columns = vec!["day".to_owned()];
    let mut table = DeltaWriter::create(&stand.delta_root().join("s/days"), spec).unwrap();
    append(&mut table, &[Some(1), Some(2)]);
    stand.scan(pb::Scan::default()).await;
    let (pinned, _) = stand.pin_table("s", "days").await;
    assert!(!pinned.target_unchanged, "there is no table");
    let plan = pinned.plan.unwrap();
    let project = project(&stand);
    let target = plan.target.as_ref().unwrap();
    run(&project, &target.create_schema_sql).await;
    let make = async || {
        run(&project, &target.create_sql).await;
        run(&project, "ALTER TABLE `target_project`.`s`.`days` ADD PARTITION (`day`=1) PARTITION (`day`=2);").await;
    };
    make().await;
    let unchanged = async || stand.pin_table("s", "days").await.0.target_unchanged;
    assert!(!unchanged().await, "no job looked at it");
    for (sequence, touch) in [
        "ALTER TABLE `target_project`.`s`.`days` ADD PARTITION (`day`=3);",
        "ALTER TABLE `target_project`.`s`.`days` DROP PARTITION (`day`=1);",
        "DROP TABLE `target_project`.`s`.`days`;",
    ]
    .into_iter()
    .enumerate()
    {
        looked_at(&stand, &project, i64::try_from(sequence).unwrap() + 1, &plan).await;
        assert!(unchanged().await, "before {touch}");
        run(&project, touch).await;
        assert!(!unchanged().await, "after {touch}");
    }
    make().await;
    assert!(!unchanged().await, "a table made anew is another, whatever it holds");
}
