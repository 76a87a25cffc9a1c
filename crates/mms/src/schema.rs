//! `mms schema`: lists the schemas that scans of a source found, with the migration state of their tables.

use clap::{Args, Subcommand};
use mms_proto::catalog::v1::{ListSchemasRequest, Schema as Found};
use mms_proto::page;
use tonic::Status;

use crate::command::Talk;
use crate::{names, output};

/// Schemas of a source.
#[derive(Debug, Args)]
#[command(after_help = "Example: mms schema list azure-sales")]
pub struct Schema {
    #[command(flatten)]
    pub talk: Talk,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List schemas, with the migration state of their tables.
    #[command(after_help = "Example: mms schema list azure-sales --json | jq -r .sourceName")]
    List {
        /// The source's id or name.
        source: String,
    },
}

impl Schema {
    pub async fn run(self) -> anyhow::Result<bool> {
        let (clients, Action::List { source }) = (self.talk.remote.connect()?, self.action);
        let mut request =
            ListSchemasRequest { parent: names::source(&source), page_size: 500, ..ListSchemasRequest::default() };
        let schemas = page::all(async |page_token| {
            request.page_token = page_token;
            let page = clients.catalog.clone().list_schemas(request.clone()).await?.into_inner();
            Ok::<_, Status>((page.schemas, page.next_page_token))
        });
        let schemas = schemas.await?;
        if self.talk.json {
            schemas.iter().for_each(output::json);
        } else {
            show(&schemas);
        }
        Ok(true)
    }
}

fn show(schemas: &[Found]) {
    output::table(
        ["schema", "state", "tables", "done", "rows", "size"],
        schemas.iter().map(|schema| {
            let tables = schema.tables.unwrap_or_default();
            [
                schema.source_name.clone(),
                output::word(schema.state().as_str_name(), "MIGRATION_STATE_"),
                output::count(tables.total),
                output::count(tables.done),
                output::count(schema.row_count),
                output::bytes(schema.size_bytes),
            ]
        }),
    );
    for schema in schemas.iter().filter(|schema| !schema.scan_error.is_empty()) {
        output::text(&format!("\n{} could not be listed\n  {}", schema.source_name, schema.scan_error));
    }
}
