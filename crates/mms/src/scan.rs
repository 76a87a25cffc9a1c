//! `mms scan`: starts, follows, cancels and lists scans of a source's catalog. Each action is a call of the catalog
//! service.

use clap::{Args, Subcommand};
use mms_proto::catalog::v1::{
    self as pb, CancelScanRequest, CreateScanRequest, GetScanRequest, ListScansRequest, ScanState,
};
use mms_proto::page;
use tonic::Status;

use crate::command::Talk;
use crate::interrupt::RunsOn;
use crate::names;
use crate::progress::Progress;
use crate::{output, watch};

/// Scans of a source's catalog.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms scan start azure-sales --schema orders --watch
  mms scan list azure-sales")]
pub struct Scan {
    #[command(flatten)]
    pub talk: Talk,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start a scan of a started source.
    #[command(after_help = "Example: mms scan start azure-sales --schema orders --watch")]
    Start {
        /// The source's id or name.
        source: String,
        /// Only this schema; can be repeated.
        #[arg(long = "schema", value_name = "SCHEMA")]
        schemas: Vec<String>,
        /// Follow it until it has ended.
        #[arg(long)]
        watch: bool,
    },
    /// Show one scan.
    #[command(after_help = "Example: mms scan get azure-sales/s1")]
    Get(Named),
    /// Follow a scan until it has ended; fails unless it is DONE.
    #[command(after_help = "Example: mms scan watch azure-sales/s1 --json")]
    Watch(Named),
    /// Cancel a scan; what it has read so far is kept.
    #[command(after_help = "Example: mms scan cancel azure-sales/s1")]
    Cancel(Named),
    /// List the scans of a source.
    #[command(after_help = "Example: mms scan list azure-sales")]
    List {
        /// The source's id or name.
        source: String,
    },
}

#[derive(Debug, Args)]
struct Named {
    /// The scan: SOURCE/SCAN, or its whole name.
    scan: String,
}

impl Scan {
    pub async fn run(self) -> anyhow::Result<bool> {
        let (clients, json) = (self.talk.remote.connect()?, self.talk.json);
        let mut client = clients.scans.clone();
        let name = match self.action {
            Action::List { source } => {
                let parent = names::source(&source);
                let mut request = ListScansRequest { parent, page_size: 500, ..Default::default() };
                let scans = page::all(async |page_token| {
                    request.page_token = page_token;
                    let page = client.list_scans(request.clone()).await?.into_inner();
                    Ok::<_, Status>((page.scans, page.next_page_token))
                });
                let scans = scans.await?;
                show(&scans, json);
                return Ok(true);
            }
            Action::Get(Named { scan: name }) => {
                let scan = client.get_scan(GetScanRequest { name: names::scan(&name) }).await?.into_inner().scan;
                show(&scan.into_iter().collect::<Vec<_>>(), json);
                return Ok(true);
            }
            Action::Cancel(Named { scan: name }) => {
                let scan = client.cancel_scan(CancelScanRequest { name: names::scan(&name) }).await?.into_inner().scan;
                show(&scan.into_iter().collect::<Vec<_>>(), json);
                return Ok(true);
            }
            Action::Watch(Named { scan }) => names::scan(&scan),
            Action::Start { source, schemas, watch } => {
                let request = CreateScanRequest {
                    parent: names::source(&source),
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
        let (mut progress, runs_on, short) = (Progress::new(), RunsOn::default(), names::short(&name));
        let command = |action: &str| self.talk.remote.command(&format!("scan {action} {short}"));
        runs_on.is(&format!("scan {short}"), &command("watch"), &command("cancel"));
        let followed = watch::scan(&clients, &name, |answer| {
            if json {
                output::json(answer);
            } else if let Some(scan) = &answer.scan {
                progress.scan(scan);
            }
        });
        let scan = runs_on.or_interrupted(followed).await?;
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
        ["scan", "state", "tables", "failed", "partitions", "started"],
        scans.iter().map(|scan| {
            let counts = scan.progress.unwrap_or_default();
            [
                names::short(&scan.name),
                output::word(scan.state().as_str_name(), "SCAN_STATE_"),
                output::count(counts.tables_read),
                output::count(counts.tables_failed),
                output::count(counts.partitions_found),
                output::time(scan.start_time.as_ref()),
            ]
        }),
    );
    for scan in scans.iter().filter(|scan| !scan.error.is_empty()) {
        output::text(&format!("\n{}\n  {}", names::short(&scan.name), scan.error));
    }
}
