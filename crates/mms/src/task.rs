//! `mms task`: lists, follows and retries tasks of jobs, and prints their logs. Each action is a call of the scheduler.

use clap::{Args, Subcommand};
use mms_proto::error::reason_text;
use mms_proto::page;
use mms_proto::scheduler::v1::{
    self as pb, GetTaskRequest, ListTaskLogsRequest, ListTasksRequest, RetryTaskRequest, TaskState,
};
use mms_proto::types::v1::View;
use tonic::Status;

use crate::client::Remote;
use crate::command::Talk;
use crate::{advice, names, output, watch};

/// Tasks of jobs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms task list azure-sales/j1
  mms task logs azure-sales/j1/t1")]
pub struct Task {
    #[command(flatten)]
    pub talk: Talk,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the tasks of a job.
    #[command(after_help = "\
Examples:
  mms task list azure-sales/j1 --json | jq -r .state
  mms task list azure-sales/j1 --filter \"state = 'DATA_FAILED'\" --order-by \"bytes_total desc\"")]
    List {
        /// The job: SOURCE/JOB, its id alone, or its whole name.
        job: String,
        /// Only tasks for which this expression over their fields is true.
        #[arg(long, default_value = "", value_name = "EXPRESSION")]
        filter: String,
        /// Fields to sort by; "desc" after a field sorts it in descending order.
        #[arg(long, default_value = "", value_name = "FIELDS")]
        order_by: String,
    },
    /// Show one task.
    #[command(after_help = "Example: mms task get azure-sales/j1/t1")]
    Get(Named),
    /// Follow a task until it has ended; fails unless it is DONE.
    #[command(after_help = "Example: mms task watch azure-sales/j1/t1 --json")]
    Watch(Named),
    /// Show the log of a task, oldest line first.
    #[command(after_help = "Example: mms task logs azure-sales/j1/t1")]
    Logs(Named),
    /// Run a failed task again.
    #[command(after_help = "Example: mms task retry azure-sales/j1/t1")]
    Retry(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The task: SOURCE/JOB/TASK, or its whole name.
    task: String,
}

impl Task {
    pub async fn run(self) -> anyhow::Result<bool> {
        let (clients, json) = (self.talk.remote.connect()?, self.talk.json);
        let (mut client, mut within) = (clients.jobs.clone(), String::new());
        let tasks = match self.action {
            Action::List { job, filter, order_by } => {
                let parent = names::job(&clients, &job).await?;
                let of = parent.clone();
                let mut request =
                    ListTasksRequest { parent: of, page_size: 500, filter, order_by, ..Default::default() };
                let tasks = page::all(async |page_token| {
                    request.page_token = page_token;
                    let page = client.list_tasks(request.clone()).await?.into_inner();
                    Ok::<_, Status>((page.tasks, page.next_page_token))
                });
                within = parent;
                tasks.await?
            }
            Action::Get(Named { task: name }) => {
                let request = GetTaskRequest { name: names::task(&name), view: View::Full as i32 };
                client.get_task(request).await?.into_inner().task.into_iter().collect()
            }
            Action::Watch(Named { task: name }) => {
                let task = watch::task(&clients, &names::task(&name), |answer| {
                    if json {
                        output::json(answer);
                    } else if let Some(task) = &answer.task {
                        let state = output::word(task.state().as_str_name(), "TASK_STATE_");
                        output::note(&format!(
                            "attempt {} {state}, {} rows",
                            task.attempt,
                            output::count(task.rows_done)
                        ));
                    }
                })
                .await?;
                if !json {
                    show(std::slice::from_ref(&task), "", &self.talk.remote, false);
                }
                return Ok(task.state() == TaskState::Done);
            }
            Action::Retry(Named { task: name }) => {
                let request = RetryTaskRequest { name: names::task(&name), ..Default::default() };
                client.retry_task(request).await?.into_inner().task.into_iter().collect()
            }
            Action::Logs(Named { task }) => {
                let mut request =
                    ListTaskLogsRequest { parent: names::task(&task), page_size: 1000, ..Default::default() };
                let logs = page::all(async |page_token| {
                    request.page_token = page_token;
                    let page = client.list_task_logs(request.clone()).await?.into_inner();
                    Ok::<_, Status>((page.logs, page.next_page_token))
                });
                for log in logs.await? {
                    if json { output::json(&log) } else { output::line(&log_text(&log)) }
                }
                return Ok(true);
            }
        };
        show(&tasks, &within, &self.talk.remote, json);
        Ok(true)
    }
}

fn log_text(log: &pb::TaskLog) -> String {
    let state = output::word(log.state().as_str_name(), "TASK_STATE_");
    let level = output::word(log.level().as_str_name(), "LOG_LEVEL_");
    format!("{} {level} attempt {} {state}: {}", output::time(log.time.as_ref()), log.attempt, log.message)
}

/// Prints tasks. `within` is the job whose part of the names is left out.
fn show(tasks: &[pb::Task], within: &str, remote: &Remote, json: bool) {
    if json {
        return tasks.iter().for_each(output::json);
    }
    output::table(
        ["task", "table", "state", "attempt", "units", "rows", "worker"],
        tasks.iter().map(|task| {
            [
                names::within(&task.name, within),
                names::table(&task.table),
                output::word(task.state().as_str_name(), "TASK_STATE_"),
                task.attempt.to_string(),
                format!("{}/{}", task.units_done, task.units_total),
                output::count(task.rows_done),
                task.worker.clone(),
            ]
        }),
    );
    for task in tasks {
        if let Some(reason) = &task.reason {
            let text = advice::for_people(&reason.message, &task.name, remote);
            output::text(&format!("\n{}\n  {}: {text}", names::short(&task.name), reason_text(reason.reason())));
        }
    }
}
