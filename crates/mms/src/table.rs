//! `mms table`: tables of a source, and how each would be migrated.

use clap::{Args, Subcommand};
use mms_proto::catalog::v1::{self as pb, GetTableRequest, ListTablesRequest, PlanTableRequest};
use mms_proto::error::finding_text;
use mms_proto::page;
use mms_proto::types::v1::{Severity, View};
use tonic::Status;

use crate::client::source_name;
use crate::command::Talk;
use crate::output;

/// Tables of a source.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms table list azure-sales --json | jq -r 'select(.state == \"MIGRATION_STATE_FAILED\") | .name'
  mms table plan dataSources/azure-sales/schemas/orders/tables/lines")]
pub struct Table {
    #[command(flatten)]
    talk: Talk,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List tables.
    #[command(after_help = "\
Examples:
  mms table list azure-sales
  mms table list dataSources/azure-sales/schemas/orders")]
    List {
        /// The source's id or name, or dataSources/SOURCE/schemas/SCHEMA.
        parent: String,
        /// Expression over the fields of Table. A catalog that has no filters yet answers NOT_YET.
        #[arg(long, default_value = "", hide_default_value = true)]
        filter: String,
    },
    /// Show one table with its columns.
    #[command(after_help = "Example: mms table get dataSources/azure-sales/schemas/orders/tables/lines")]
    Get {
        /// Its name, dataSources/SOURCE/schemas/SCHEMA/tables/TABLE.
        table: String,
    },
    /// Tell how a table would be migrated: its definition at the target, and what was found. Fails on a blocker.
    #[command(after_help = "Example: mms table plan dataSources/azure-sales/schemas/orders/tables/lines")]
    Plan {
        /// Its name, dataSources/SOURCE/schemas/SCHEMA/tables/TABLE.
        table: String,
    },
}

impl Table {
    /// Runs it.
    pub async fn run(self) -> anyhow::Result<bool> {
        let (clients, json) = (self.talk.remote.connect()?, self.talk.json);
        let mut client = clients.catalog.clone();
        match self.action {
            Action::List { parent, filter } => {
                let parent = match parent.contains("/schemas/") {
                    true => parent,
                    false => format!("{}/schemas/-", source_name(&parent)),
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
                let answer =
                    client.get_table(GetTableRequest { name: table, view: View::Full as i32 }).await?.into_inner();
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
                let answer = client.plan_table(PlanTableRequest { name: table }).await?.into_inner();
                let plan = answer.plan.unwrap_or_default();
                if json {
                    output::json(&plan);
                } else {
                    if let Some(target) = &plan.target {
                        output::line(&target.create_sql);
                    }
                    findings(&plan.findings);
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
        ["name", "state", "rows", "size", "partitions", "scan error"],
        tables.iter().map(|table| {
            [
                table.name.clone(),
                output::word(table.state().as_str_name(), "MIGRATION_STATE_"),
                output::count_or_dash(table.row_count),
                table.size_bytes.map_or_else(|| "-".into(), output::bytes),
                output::count(table.partitions.unwrap_or_default().total),
                table.scan_error.clone(),
            ]
        }),
    );
}

/// What plans found, for people.
pub fn findings(findings: &[mms_proto::types::v1::Finding]) {
    output::table(
        ["severity", "reason", "table", "column", "finding"],
        findings.iter().map(|finding| {
            [
                output::word(finding.severity().as_str_name(), "SEVERITY_"),
                finding_text(finding.reason()).to_owned(),
                finding.table.clone(),
                finding.column.clone(),
                format!("{} {}", finding.message, finding.remedy).trim().to_owned(),
            ]
        }),
    );
}
