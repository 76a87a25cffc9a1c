//! `mms worker`: lists the workers that move rows, as the scheduler knows them.

use clap::{Args, Subcommand};
use mms_proto::page;
use mms_proto::scheduler::v1::ListWorkersRequest;
use tonic::Status;

use crate::command::Talk;
use crate::output;

/// Transfer workers.
#[derive(Debug, Args)]
#[command(after_help = "Example: mms worker list")]
pub struct Worker {
    #[command(flatten)]
    pub talk: Talk,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the workers that are registered.
    #[command(after_help = "Example: mms worker list --json | jq -r .endpoint")]
    List,
}

impl Worker {
    pub async fn run(self) -> anyhow::Result<bool> {
        let (clients, Action::List) = (self.talk.remote.connect()?, self.action);
        let workers = page::all(async |page_token| {
            let request = ListWorkersRequest { page_size: 500, page_token, ..ListWorkersRequest::default() };
            let page = clients.workers.clone().list_workers(request).await?.into_inner();
            Ok::<_, Status>((page.workers, page.next_page_token))
        });
        let workers = workers.await?;
        if self.talk.json {
            workers.iter().for_each(output::json);
            return Ok(true);
        }
        output::table(
            ["worker", "tasks", "slots", "pool", "seen", "endpoint"],
            workers.into_iter().map(|worker| {
                [
                    worker.name.strip_prefix("workers/").unwrap_or(&worker.name).to_owned(),
                    worker.leased_count.to_string(),
                    worker.slots.to_string(),
                    if worker.pool.is_empty() { "-".into() } else { worker.pool },
                    output::time(worker.seen_time.as_ref()),
                    worker.endpoint,
                ]
            }),
        );
        Ok(true)
    }
}
