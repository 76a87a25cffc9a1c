//! `mms job`: creates, follows, changes and deletes migration jobs of a running suite, and prints their plans and
//! tables. Each action is a call of the scheduler; nothing is decided here.

use clap::{Args, Subcommand};
use mms_proto::error::reason_text;
use mms_proto::page;
use mms_proto::scheduler::v1::{
    self as pb, ApproveJobRequest, CreateJobRequest, DeleteJobRequest, GetJobRequest, JobState, ListFindingsRequest,
    RetryJobRequest, StartJobRequest, StopJobRequest,
};
use mms_proto::types::v1::View;
use tonic::Status;

use crate::asked::Asked;
use crate::client::{Clients, Remote};
use crate::command::Talk;
use crate::job_update::Update;
use crate::progress::Progress;
use crate::{advice, interrupt, names, open, output, plan, report, result, scope, table, watch};

/// Migration jobs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms job create sales --schema orders --review
  mms job findings sales/j1
  mms job approve sales/j1 && mms job watch sales/j1")]
pub struct Job {
    #[command(flatten)]
    pub talk: Talk,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a job for a scanned source; it starts by itself.
    #[command(after_help = "\
Examples:
  mms job create azure-sales
  mms job create azure-sales --table orders.lines --force
  mms job create azure-sales --schema orders --review
  mms job create azure-sales --table orders.lines --partition-filter \"orders.lines: day >= '2024-01-01'\"
  mms job create azure-sales --partition orders.lines/day=2024-01-31
  mms job create azure-sales --changed --drop-gone
  mms job create azure-sales --verify-only --watch
  mms job create azure-sales -f job.yaml --watch")]
    Create {
        /// The source's id or name.
        source: String,
        #[command(flatten)]
        asked: Asked,
        /// Plan, then wait for approval.
        #[arg(long)]
        review: bool,
        /// Follow it until it has ended or waits for review.
        #[arg(long)]
        watch: bool,
    },
    /// List jobs.
    #[command(after_help = "\
Examples:
  mms job list azure-sales --json | jq -r .name
  mms job list --filter \"state = 'FAILED'\" --order-by \"end_time desc\"")]
    List {
        /// The source's id or name. Default: all sources.
        #[arg(default_value = "-")]
        source: String,
        /// Only jobs for which this expression over their fields is true.
        #[arg(long, default_value = "", value_name = "EXPRESSION")]
        filter: String,
        /// Fields to sort by; "desc" after a field sorts it in descending order.
        #[arg(long, default_value = "", value_name = "FIELDS")]
        order_by: String,
    },
    /// Change the deadline, the priority or the limits of a job; tasks that are running continue.
    #[command(after_help = "\
Examples:
  mms job update azure-sales/j1 --priority 10 --deadline 2026-01-31T06:00:00Z
  mms job update azure-sales/j1 --bytes-per-second 50000000 --tasks-per-table 4
  mms job update azure-sales/j1 --circuit-breaker off")]
    Update {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        update: Update,
    },
    /// Show one job.
    #[command(after_help = "Example: mms job get azure-sales/j1")]
    Get(Named),
    /// Follow a job until it has ended or waits for a person; fails unless it is DONE.
    #[command(after_help = "Example: mms job watch azure-sales/j1")]
    Watch(Named),
    /// Start exactly the plan that waits for review.
    #[command(after_help = "Example: mms job approve azure-sales/j1")]
    Approve {
        #[command(flatten)]
        named: Named,
        /// Start it even though some tables are blocked.
        #[arg(long)]
        accept_blocked: bool,
        /// The etag of the job when its plan was read. Without it, the present plan is started.
        #[arg(long, value_name = "ETAG")]
        etag: Option<String>,
    },
    /// Stop a job.
    #[command(after_help = "Example: mms job stop azure-sales/j1")]
    Stop(Named),
    /// Resume a stopped or paused job.
    #[command(after_help = "Example: mms job start azure-sales/j1")]
    Start(Named),
    /// Run the failed tasks of a job again.
    #[command(after_help = "Example: mms job retry azure-sales/j1 --repin")]
    Retry {
        #[command(flatten)]
        named: Named,
        /// Plan the failed tables anew, with the newest version of each: for tasks that failed with SOURCE_CHANGED.
        #[arg(long)]
        repin: bool,
    },
    /// Delete a job that has ended, with its tasks and their logs.
    #[command(after_help = "Example: mms job delete azure-sales/j1")]
    Delete(Named),
    /// List the tables of a job, with the result of each.
    #[command(after_help = "Example: mms job tables azure-sales/j1 --json | jq .targetRows")]
    Tables(Named),
    /// Show the plan of a job: target, size and findings of each table.
    #[command(after_help = "Example: mms job plan azure-sales/j1")]
    Plan(Named),
    /// List what the plan of a job found.
    #[command(after_help = "Example: mms job findings azure-sales/j1")]
    Findings(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The job: SOURCE/JOB, its id alone, or its whole name dataSources/SOURCE/jobs/JOB.
    job: String,
}

impl Named {
    async fn name(&self, clients: &Clients) -> anyhow::Result<String> {
        names::job(clients, &self.job).await
    }
}

impl Job {
    pub async fn run(self) -> anyhow::Result<bool> {
        let (clients, json) = (self.talk.remote.connect()?, self.talk.json);
        let mut client = clients.jobs.clone();
        let one = match self.action {
            Action::Create { source, asked, review, watch } => {
                let parent = names::source(&source);
                let spec = asked.spec(&parent)?;
                let request = CreateJobRequest {
                    parent,
                    job: Some(pb::Job { spec: Some(spec), ..Default::default() }),
                    review,
                    ..Default::default()
                };
                let created = client.create_job(request).await?.into_inner().job;
                if watch {
                    let name = created.unwrap_or_default().name;
                    output::note(&format!("job {} created", names::short(&name)));
                    return follow(&clients, &self.talk.remote, &name, json).await;
                }
                created
            }
            Action::Update { named, update } => {
                let name = named.name(&clients).await?;
                let request = GetJobRequest { name: name.clone(), view: View::Full as i32 };
                let now = client.get_job(request).await?.into_inner().job.unwrap_or_default().spec.unwrap_or_default();
                client.update_job(update.request(name, now)?).await?.into_inner().job
            }
            Action::List { source, filter, order_by } => {
                let parent = names::source(&source);
                let jobs = open::jobs_that(&clients, &parent, View::Basic, &filter, &order_by).await?;
                show(&jobs, &parent, &self.talk.remote, json);
                return Ok(true);
            }
            Action::Get(named) => {
                let name = named.name(&clients).await?;
                let request = GetJobRequest { name, view: View::Full as i32 };
                client.get_job(request).await?.into_inner().job
            }
            Action::Watch(named) => {
                let name = named.name(&clients).await?;
                return follow(&clients, &self.talk.remote, &name, json).await;
            }
            Action::Approve { named, accept_blocked, etag } => {
                let name = named.name(&clients).await?;
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
            Action::Stop(named) => {
                let name = named.name(&clients).await?;
                client.stop_job(StopJobRequest { name }).await?.into_inner().job
            }
            Action::Start(named) => {
                let name = named.name(&clients).await?;
                client.start_job(StartJobRequest { name, ..Default::default() }).await?.into_inner().job
            }
            Action::Delete(named) => {
                let name = named.name(&clients).await?;
                client.delete_job(DeleteJobRequest { name: name.clone(), ..Default::default() }).await?;
                output::note(&format!("{name} is deleted"));
                return Ok(true);
            }
            Action::Retry { named, repin } => {
                let name = named.name(&clients).await?;
                client.retry_job(RetryJobRequest { name, repin, ..Default::default() }).await?.into_inner().job
            }
            Action::Tables(named) => {
                let job = named.name(&clients).await?;
                let tables = result::job_tables(&clients, &job).await?;
                if json {
                    tables.iter().for_each(output::json);
                } else {
                    report::list(&result::gathered(&tables, Vec::new()), &job, &self.talk.remote, false)?;
                }
                return Ok(true);
            }
            Action::Plan(named) => {
                let request = GetJobRequest { name: named.name(&clients).await?, view: View::Full as i32 };
                let job = client.get_job(request).await?.into_inner().job.unwrap_or_default();
                let scope = job.spec.as_ref().and_then(|spec| spec.scope.clone());
                let scope = scope.unwrap_or_else(|| scope::of(&[], &[]));
                plan::show(&clients, &job, &scope, &self.talk.remote, json).await?;
                if job.state() == JobState::PendingReview {
                    output::note(&plan::how_to_go_on(&job, &self.talk.remote));
                }
                return Ok(true);
            }
            Action::Findings(named) => {
                let job = named.name(&clients).await?;
                findings(&clients, &job, &self.talk.remote, json).await?;
                return Ok(true);
            }
        };
        show(&one.into_iter().collect::<Vec<_>>(), "", &self.talk.remote, json);
        Ok(true)
    }
}

async fn follow(clients: &Clients, remote: &Remote, name: &str, json: bool) -> anyhow::Result<bool> {
    let (short, runs_on) = (names::short(name), interrupt::RunsOn::default());
    let (watch, stop) = (format!("job watch {short}"), format!("job stop {short}"));
    runs_on.is(&format!("job {short}"), &remote.command(&watch), &remote.command(&stop));
    let mut progress = Progress::new();
    let job = runs_on.or_interrupted(watch::job(clients, name, |answer| {
        if json {
            output::json(answer);
        } else if let Some(job) = &answer.job {
            progress.job(job);
        }
    }));
    let job = job.await?;
    progress.end();
    if !json {
        show(std::slice::from_ref(&job), "", remote, false);
    }
    Ok(job.state() == JobState::Done)
}

/// Prints the findings of a job's plan.
async fn findings(clients: &Clients, job: &str, remote: &Remote, json: bool) -> anyhow::Result<()> {
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
        table::findings(&found, job, remote);
    }
    Ok(())
}

/// Prints jobs. `within` is the parent whose part of the names is left out.
fn show(jobs: &[pb::Job], within: &str, remote: &Remote, json: bool) {
    if json {
        return jobs.iter().for_each(output::json);
    }
    output::table(
        ["job", "state", "tables", "blocked", "skipped", "tasks", "failed", "rows", "created"],
        jobs.iter().map(|job| {
            let counts = job.progress.unwrap_or_default();
            [
                names::within(&job.name, within),
                output::word(job.state().as_str_name(), "JOB_STATE_"),
                format!("{}/{}", counts.tables_done, counts.tables_total),
                counts.tables_blocked.to_string(),
                counts.tables_skipped.to_string(),
                format!("{}/{}", counts.tasks_done, counts.tasks_total),
                counts.tasks_failed.to_string(),
                output::count(counts.rows_done),
                output::time(job.create_time.as_ref()),
            ]
        }),
    );
    for job in jobs {
        for reason in job.reason.iter().chain(&job.waiting_for) {
            let text = advice::for_people(&reason.message, &job.name, remote);
            output::text(&format!("\n{}\n  {}: {text}", names::short(&job.name), reason_text(reason.reason())));
        }
    }
}
