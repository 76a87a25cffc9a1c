//! `mms demo`: a workspace, a project, the suite and a migration of all tables, on free ports in one process.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use mms_proto::registry::v1::CreateDataSourceRequest;
use mms_proto::scheduler::v1::Job;
use mms_server::{CancellationToken, cancel_on_signal};

use crate::client::{Clients, Remote};
use crate::ends::{self, Ends, EndsConfig};
use crate::interrupt::RunsOn;
use crate::line::Line;
use crate::progress::Progress;
use crate::result::{self, TableResult};
use crate::suite::{Suite, SuiteConfig};
use crate::{names, output, report, scope};

const SOURCE: &str = "demo";
/// Scale of the generated tables: 866,000 rows.
const SAMPLE_SCALE: f64 = 0.1;

/// Watch tables arrive in a MaxCompute project, all on this machine.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms demo
  mms demo --delta-root ./tables --keep ./kept
  mms demo --json | jq -r 'select(.state == \"FAILED\") | .reasons[].message'")]
pub struct Demo {
    /// Folder of Delta tables, SCHEMA/TABLE/_delta_log. Default: generated tables of TPC-H.
    #[arg(long, value_name = "DIR")]
    delta_root: Option<PathBuf>,
    /// Keep the project's data in this folder; `mms sandbox --project-dir DIR` serves it again.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print one JSON object a line, one for each table.
    #[arg(long)]
    json: bool,
}

impl Demo {
    /// Runs the demo. True if every table was migrated.
    pub async fn run(self) -> anyhow::Result<bool> {
        let stop = CancellationToken::new();
        tokio::spawn(cancel_on_signal(stop.clone()));
        let scratch = tempfile::Builder::new().prefix("mms-demo-").tempdir()?;
        let mut progress = Progress::new();
        let delta_root = match &self.delta_root {
            Some(root) => root.canonicalize().with_context(|| format!("reading {}", root.display()))?,
            None => {
                progress.step("generating tables of TPC-H");
                let root = scratch.path().join("delta-root");
                ends::sample_tables(&root, SAMPLE_SCALE).await?;
                root.canonicalize()?
            }
        };
        progress.step("starting the sandbox and the suite");
        let dir = self.keep.clone().unwrap_or_else(|| scratch.path().join("project"));
        let config = EndsConfig::new(delta_root.clone(), dir);
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
            migrated = migrate(&clients, ends.source(SOURCE, &delta_root), progress) => migrated,
            error = suite.failed() => Err(error),
            () = stop.cancelled() => Err(anyhow::anyhow!("interrupted")),
        };
        let told = migrated.and_then(|(job, results)| {
            let all = report::tell(&results, &job, &Remote::default(), self.json)?;
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
    clients.sources.clone().create_data_source(request).await.context("creating the data source")?;
    let source = names::source(SOURCE);
    let (remote, runs_on) = (Remote::default(), RunsOn::default());
    let mut line = Line { clients, remote: &remote, source: &source, runs_on: &runs_on, progress };
    // Findings of the check are printed but do not end the demo: it migrates every table that can be migrated.
    line.check().await?;
    line.start().await?;
    line.scan(&[]).await?;
    let job = line.job(scope::of(&[], &[]), false).await?;
    let results = result::of_job(clients, &source, &scope::of(&[], &[]), &job.name).await?;
    Ok((job, results))
}

fn tell_how_to_read(results: &[TableResult], ends: &Ends, keep: Option<&Path>) {
    let widest = results.iter().max_by_key(|result| (result.partitions, result.create_sql.len()));
    let Some(example) = widest.filter(|result| !result.create_sql.is_empty()) else { return };
    output::line(&format!("\nThe statement that made {}.{}:\n\n{}", example.schema, example.table, example.create_sql));
    // Without a folder to keep it in, the project no longer exists when this is read.
    let Some(keep) = keep else {
        return output::line("\nKeep the project, to read it from elsewhere: mms demo --keep DIR");
    };
    let served = format!("mms sandbox --project-dir {} --project-port {}", keep.display(), ends.project_port());
    let (keys, target) = (&ends.credentials, &example.target);
    // Indentation matters in Python, so the lines must be printed exactly as they can be pasted.
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
