//! `mms migrate`: a data source's tables moved in one line, against a running suite.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use mms_proto::ApiError;
use mms_proto::registry::v1::GetDataSourceRequest;
use mms_proto::scheduler::v1::JobState;
use tonic::Code;

use crate::client::source_name;
use crate::command::Talk;
use crate::job;
use crate::line::Line;
use crate::output;
use crate::progress::Progress;
use crate::{result, spec};

/// Check, start and scan a data source, then move its tables.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms migrate -f azure-databricks.yaml
  mms migrate -f azure-databricks.yaml --schema sales --schema hr
  mms migrate -f azure-databricks.yaml --review      plan only; approve it with mms job approve

Exit code 0 only if every table is at the target, but for those of kinds that cannot be moved, which are skipped; a table or schema that could not be read counts as failed. With --json
each is one line of JSON, as in mms demo.

The file is the CreateDataSourceRequest; its dataSourceId is required, so that a second run takes up the same source.")]
pub struct Migrate {
    /// The data source, YAML or JSON; `-` is stdin. One that exists under its id is used as it is.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Only this schema; can be repeated.
    #[arg(long = "schema", value_name = "SCHEMA")]
    schemas: Vec<String>,
    /// Only plan, and tell what would be done.
    #[arg(long)]
    review: bool,
    #[command(flatten)]
    talk: Talk,
}

impl Migrate {
    /// Runs it; true when every table went, or was planned without a blocker.
    pub async fn run(self) -> anyhow::Result<bool> {
        let request = spec::read(&self.file)?;
        if request.data_source_id.is_empty() {
            bail!("{}: dataSourceId is required here", self.file.display());
        }
        let clients = self.talk.remote.connect()?;
        let source = source_name(&request.data_source_id);
        let mut sources = clients.sources.clone();
        match sources.get_data_source(GetDataSourceRequest { name: source.clone() }).await {
            Ok(_) => output::note(&format!("{source} exists and is used as it is")),
            Err(status) if ApiError::from_status(&status).code == Code::NotFound => {
                sources.create_data_source(request).await.context("making the data source")?;
            }
            Err(status) => return Err(status.into()),
        }
        let mut line = Line { clients: &clients, source: &source, progress: Progress::new() };
        if !line.check().await? {
            bail!("the check of {source} found what migrations would fail on; mend it, then run this again");
        }
        line.start().await?;
        line.scan(&self.schemas).await?;
        let job = line.job(&self.schemas, self.review).await?;
        if job.state() == JobState::PendingReview {
            job::findings(&clients, &job.name, self.talk.json).await?;
            let command = format!("mms job approve {} --etag {}", job.name, job.etag);
            output::note(&format!("{} waits for review; start it with: {command}", job.name));
            return Ok(job.progress.unwrap_or_default().tables_blocked == 0);
        }
        let results = result::of_job(&clients, &source, &self.schemas, &job.name).await?;
        result::tell(&results, &job, self.talk.json)
    }
}
