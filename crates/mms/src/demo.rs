//! `mms demo`: both far ends, the suite, and a migration of everything, on free ports in one process.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use mms_proto::registry::v1::databricks_source::WorkspaceAuth;
use mms_proto::registry::v1::max_compute_config::Account;
use mms_proto::registry::v1::storage_access::Access;
use mms_proto::registry::v1::{
    AccessKey, AccessToken, CharacterMapping, CreateDataSourceRequest, DataSource, DatabricksSource, LocalFiles,
    MaxComputeConfig, MigrationSettings, StorageAccess,
};
use mms_proto::scheduler::v1::Job;
use mms_server::{CancellationToken, cancel_on_signal};

use crate::client::{Clients, source_name};
use crate::ends::{self, Ends, EndsConfig};
use crate::line::Line;
use crate::output;
use crate::progress::Progress;
use crate::result::{self, TableResult};
use crate::suite::{Suite, SuiteConfig};

const SOURCE: &str = "demo";
/// Scale of the tables that are made when none are given: 866,000 rows.
const SAMPLE_SCALE: f64 = 0.1;

/// Watch tables arrive in a MaxCompute project, all on this machine.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms demo
  mms demo --delta-root ./tables --keep ./kept
  mms demo --json | jq -r 'select(.state == \"FAILED\") | .error'")]
pub struct Demo {
    /// Folder of Delta tables, SCHEMA/TABLE/_delta_log. Default: tables of TPC-H, made first.
    #[arg(long, value_name = "DIR")]
    delta_root: Option<PathBuf>,
    /// Keep the project's data there; `mms sandbox --project-dir DIR` serves it again.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print one JSON object a line, one for each table.
    #[arg(long)]
    json: bool,
}

impl Demo {
    /// Runs it; true when every table went.
    pub async fn run(self) -> anyhow::Result<bool> {
        let stop = CancellationToken::new();
        tokio::spawn(cancel_on_signal(stop.clone()));
        let scratch = tempfile::Builder::new().prefix("mms-demo-").tempdir()?;
        let mut progress = Progress::new();
        let delta_root = match &self.delta_root {
            Some(root) => root.canonicalize().with_context(|| format!("reading {}", root.display()))?,
            None => {
                progress.step("making tables of TPC-H");
                let root = scratch.path().join("delta-root");
                ends::sample_tables(&root, SAMPLE_SCALE).await?;
                root.canonicalize()?
            }
        };
        progress.step("starting both ends and the suite");
        let dir = self.keep.clone().unwrap_or_else(|| scratch.path().join("project"));
        let config = EndsConfig { delta_root: delta_root.clone(), dir, workspace_port: 0, project_port: 0 };
        let ends = Ends::start(config).await?;
        let mut suite = Suite::start(SuiteConfig {
            data_dir: scratch.path().join("suite"),
            port_base: 0,
            allow_local_files: true,
            secret_file_roots: Vec::new(),
            secret_variable_prefixes: Vec::new(),
            metrics: false,
            slots: None,
            lease_seconds: None,
            encryption_key_id: None,
            lost_encryption_keys: Vec::new(),
            recover: mms_server::Recover::Refuse,
        })
        .await?;
        let clients = Clients::of(&suite.endpoints)?;
        let migrated = tokio::select! {
            migrated = migrate(&clients, request(&ends, &delta_root), progress) => migrated,
            error = suite.failed() => Err(error),
            () = stop.cancelled() => Err(anyhow::anyhow!("interrupted")),
        };
        let told = migrated.and_then(|(job, results)| {
            let all = result::tell(&results, &job, self.json)?;
            if !self.json {
                tell_how_to_read(&results, &ends, self.keep.as_deref());
            }
            Ok(all)
        });
        let stopped = suite.stop().await;
        ends.stop().await;
        let all = told?;
        stopped?;
        Ok(all)
    }
}

async fn migrate(
    clients: &Clients,
    request: CreateDataSourceRequest,
    progress: Progress,
) -> anyhow::Result<(Job, Vec<TableResult>)> {
    clients.sources.clone().create_data_source(request).await.context("making the data source")?;
    let source = source_name(SOURCE);
    let mut line = Line { clients, source: &source, progress };
    // What a check finds is told; whatever can be carried is carried all the same.
    line.check().await?;
    line.start().await?;
    line.scan(&[]).await?;
    let job = line.job(&[], false).await?;
    let results = result::of_job(clients, &source, &[], &job.name).await?;
    Ok((job, results))
}

fn request(ends: &Ends, delta_root: &Path) -> CreateDataSourceRequest {
    let keys = &ends.credentials;
    // Whatever names at the target cannot have becomes "_"; a table starts with a letter. Values are left as they are: a
    // table with a partition value that the target does not take is refused, with that value.
    let mapping = |prefix: &str| CharacterMapping { other: "_".into(), prefix: prefix.into(), ..Default::default() };
    let files = LocalFiles { root: delta_root.display().to_string() };
    let databricks = DatabricksSource {
        workspace_url: ends.workspace_url(),
        catalog: ends.catalog().to_owned(),
        cluster_id: mms_sandbox::workspace::CLUSTER_ID.into(),
        workspace_auth: Some(WorkspaceAuth::AccessToken(AccessToken {
            token: keys.token.clone(),
            ..Default::default()
        })),
        storage: vec![StorageAccess { access: Some(Access::LocalFiles(files)), ..Default::default() }],
        ..Default::default()
    };
    CreateDataSourceRequest {
        data_source_id: SOURCE.into(),
        data_source: Some(DataSource {
            source: Some(databricks.into()),
            max_compute: Some(MaxComputeConfig {
                endpoint: ends.endpoint().to_owned(),
                account: Some(Account::AccessKey(AccessKey {
                    access_key_id: keys.access_id.clone(),
                    access_key_secret: keys.access_key.clone(),
                    ..Default::default()
                })),
                default_project: keys.project.clone(),
                ..Default::default()
            }),
            settings: Some(MigrationSettings {
                table_names: Some(mapping("t_")),
                column_names: Some(mapping("")),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn tell_how_to_read(results: &[TableResult], ends: &Ends, keep: Option<&Path>) {
    let widest = results.iter().max_by_key(|result| (result.partitions, result.create_sql.len()));
    let Some(example) = widest.filter(|result| !result.create_sql.is_empty()) else { return };
    output::line(&format!("\nThe statement that made {}.{}:\n\n{}", example.schema, example.table, example.create_sql));
    let served = match keep {
        Some(keep) => format!("mms sandbox --project-dir {} --project-port {}", keep.display(), ends.project_port()),
        None => "mms demo --keep DIR, then mms sandbox --project-dir DIR; it prints the keys to use".into(),
    };
    let (keys, target) = (&ends.credentials, &example.target);
    // Python is particular about what a line begins with: this can be copied as it stands.
    output::line(&format!(
        "\nRead it with PyODPS, while the project is served:\n\n{served}\n\n\
         from odps import ODPS\n\
         o = ODPS('{}', '{}', '{}', endpoint='{}')\n\
         t = o.get_table('{}', schema='{}')\n\
         for p in list(t.partitions) if t.table_schema.partitions else [None]:\n    \
         with t.open_reader(partition=p and str(p.partition_spec)) as rows:\n        print(p, rows.count)",
        keys.access_id,
        keys.access_key,
        keys.project,
        ends.endpoint(),
        target.table,
        target.schema,
    ));
}
