//! Three projects of one account: the default one for tables, one for a schema that is mapped there, and one in which
//! all statements run. Statements and uploads use the quotas that the data source names, and a check reports quotas
//! that do not exist.

use std::path::Path;

use mms_proto::catalog::v1 as catalog;
use mms_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mms_proto::registry::v1 as registry;
use mms_proto::registry::v1::data_source_service_client::DataSourceServiceClient;
use mms_tests::outsider::Outsider;
use mms_tests::parts::Parts;
use mms_tests::sandbox::Sandbox;
use mms_tests::suite::{Suite, everything};
use registry::CheckStepId;
use registry::check_data_source_request::Target;
use registry::check_data_source_response::Event;
use serde_json::json;

/// The one quota that the sandbox's projects have.
const QUOTA: &str = "fast";

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, |entries| entries.filter_map(Result::ok).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_table_goes_to_its_project_and_the_job_project_pays() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    let rows = u64::try_from(Parts::create(&root, 4)?.rows())?;
    let copied = std::process::Command::new("cp").arg("-a").arg(root.join("s")).arg(root.join("old")).status()?;
    anyhow::ensure!(copied.success(), "no copy");
    let flags = ["--other-project", "archive", "--other-project", "jobs", "--quota", QUOTA];
    let sandbox = Sandbox::start_with(folder.path(), &root, &flags)?;
    let suite = Suite::processes(folder.path(), 30).await?;
    let mut request = sandbox.data_source("lake");
    let target = &mut request["data_source"]["max_compute"];
    target["projects"] = json!(["archive"]);
    target["job_project"] = json!("jobs");
    target["compute_quota"] = json!(QUOTA);
    target["tunnel_quota"] = json!(QUOTA);
    let mut unknown = request.clone();
    for quota in ["compute_quota", "tunnel_quota"] {
        unknown["data_source"]["max_compute"][quota] = json!("of-nobody");
    }
    let unknown: registry::CreateDataSourceRequest = mms_proto::json::from_value(unknown)?;
    let target = unknown.data_source.map(Target::DataSource);
    let check = registry::CheckDataSourceRequest { target, start_cluster: false };
    let mut sources = DataSourceServiceClient::new(suite.channel("registry")?);
    let mut answers = sources.check_data_source(check).await?.into_inner();
    let mut failed = Vec::new();
    while let Some(answer) = answers.message().await? {
        if let Some(Event::Step(step)) = answer.event
            && step.state() == registry::CheckState::Failed
        {
            failed.push((step.id(), step.message.contains("of-nobody")));
        }
    }
    assert_eq!(failed, [(CheckStepId::TunnelReachable, true), (CheckStepId::StatementsRun, true)]);
    let source = Box::pin(suite.source(&request)).await?;
    suite.scanned(&suite.begin_scan(&source).await?).await?;
    let mut schemas = CatalogServiceClient::new(suite.channel("catalog")?);
    let listed = catalog::ListSchemasRequest { parent: source.clone(), ..Default::default() };
    let listed = schemas.list_schemas(listed).await?.into_inner().schemas;
    let old = listed.into_iter().find(|schema| schema.source_name == "old");
    let old = old.ok_or_else(|| anyhow::anyhow!("no schema old"))?;
    let update_mask = Some(prost_types::FieldMask { paths: vec!["target_project".into()] });
    let (name, schema) = (old.name.clone(), catalog::Schema { target_project: "archive".into(), ..old });
    schemas.update_schema(catalog::UpdateSchemaRequest { name, schema: Some(schema), update_mask }).await?;
    suite.done(&suite.begin_job(&source, everything()).await?).await?;

    let outsider = Outsider::with(&sandbox, |config| config.compute_quota = Some(QUOTA.to_owned()))?;
    let count = async |table: &str| {
        let rows = outsider.run(&format!("SELECT COUNT(*) FROM {table};")).await?;
        rows.single_number().ok_or_else(|| anyhow::anyhow!("no count of {table}"))
    };
    let home = sandbox.told("/project/name");
    assert_eq!(count(&format!("{home}.s.parts")).await?, rows);
    assert_eq!(count("archive.old.parts").await?, rows);
    for nowhere in [format!("{home}.old.parts"), "archive.s.parts".to_owned(), "jobs.s.parts".to_owned()] {
        assert!(count(&nowhere).await.is_err(), "{nowhere} is there");
    }
    // Only the statements of this test ran outside of the job project.
    let at = folder.path().join("project/project");
    assert!(files(&at.join("beside/jobs/instances")) > 0, "nothing ran in the job project");
    assert_eq!(files(&at.join("beside/archive/instances")), 0);
    Ok(())
}
