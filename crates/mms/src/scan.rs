//! `mms scan`: scans of a source's catalog.

use clap::{Args, Subcommand};
use mms_proto::catalog::v1::{self as pb, CreateScanRequest, ListScansRequest, ScanState};

use crate::client::source_name;
use crate::command::Talk;
use crate::progress::Progress;
use crate::{output, watch};

/// Scans of a source's catalog.
#[derive(Debug, Args)]
#[command(after_help = "Example: mms scan start sales --schema orders --watch")]
pub struct Scan {
    #[command(flatten)]
    talk: Talk,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start a scan of a started source.
    Start {
        /// The source's id or name.
        source: String,
        /// Only this schema; can be repeated.
        #[arg(long = "schema", value_name = "SCHEMA")]
        schemas: Vec<String>,
        /// Follow it to its end.
        #[arg(long)]
        watch: bool,
    },
    /// Follow a scan to its end; fails unless it is DONE.
    Watch {
        /// The scan's name, dataSources/SOURCE/scans/SCAN.
        scan: String,
    },
    /// List the scans of a source.
    List {
        /// The source's id or name.
        source: String,
    },
}

impl Scan {
    /// Runs it.
    pub async fn run(self) -> anyhow::Result<bool> {
        let (clients, json) = (self.talk.remote.connect()?, self.talk.json);
        let mut client = clients.scans.clone();
        let name = match self.action {
            Action::List { source } => {
                let request = ListScansRequest { parent: source_name(&source), page_size: 100, ..Default::default() };
                show(&client.list_scans(request).await?.into_inner().scans, json);
                return Ok(true);
            }
            Action::Watch { scan } => scan,
            Action::Start { source, schemas, watch } => {
                let request = CreateScanRequest {
                    parent: source_name(&source),
                    scan: Some(pb::Scan { schemas, ..Default::default() }),
                    ..Default::default()
                };
                let scan = client.create_scan(request).await?.into_inner().scan.unwrap_or_default();
                if !watch {
                    show(&[scan], json);
                    return Ok(true);
                }
                scan.name
            }
        };
        let mut progress = Progress::new();
        let scan =
            watch::scan(&clients, &name, |scan| if json { output::json(scan) } else { progress.scan(scan) }).await?;
        progress.end();
        if !json {
            show(std::slice::from_ref(&scan), false);
        }
        Ok(scan.state() == ScanState::Done)
    }
}

fn show(scans: &[pb::Scan], json: bool) {
    if json {
        return scans.iter().for_each(output::json);
    }
    output::table(
        ["name", "state", "tables", "failed", "partitions", "started", "error"],
        scans.iter().map(|scan| {
            let counts = scan.progress.unwrap_or_default();
            [
                scan.name.clone(),
                output::word(scan.state().as_str_name(), "SCAN_STATE_"),
                output::count(counts.tables_read),
                output::count(counts.tables_failed),
                output::count(counts.partitions_found),
                output::time(scan.start_time.as_ref()),
                scan.error.clone(),
            ]
        }),
    );
}
