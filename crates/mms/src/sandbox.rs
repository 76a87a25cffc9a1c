//! `mms sandbox`: both far ends until SIGTERM.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use mms_proto::registry::v1::CreateDataSourceRequest;
use mms_sandbox::workspace::Vending;
use mms_server::{CancellationToken, cancel_on_signal};
use prost_reflect::DynamicMessage;

use crate::ends::{self, Ends, EndsConfig};
use crate::{output, private};

/// Id of the data source that is printed.
const SOURCE: &str = "sandbox";

/// Scale of the tables that are made when none are given: 86,000 rows.
const SAMPLE_SCALE: f64 = 0.01;

/// Serve a Databricks workspace and a MaxCompute project on loopback, until SIGTERM.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms sandbox --delta-root ./tables --source-file source.yaml
  mms sandbox --project-dir ./kept --json      what `mms demo --keep ./kept` left, served again")]
pub struct Sandbox {
    /// Folder of Delta tables, SCHEMA/TABLE/_delta_log. Default: tables of TPC-H, made for as long as it runs.
    #[arg(long, value_name = "DIR")]
    delta_root: Option<PathBuf>,
    /// Folder of the project's data and of the credentials. Served again, it shows the same data to the same
    /// credentials. Default: one that is removed at the end.
    #[arg(long, value_name = "DIR")]
    project_dir: Option<PathBuf>,
    /// Port of the workspace. Default: a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    workspace_port: u16,
    /// Port of the project. Default: a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    project_port: u16,
    /// Upload sessions outlive the table that they were made for, and publish into the next of its name.
    #[arg(long)]
    sessions_outlive_tables: bool,
    /// The project's access key is a temporary one, whose token is what this file holds at each request; its bearer needs no key.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A further project of the same access key; can be repeated.
    #[arg(long = "other-project", value_name = "NAME")]
    other_projects: Vec<String>,
    /// The projects have one quota, which statements and sessions have to name.
    #[arg(long, value_name = "NAME")]
    quota: Option<String>,
    /// How long tokens of the workspace's OAuth client last.
    #[arg(long, value_name = "SECONDS", default_value_t = ends::TOKEN_LIFE.as_secs(), value_parser = clap::value_parser!(u64).range(1..=86_400))]
    token_life: u64,
    /// A storage account that credentials are vended for, as Unity Catalog does where external access is on: tables whose
    /// `_object.json` says that they lie in it.
    #[arg(long, value_name = "NAME", requires = "vend_key_file")]
    vend_account: Option<String>,
    /// File with the account's key, in base64.
    #[arg(long, value_name = "FILE", requires = "vend_account")]
    vend_key_file: Option<PathBuf>,
    /// How long a vended credential lasts.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    vend_life: u64,
    /// A schema on which EXTERNAL USE SCHEMA was not granted; can be given several times.
    #[arg(long, value_name = "SCHEMA")]
    vend_not: Vec<String>,
    /// Also write the data source that leads here to a file that only its owner can read.
    #[arg(long, value_name = "FILE")]
    source_file: Option<PathBuf>,
    /// Print endpoints and credentials as one line of JSON.
    #[arg(long)]
    json: bool,
}

impl Sandbox {
    /// Serves until a signal.
    pub async fn run(self) -> anyhow::Result<bool> {
        let stop = CancellationToken::new();
        tokio::spawn(cancel_on_signal(stop.clone()));
        let scratch = tempfile::Builder::new().prefix("mms-sandbox-").tempdir()?;
        let dir = self.project_dir.unwrap_or_else(|| scratch.path().join("project-dir"));
        let delta_root = match self.delta_root {
            Some(root) => root.canonicalize().with_context(|| format!("reading {}", root.display()))?,
            None => {
                // Never into the folder of a project: what is kept there is its data alone.
                let root = scratch.path().join("delta-root");
                ends::sample_tables(&root, SAMPLE_SCALE).await?;
                root.canonicalize()?
            }
        };
        let vending = match (self.vend_account, self.vend_key_file) {
            (Some(account), Some(file)) => Some(Vending {
                account,
                key: std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?.into(),
                life: Duration::from_secs(self.vend_life),
                denied_schemas: self.vend_not,
            }),
            _ => None,
        };
        let config = EndsConfig {
            delta_root: delta_root.clone(),
            dir,
            workspace_port: self.workspace_port,
            project_port: self.project_port,
            token_file: self.token_file,
            other_projects: self.other_projects,
            quota: self.quota,
            token_life: Duration::from_secs(self.token_life),
            vending,
        };
        let ends = Ends::start(config).await?;
        ends.let_sessions_outlive_tables(self.sessions_outlive_tables);
        let text = source_text(&ends, &delta_root, self.source_file.as_deref())?;
        if let Some(file) = &self.source_file {
            private::write(file, &text)?;
        }
        let keys = &ends.credentials;
        if self.json {
            let told = serde_json::json!({
                "workspace": {
                    "url": ends.workspace_url(),
                    "token": keys.token,
                    "client_id": keys.client_id,
                    "client_secret": keys.client_secret,
                    "catalog": ends.catalog(),
                    "cluster_id": mms_sandbox::workspace::CLUSTER_ID,
                    "warehouse_id": mms_sandbox::workspace::WAREHOUSE_ID,
                    "http_path": ends.http_path(),
                },
                "project": {
                    "endpoint": ends.endpoint(),
                    "name": keys.project,
                    "access_id": keys.access_id,
                    "access_key": keys.access_key,
                },
            });
            output::line(&told.to_string());
        } else {
            output::line(&text);
        }
        stop.cancelled().await;
        ends.stop().await;
        Ok(true)
    }
}

/// The data source that leads to both ends, as a file for `mms migrate`, and what to do with it.
fn source_text(ends: &Ends, delta_root: &Path, file: Option<&Path>) -> anyhow::Result<String> {
    let mut request = DynamicMessage::new(mms_proto::descriptor::message::<CreateDataSourceRequest>());
    request.transcode_from(&ends.source(SOURCE, delta_root))?;
    let file = file.map_or_else(|| "source.yaml".into(), |file| file.display().to_string());
    Ok(format!(
        "# A Databricks workspace and a MaxCompute project, served until Ctrl-C. This is a data source that leads to both; with it in\n\
         # {file}, in another terminal:\n\
         #   mms up --allow-local-files\n\
         #   mms migrate -f {file}\n\
         {}",
        serde_saphyr::to_string(&request)?
    ))
}
