//! `mms source`: creates, checks, starts, stops and changes data sources of a running suite. Files are read in `spec`
//! and compared in `apply`; everything else is a call of the registry.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mms_proto::page;
use mms_proto::registry::v1::check_data_source_response::Event;
use mms_proto::registry::v1::{
    CheckState, DataSource, DeleteDataSourceRequest, GetDataSourceRequest, ListDataSourcesRequest,
    StartDataSourceRequest, StopDataSourceRequest, UndeleteDataSourceRequest, UpdateDataSourceRequest,
};
use tonic::Status;

use crate::command::Talk;
use crate::names;
use crate::{apply, line, output, spec};

/// Data sources.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms source create -f azure-databricks.yaml
  mms source check azure-sales && mms source start azure-sales
  mms source list --json | jq -r .name")]
pub struct Source {
    #[command(flatten)]
    pub talk: Talk,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a data source from a CreateDataSourceRequest.
    #[command(after_help = "Example: mms source create -f azure-databricks.yaml")]
    Create {
        /// The request, YAML or JSON; `-` is stdin.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Create the data source of a file, or change the existing one to match the file.
    #[command(after_help = "\
Examples:
  mms source apply -f azure-databricks.yaml --dry-run
  mms source apply -f azure-databricks.yaml")]
    Apply {
        /// The CreateDataSourceRequest, YAML or JSON; `-` is stdin. Its dataSourceId is required.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Only show what would change.
        #[arg(long)]
        dry_run: bool,
    },
    /// Change fields of a data source to their values in a file.
    #[command(after_help = "\
Example:
  mms source update azure-sales -f azure-databricks.yaml --field settings.maxConcurrentTasks --field displayName")]
    Update {
        /// The source's id or name.
        source: String,
        /// The request that the source was created from, with the new values, YAML or JSON; `-` is stdin.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// A field to take from the file, by its name there, for example settings.maxConcurrentTasks; can be repeated.
        /// All others stay as they are.
        #[arg(long = "field", value_name = "PATH", required = true)]
        fields: Vec<String>,
    },
    /// List data sources.
    #[command(after_help = "Example: mms source list --json | jq -r .name")]
    List,
    /// Show one data source.
    #[command(after_help = "Example: mms source get azure-sales --json")]
    Get {
        /// The source's id or name.
        source: String,
    },
    /// Check the connections to the workspace, the storage and the project, step by step; fails if a step fails.
    #[command(after_help = "Example: mms source check azure-sales --start-cluster")]
    Check {
        /// The source's id or name.
        source: String,
        /// Also start the cluster if it is not running.
        #[arg(long)]
        start_cluster: bool,
    },
    /// Start a data source, so that scans and jobs can connect.
    #[command(after_help = "Example: mms source start azure-sales")]
    Start {
        /// The source's id or name.
        source: String,
    },
    /// Stop a data source.
    #[command(after_help = "Example: mms source stop azure-sales --force")]
    Stop {
        /// The source's id or name.
        source: String,
        /// Stop it even while it is in use.
        #[arg(long)]
        force: bool,
    },
    /// Delete a data source; it can be undeleted for 30 days.
    #[command(after_help = "Example: mms source delete azure-sales")]
    Delete {
        /// The source's id or name.
        source: String,
        /// Delete it even if it is in use or started.
        #[arg(long)]
        force: bool,
    },
    /// Restore a deleted data source; it is stopped afterwards.
    #[command(after_help = "Example: mms source undelete azure-sales")]
    Undelete {
        /// The source's id or name.
        source: String,
    },
}

impl Source {
    pub async fn run(self) -> anyhow::Result<bool> {
        let (clients, json) = (self.talk.remote.connect()?, self.talk.json);
        let mut client = clients.sources.clone();
        let one = match self.action {
            Action::Create { file } => {
                let spec = spec::read(&file)?;
                let created = client.create_data_source(spec.message.clone()).await;
                created.map_err(|status| spec.explained(status))?.into_inner().data_source
            }
            Action::Apply { file, dry_run } => {
                Some(apply::apply(&clients, &spec::read(&file)?, &self.talk.remote, dry_run).await?)
            }
            Action::Update { source, file, fields } => {
                let spec = spec::read(&file)?;
                let paths = fields.iter().map(|field| apply::field_path(field)).collect::<Result<_, _>>()?;
                let request = UpdateDataSourceRequest {
                    name: names::source(&source),
                    data_source: spec.message.data_source.clone(),
                    update_mask: Some(prost_types::FieldMask { paths }),
                    ..Default::default()
                };
                let changed = client.update_data_source(request).await;
                changed.map_err(|status| spec.explained(status))?.into_inner().data_source
            }
            Action::Undelete { source } => {
                let request = UndeleteDataSourceRequest { name: names::source(&source) };
                client.undelete_data_source(request).await?.into_inner().data_source
            }
            Action::List => {
                let all = page::all(async |page_token| {
                    let request = ListDataSourcesRequest { page_token, ..Default::default() };
                    let page = client.list_data_sources(request).await?.into_inner();
                    Ok::<_, Status>((page.data_sources, page.next_page_token))
                });
                let all = all.await?;
                show(&all, json);
                return Ok(true);
            }
            Action::Get { source } => {
                let request = GetDataSourceRequest { name: names::source(&source) };
                client.get_data_source(request).await?.into_inner().data_source
            }
            Action::Check { source, start_cluster } => {
                let report = line::check(&clients, &names::source(&source), start_cluster, |answer| {
                    if json {
                        output::json(answer);
                    } else if let Some(Event::Step(step)) = &answer.event
                        && step.state() != CheckState::Running
                    {
                        output::text(&line::step_text(step));
                    }
                })
                .await?;
                return Ok(report.state() != CheckState::Failed);
            }
            Action::Start { source } => {
                let request = StartDataSourceRequest { name: names::source(&source), ..Default::default() };
                client.start_data_source(request).await?.into_inner().data_source
            }
            Action::Stop { source, force } => {
                let request = StopDataSourceRequest { name: names::source(&source), force };
                client.stop_data_source(request).await?.into_inner().data_source
            }
            Action::Delete { source, force } => {
                let request = DeleteDataSourceRequest { name: names::source(&source), force, ..Default::default() };
                client.delete_data_source(request).await?.into_inner().data_source
            }
        };
        show(&one.into_iter().collect::<Vec<_>>(), json);
        Ok(true)
    }
}

fn show(sources: &[DataSource], json: bool) {
    if json {
        return sources.iter().for_each(output::json);
    }
    output::table(
        ["name", "state", "catalog", "project", "checked", "updated"],
        sources.iter().map(|source| {
            let databricks = source.databricks().cloned().unwrap_or_default();
            let target = source.max_compute.clone().unwrap_or_default();
            let checked = source.last_check.as_ref().map(|check| check.state().as_str_name());
            [
                names::short(&source.name),
                output::word(source.state().as_str_name(), "DATA_SOURCE_STATE_"),
                databricks.catalog,
                target.default_project,
                checked.map_or_else(|| "-".into(), |state| output::word(state, "CHECK_STATE_")),
                output::time(source.update_time.as_ref()),
            ]
        }),
    );
    for source in sources.iter().filter(|source| !source.state_message.is_empty()) {
        output::text(&format!("\n{}\n  {}", names::short(&source.name), source.state_message));
    }
}
