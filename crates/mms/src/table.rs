//! `mms table`: lists the tables of a source, and shows how each would be migrated. Also prints findings for other
//! commands.

use clap::{Args, Subcommand};
use mms_proto::catalog::v1::{self as pb, GetTableRequest, ListTablesRequest, PlanTableRequest};
use mms_proto::page;
use mms_proto::types::v1::{Severity, View};
use tonic::Status;

use crate::client::Remote;
use crate::command::Talk;
use crate::names;
use crate::result::Why;
use crate::{output, report};

/// Tables of a source.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms table list azure-sales --json | jq -r 'select(.state == \"MIGRATION_STATE_FAILED\") | .name'
  mms table plan azure-sales/orders.lines")]
pub struct Table {
    #[command(flatten)]
    pub talk: Talk,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List tables.
    #[command(after_help = "\
Examples:
  mms table list azure-sales
  mms table list azure-sales --schema orders")]
    List {
        /// The source's id or name, or dataSources/SOURCE/schemas/SCHEMA.
        parent: String,
        /// Only this schema.
        #[arg(long, value_name = "SCHEMA")]
        schema: Option<String>,
        /// Only tables for which this expression over their fields is true.
        #[arg(long, default_value = "", hide_default_value = true)]
        filter: String,
    },
    /// Show one table with its columns.
    #[command(after_help = "Example: mms table get azure-sales/orders.lines")]
    Get {
        /// The table: SCHEMA.TABLE, SOURCE/SCHEMA.TABLE, or its whole name.
        table: String,
    },
    /// Show how a table would be migrated: its definition at the target and the findings. Fails on a blocker.
    #[command(after_help = "Example: mms table plan azure-sales/orders.lines")]
    Plan {
        /// The table: SCHEMA.TABLE, SOURCE/SCHEMA.TABLE, or its whole name.
        table: String,
    },
}

impl Table {
    pub async fn run(self) -> anyhow::Result<bool> {
        let (clients, json) = (self.talk.remote.connect()?, self.talk.json);
        let mut client = clients.catalog.clone();
        match self.action {
            Action::List { parent, schema, filter } => {
                let parent = match parent.contains("/schemas/") {
                    true => parent,
                    false => names::schema(&names::source(&parent), schema.as_deref())?,
                };
                let mut request = ListTablesRequest { parent, filter, page_size: 500, ..Default::default() };
                let tables = page::all(async |page_token| {
                    request.page_token = page_token;
                    let page = client.list_tables(request.clone()).await?.into_inner();
                    Ok::<_, Status>((page.tables, page.next_page_token))
                });
                let tables = tables.await?;
                list(&tables, json);
            }
            Action::Get { table } => {
                let name = names::source_table(&clients, &table).await?;
                let answer = client.get_table(GetTableRequest { name, view: View::Full as i32 }).await?.into_inner();
                let table = answer.table.unwrap_or_default();
                list(std::slice::from_ref(&table), json);
                if !json {
                    output::table(
                        ["column", "type", "nullable", "comment"],
                        table.columns.into_iter().map(|c| [c.name, c.r#type, c.nullable.to_string(), c.comment]),
                    );
                }
            }
            Action::Plan { table } => {
                let name = names::source_table(&clients, &table).await?;
                let answer = client.plan_table(PlanTableRequest { name }).await?.into_inner();
                let plan = answer.plan.unwrap_or_default();
                if json {
                    output::json(&plan);
                } else {
                    if let Some(target) = &plan.target {
                        output::line(&target.create_sql);
                    }
                    findings(&plan.findings, &plan.table, &self.talk.remote);
                }
                return Ok(plan.findings.iter().all(|finding| finding.severity() != Severity::Blocker));
            }
        }
        Ok(true)
    }
}

fn list(tables: &[pb::Table], json: bool) {
    if json {
        return tables.iter().for_each(output::json);
    }
    output::table(
        ["table", "state", "rows", "size", "partitions"],
        tables.iter().map(|table| {
            [
                names::table(&table.name),
                output::word(table.state().as_str_name(), "MIGRATION_STATE_"),
                output::count_or_dash(table.row_count),
                table.size_bytes.map_or_else(|| "-".into(), output::bytes),
                output::count(table.partitions.unwrap_or_default().total),
            ]
        }),
    );
    for table in tables.iter().filter(|table| !table.scan_error.is_empty()) {
        output::line(&format!("\n{} could not be read\n  {}", names::table(&table.name), table.scan_error));
    }
}

/// Prints findings for people. What to do is on its own line.
pub fn findings(findings: &[mms_proto::types::v1::Finding], resource: &str, remote: &Remote) {
    if findings.is_empty() {
        return output::note("no findings");
    }
    for finding in findings {
        let severity = output::word(finding.severity().as_str_name(), "SEVERITY_");
        output::line(&format!("{severity} {}", names::table(&finding.table)));
        output::text(&report::why_text(&Why::of_finding(finding), resource, remote));
    }
}
