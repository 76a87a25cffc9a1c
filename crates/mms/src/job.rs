//! `mms job`: migration jobs of a running suite.

use clap::{Args, Subcommand};
use mms_proto::page;
use mms_proto::scheduler::v1::job_spec::Scope;
use mms_proto::scheduler::v1::{
    self as pb, ApproveJobRequest, CreateJobRequest, DeleteJobRequest, GetJobRequest, JobSpec, JobState,
    ListFindingsRequest, ListJobsRequest, RetryJobRequest, SchemasScope, StartJobRequest, StopJobRequest, TablesScope,
};
use mms_proto::types::v1::{SourceTable, View};
use tonic::Status;

use crate::client::{Clients, source_name};
use crate::command::Talk;
use crate::progress::Progress;
use crate::{output, result, table, watch};

/// Migration jobs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms job create sales --schema orders --review
  mms job findings dataSources/sales/jobs/j1
  mms job approve dataSources/sales/jobs/j1 && mms job watch dataSources/sales/jobs/j1")]
pub struct Job {
    #[command(flatten)]
    talk: Talk,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a job of a scanned source; it starts by itself.
    #[command(after_help = "\
Examples:
  mms job create azure-sales
  mms job create azure-sales --table orders.lines --force
  mms job create azure-sales --schema orders --review")]
    Create {
        /// The source's id or name.
        source: String,
        /// Only this schema; can be repeated.
        #[arg(long = "schema", value_name = "SCHEMA", conflicts_with = "tables")]
        schemas: Vec<String>,
        /// Only this table, SCHEMA.TABLE, the schema up to the first dot; can be repeated.
        #[arg(long = "table", value_name = "TABLE", value_parser = source_table)]
        tables: Vec<SourceTable>,
        /// Plan, then wait for approval.
        #[arg(long)]
        review: bool,
        /// Move also what is at the target already.
        #[arg(long)]
        force: bool,
    },
    /// List jobs.
    #[command(after_help = "Example: mms job list azure-sales --json | jq -r .name")]
    List {
        /// The source's id or name. Default: all sources.
        #[arg(default_value = "-")]
        source: String,
    },
    /// Show one job.
    #[command(after_help = "Example: mms job get dataSources/azure-sales/jobs/j1")]
    Get(Named),
    /// Follow a job until it has ended or waits for somebody; fails unless it is DONE.
    #[command(after_help = "Example: mms job watch dataSources/azure-sales/jobs/j1")]
    Watch(Named),
    /// Start exactly the plan that waits for review.
    #[command(after_help = "Example: mms job approve dataSources/azure-sales/jobs/j1")]
    Approve {
        #[command(flatten)]
        named: Named,
        /// Start although some tables are blocked.
        #[arg(long)]
        accept_blocked: bool,
        /// The etag that the job had when its plan was read; without it the plan that is there now is started.
        #[arg(long, value_name = "ETAG")]
        etag: Option<String>,
    },
    /// Stop it.
    #[command(after_help = "Example: mms job stop dataSources/azure-sales/jobs/j1")]
    Stop(Named),
    /// Go on with a stopped or paused job.
    #[command(after_help = "Example: mms job start dataSources/azure-sales/jobs/j1")]
    Start(Named),
    /// Run its failed tasks again.
    #[command(after_help = "Example: mms job retry dataSources/azure-sales/jobs/j1 --repin")]
    Retry {
        #[command(flatten)]
        named: Named,
        /// Plan the tables that failed anew, with the newest version of each: for tasks that failed with SOURCE_CHANGED.
        #[arg(long)]
        repin: bool,
    },
    /// Delete a job that has ended, with its tasks and their logs.
    #[command(after_help = "Example: mms job delete dataSources/azure-sales/jobs/j1")]
    Delete(Named),
    /// Its tables, and what came of each.
    #[command(after_help = "Example: mms job tables dataSources/azure-sales/jobs/j1 --json | jq .targetRows")]
    Tables(Named),
    /// What its plan found.
    #[command(after_help = "Example: mms job findings dataSources/azure-sales/jobs/j1")]
    Findings(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The job's name, dataSources/SOURCE/jobs/JOB.
    job: String,
}

impl Job {
    /// Runs it.
    pub async fn run(self) -> anyhow::Result<bool> {
        let (clients, json) = (self.talk.remote.connect()?, self.talk.json);
        let mut client = clients.jobs.clone();
        let one = match self.action {
            Action::Create { source, schemas, tables, review, force } => {
                let scope = match tables.is_empty() {
                    true => Scope::Schemas(SchemasScope { schemas, ..Default::default() }),
                    false => Scope::Tables(TablesScope { tables }),
                };
                let spec = JobSpec { scope: Some(scope), force, ..Default::default() };
                let request = CreateJobRequest {
                    parent: source_name(&source),
                    job: Some(pb::Job { spec: Some(spec), ..Default::default() }),
                    review,
                    ..Default::default()
                };
                client.create_job(request).await?.into_inner().job
            }
            Action::List { source } => {
                let parent = source_name(&source);
                let mut request = ListJobsRequest { parent, page_size: 500, ..Default::default() };
                let jobs = page::all(async |page_token| {
                    request.page_token = page_token;
                    let page = client.list_jobs(request.clone()).await?.into_inner();
                    Ok::<_, Status>((page.jobs, page.next_page_token))
                });
                let jobs = jobs.await?;
                show(&jobs, json);
                return Ok(true);
            }
            Action::Get(Named { job: name }) => {
                let request = GetJobRequest { name, view: View::Full as i32 };
                client.get_job(request).await?.into_inner().job
            }
            Action::Watch(Named { job: name }) => return follow(&clients, &name, json).await,
            Action::Approve { named, accept_blocked, etag } => {
                let name = named.job;
                let etag = match etag {
                    Some(etag) => etag,
                    None => {
                        let request = GetJobRequest { name: name.clone(), ..Default::default() };
                        client.get_job(request).await?.into_inner().job.unwrap_or_default().etag
                    }
                };
                let request = ApproveJobRequest { name, accept_blocked, etag, ..Default::default() };
                client.approve_job(request).await?.into_inner().job
            }
            Action::Stop(Named { job: name }) => client.stop_job(StopJobRequest { name }).await?.into_inner().job,
            Action::Start(Named { job: name }) => {
                client.start_job(StartJobRequest { name, ..Default::default() }).await?.into_inner().job
            }
            Action::Delete(Named { job: name }) => {
                client.delete_job(DeleteJobRequest { name: name.clone(), ..Default::default() }).await?;
                output::note(&format!("{name} is deleted"));
                return Ok(true);
            }
            Action::Retry { named: Named { job: name }, repin } => {
                client.retry_job(RetryJobRequest { name, repin, ..Default::default() }).await?.into_inner().job
            }
            Action::Tables(Named { job }) => {
                let tables = result::job_tables(&clients, &job).await?;
                if json {
                    tables.iter().for_each(output::json);
                } else {
                    result::list(&tables.iter().map(result::TableResult::of).collect::<Vec<_>>(), false)?;
                }
                return Ok(true);
            }
            Action::Findings(Named { job }) => {
                findings(&clients, &job, json).await?;
                return Ok(true);
            }
        };
        show(&one.into_iter().collect::<Vec<_>>(), json);
        Ok(true)
    }
}

async fn follow(clients: &Clients, name: &str, json: bool) -> anyhow::Result<bool> {
    let mut progress = Progress::new();
    let job = watch::job(clients, name, |answer| {
        if json {
            output::json(answer);
        } else if let Some(job) = &answer.job {
            progress.job(job);
        }
    })
    .await?;
    progress.end();
    if !json {
        show(std::slice::from_ref(&job), false);
    }
    Ok(job.state() == JobState::Done)
}

/// Tells what the plan of a job found.
pub async fn findings(clients: &Clients, job: &str, json: bool) -> anyhow::Result<()> {
    let mut request = ListFindingsRequest { parent: job.to_owned(), page_size: 500, ..Default::default() };
    let found = page::all(async |page_token| {
        request.page_token = page_token;
        let page = clients.jobs.clone().list_findings(request.clone()).await?.into_inner();
        Ok::<_, Status>((page.findings, page.next_page_token))
    });
    let found = found.await?;
    if json {
        found.iter().for_each(output::json);
    } else {
        table::findings(&found);
    }
    Ok(())
}

/// Reads `SCHEMA.TABLE`.
fn source_table(text: &str) -> Result<SourceTable, String> {
    let (schema, table) = text.split_once('.').ok_or("write SCHEMA.TABLE")?;
    Ok(SourceTable { schema: schema.to_owned(), table: table.to_owned() })
}

fn show(jobs: &[pb::Job], json: bool) {
    if json {
        return jobs.iter().for_each(output::json);
    }
    output::table(
        ["name", "state", "tables", "blocked", "skipped", "tasks", "failed", "rows", "made", "reason"],
        jobs.iter().map(|job| {
            let counts = job.progress.unwrap_or_default();
            [
                job.name.clone(),
                output::word(job.state().as_str_name(), "JOB_STATE_"),
                format!("{}/{}", counts.tables_done, counts.tables_total),
                counts.tables_blocked.to_string(),
                counts.tables_skipped.to_string(),
                format!("{}/{}", counts.tasks_done, counts.tasks_total),
                counts.tasks_failed.to_string(),
                output::count(counts.rows_done),
                output::time(job.create_time.as_ref()),
                job.reason.clone().unwrap_or_default().message,
            ]
        }),
    );
}
