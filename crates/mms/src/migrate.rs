//! `mms migrate`: moves the tables of a data source with one command, against a running suite.
//!
//! It takes up a job of the same tables that has not ended, and never creates a second one beside it.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use mms_proto::scheduler::v1::{Job, JobState, ReviewState};
use mms_proto::types::v1::SourceTable;
use tracing::Instrument;

use crate::command::Talk;
use crate::interrupt::RunsOn;
use crate::line::Line;
use crate::open::{self, Met};
use crate::progress::Progress;
use crate::{apply, names, output, plan, report, result, scope, spec};

/// Check, start and scan a data source, then move its tables.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms migrate -f azure-databricks.yaml
  mms migrate -f azure-databricks.yaml --schema sales --schema hr
  mms migrate -f azure-databricks.yaml --table sales.orders
  mms migrate -f azure-databricks.yaml --review      plan only

Run it again at any time: a job of the same tables that has not ended is taken up, and tables that have not changed are left \
alone. Ctrl-C ends the command; the job runs on. A plan made with --review waits for mms job approve.

Exit code 0 only if every table is at the target, except for kinds that cannot be moved, which are skipped; a table or schema \
that could not be read counts as failed. With --json each is one line of JSON, as in mms demo.

The file is the CreateDataSourceRequest; its dataSourceId is required, so that a second run finds the same source. Differences \
from the existing source are printed, then changed; secrets in the file are sent again.")]
pub struct Migrate {
    /// The data source, YAML or JSON; `-` is stdin. If one with its id exists, it is changed to match the file.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Only this schema; can be repeated.
    #[arg(long = "schema", value_name = "SCHEMA", conflicts_with = "tables")]
    schemas: Vec<String>,
    /// Only this table, SCHEMA.TABLE, the schema up to the first dot; can be repeated.
    #[arg(long = "table", value_name = "TABLE", value_parser = scope::source_table)]
    tables: Vec<SourceTable>,
    /// Only plan, and show what would be done.
    #[arg(long)]
    review: bool,
    #[command(flatten)]
    pub talk: Talk,
}

impl Migrate {
    /// Runs the command. True if every table was moved, or was planned without a blocker.
    pub async fn run(self) -> anyhow::Result<bool> {
        let runs_on = RunsOn::default();
        // All calls of this command belong to one trace.
        let span = tracing::info_span!("migrate", otel.name = "mms migrate");
        runs_on.or_interrupted(Box::pin(self.migrate(&runs_on).instrument(span))).await
    }

    async fn migrate(&self, runs_on: &RunsOn) -> anyhow::Result<bool> {
        let spec = spec::read(&self.file)?;
        let clients = self.talk.remote.connect()?;
        let source = apply::apply(&clients, &spec, &self.talk.remote, false).await?.name;
        let (remote, progress) = (&self.talk.remote, Progress::new());
        let mut line = Line { clients: &clients, remote, source: &source, runs_on, progress };
        let wanted = scope::of(&self.schemas, &self.tables);
        let job = match open::met(&clients, &source, &wanted).await? {
            Some(Met::Same(job)) => self.take_up(&mut line, job).await?,
            Some(Met::Overlapping(job)) => {
                let what = "moves some of these tables, and a table is moved by one job at a time";
                return Err(self.in_the_way(&job, what));
            }
            None => {
                if !line.check().await? {
                    let short = names::short(&source);
                    bail!("the check of {short} found what would make migrations fail; fix it, then run this again");
                }
                line.start().await?;
                line.scan(&self.scanned()).await?;
                line.job(wanted.clone(), self.review).await?
            }
        };
        if job.state() == JobState::PendingReview {
            plan::show(&clients, &job, &wanted, remote, self.talk.json).await?;
            output::note(&plan::how_to_go_on(&job, remote));
            return Ok(self.review && job.progress.unwrap_or_default().tables_blocked == 0);
        }
        let results = result::of_job(&clients, &source, &wanted, &job.name).await?;
        report::tell(&results, &job, remote, self.talk.json)
    }

    /// The schemas to scan: those named, and those of the named tables.
    fn scanned(&self) -> Vec<String> {
        let mut schemas = self.schemas.clone();
        schemas.extend(self.tables.iter().map(|table| table.schema.clone()));
        schemas.sort();
        schemas.dedup();
        schemas
    }

    /// Continues with a job of the same tables that has not ended.
    async fn take_up(&self, line: &mut Line<'_>, job: Job) -> anyhow::Result<Job> {
        let short = names::short(&job.name);
        let reviewed = job.review.as_ref().is_some_and(|review| review.state() == ReviewState::Pending);
        match job.state() {
            JobState::PendingReview => Ok(job),
            JobState::Stopping => Err(self.in_the_way(&job, "is being stopped; run this again once it has")),
            JobState::Paused => {
                let start = self.talk.remote.command(&format!("job start {short}"));
                bail!("job {short} of the same tables is paused\n  go on with it: {start}")
            }
            _ if self.review && !reviewed => {
                Err(self.in_the_way(&job, "moves the same tables already, without review"))
            }
            _ => {
                line.progress.note(&format!("job {short} of the same tables has not ended; following it"));
                line.follow(&job.name).await
            }
        }
    }

    fn in_the_way(&self, job: &Job, what: &str) -> anyhow::Error {
        let (remote, short) = (&self.talk.remote, names::short(&job.name));
        let (watch, stop) =
            (remote.command(&format!("job watch {short}")), remote.command(&format!("job stop {short}")));
        let state = output::word(job.state().as_str_name(), "JOB_STATE_");
        anyhow::anyhow!("job {short} ({state}) {what}\n  watch it: {watch}\n  stop it:  {stop}")
    }
}
