//! `mms sandbox`: serves a Databricks workspace and a MaxCompute project on loopback until SIGTERM.

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

/// Id of the data source that it prints.
const SOURCE: &str = "sandbox";

/// Scale of the generated tables: 86,000 rows.
const SAMPLE_SCALE: f64 = 0.01;

/// Serve a Databricks workspace and a MaxCompute project on loopback, until SIGTERM.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms sandbox --delta-root ./tables --source-file source.yaml
  mms sandbox --project-dir ./kept --json      what `mms demo --keep ./kept` left, served again")]
pub struct Sandbox {
    /// Folder of Delta tables, SCHEMA/TABLE/_delta_log. Default: generated tables of TPC-H, removed at the end.
    #[arg(long, value_name = "DIR")]
    delta_root: Option<PathBuf>,
    /// Folder of the project's data and of the credentials. A later start with it serves the same data to the same
    /// credentials. Default: one that is removed at the end.
    #[arg(long, value_name = "DIR")]
    project_dir: Option<PathBuf>,
    /// Port of the workspace. Default: a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    workspace_port: u16,
    /// Port of the project. Default: a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    project_port: u16,
    /// Let upload sessions outlive the table they were created for, and publish into the next table of that name.
    #[arg(long)]
    sessions_outlive_tables: bool,
    /// File with a security token, read at each request. The project's access key is a temporary one that needs this
    /// token, and the token alone is accepted as a bearer token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A further project of the same access key; can be repeated.
    #[arg(long = "other-project", value_name = "NAME")]
    other_projects: Vec<String>,
    /// Quota of the projects, which statements and sessions must name.
    #[arg(long, value_name = "NAME")]
    quota: Option<String>,
    /// How long tokens of the workspace's OAuth client are valid.
    #[arg(long, value_name = "SECONDS", default_value_t = ends::TOKEN_LIFE.as_secs(), value_parser = clap::value_parser!(u64).range(1..=86_400))]
    token_life: u64,
    /// Storage account for which credentials are vended, as Unity Catalog does with external access: for tables whose
    /// `_object.json` has a location in that account.
    #[arg(long, value_name = "NAME", requires = "vend_key_file")]
    vend_account: Option<String>,
    /// File with the account's key, in base64.
    #[arg(long, value_name = "FILE", requires = "vend_account")]
    vend_key_file: Option<PathBuf>,
    /// How long a vended credential is valid.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    vend_life: u64,
    /// A schema on which EXTERNAL USE SCHEMA is not granted; can be repeated.
    #[arg(long, value_name = "SCHEMA")]
    vend_not: Vec<String>,
    /// Also write the data source for this workspace and project to a file that only its owner can read.
    #[arg(long, value_name = "FILE")]
    source_file: Option<PathBuf>,
    /// Print endpoints and credentials as one line of JSON.
    #[arg(long)]
    json: bool,
}

impl Sandbox {
    pub async fn run(self) -> anyhow::Result<bool> {
        let stop = CancellationToken::new();
        tokio::spawn(cancel_on_signal(stop.clone()));
        let scratch = tempfile::Builder::new().prefix("mms-sandbox-").tempdir()?;
        let dir = self.project_dir.unwrap_or_else(|| scratch.path().join("project-dir"));
        let delta_root = match self.delta_root {
            Some(root) => root.canonicalize().with_context(|| format!("reading {}", root.display()))?,
            None => {
                // Generated tables never go into the project's folder, which keeps only the project's data and
                // credentials.
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

/// The data source for both, as a file for `mms migrate`, with comments on how to use it.
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
