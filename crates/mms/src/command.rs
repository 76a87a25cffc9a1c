//! The command line: its subcommands and global options. Each subcommand has its own file.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use mms_server::config::{LogFormat, usual_filter};

use crate::client::Remote;
use crate::{demo, docs, health, job, migrate, output, sandbox, scan, schema, shell, source, table, task, up, worker};

/// Migrates a Databricks Unity Catalog catalog into Alibaba Cloud MaxCompute.
#[derive(Debug, Parser)]
#[command(name = "mms", version, propagate_version = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to log on stderr, in the syntax of tracing's EnvFilter, for example "info,mms_transfer=debug".
    #[arg(long, global = true, value_name = "FILTER", env = "MMS_LOG", help_heading = GLOBAL)]
    log: Option<String>,
    /// Format of the log lines.
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value = "human",
        env = "MMS_TELEMETRY__FORMAT",
        help_heading = GLOBAL
    )]
    log_format: LogFormat,
    /// OTLP collector for traces and metrics, gRPC, for example http://127.0.0.1:4317.
    #[arg(long, global = true, value_name = "URL", env = "MMS_TELEMETRY__OTLP_ENDPOINT", help_heading = GLOBAL)]
    otlp_endpoint: Option<String>,
    /// CA of an https collector's certificate, PEM. Default: the CAs that the system trusts.
    #[arg(long, global = true, value_name = "FILE", env = "MMS_TELEMETRY__OTLP_CA_FILE", help_heading = GLOBAL)]
    otlp_ca_file: Option<PathBuf>,
    /// Print only results and failures.
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

/// The services of a suite in one process.
const SERVICES: [&str; 4] = ["registry", "catalog", "scheduler", "transfer"];

/// The heading under which help shows the options that all commands have.
pub const GLOBAL: &str = "Global options";

const EXAMPLES: &str = "\
Examples:
  mms demo                              watch tables arrive, all on this machine
  mms up                                the suite on ports 7401 to 7404
  mms migrate -f azure-databricks.yaml  your own workspace, by a running suite
  mms job list my-source --json | jq .name

Exit codes: 0 everything succeeded, 1 something failed, 64 the command line is wrong, 130 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the suite in one process, until SIGTERM.
    Up(up::Up),
    /// Serve a Databricks workspace and a MaxCompute project on this machine, until SIGTERM.
    Sandbox(sandbox::Sandbox),
    /// Migrate tables from the sandbox workspace to the sandbox project, and show the result.
    Demo(demo::Demo),
    /// Check, start and scan a data source, then move its tables, in one command against a running suite.
    Migrate(migrate::Migrate),
    /// Data sources.
    Source(source::Source),
    /// Scans of a source's catalog.
    Scan(scan::Scan),
    /// Schemas of a source.
    Schema(schema::Schema),
    /// Tables of a source.
    Table(table::Table),
    /// Migration jobs.
    Job(job::Job),
    /// Tasks of jobs.
    Task(task::Task),
    /// Timers: jobs that recur.
    Timer(Box<crate::timer::Timer>),
    /// The workers that move rows.
    Worker(worker::Worker),
    /// Check that the services are serving; fails unless all of them are.
    Health(health::Health),
    /// Explain a reason that a command, a job or a service gave.
    Docs(docs::Docs),
    /// Print the completion script for a shell.
    Completions(shell::Completions),
    /// Write a manual page for the command and each of its subcommands.
    Man(shell::Man),
}

/// How the client commands reach the suite, and how they print.
#[derive(Debug, clap::Args)]
pub struct Talk {
    #[command(flatten)]
    pub remote: Remote,
    /// Print canonical proto JSON on stdout, one message a line.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
}

impl Cli {
    /// How the suite is reached, for the commands that are printed after a failure.
    pub fn remote(&self) -> Remote {
        let talk = match &self.command {
            Command::Up(_)
            | Command::Sandbox(_)
            | Command::Demo(_)
            | Command::Docs(_)
            | Command::Completions(_)
            | Command::Man(_) => return Remote::default(),
            Command::Migrate(migrate) => &migrate.talk,
            Command::Source(source) => &source.talk,
            Command::Scan(scan) => &scan.talk,
            Command::Schema(schema) => &schema.talk,
            Command::Table(table) => &table.talk,
            Command::Job(job) => &job.talk,
            Command::Task(task) => &task.talk,
            Command::Timer(timer) => &timer.talk,
            Command::Worker(worker) => &worker.talk,
            Command::Health(health) => &health.talk,
        };
        talk.remote.clone()
    }

    /// Runs the command. False means that something did not succeed and was reported.
    pub async fn run(self) -> anyhow::Result<bool> {
        if self.quiet {
            output::be_quiet();
        }
        let usual = match &self.command {
            Command::Up(_) => usual_filter("info"),
            // The results already show what is wrong with a table. opentelemetry_sdk logs an error for metrics that
            // nobody reads.
            Command::Demo(_) => format!("{},opentelemetry_sdk=off", usual_filter("error")),
            _ => usual_filter("warn"),
        };
        let telemetry = mms_server::TelemetryConfig {
            format: self.log_format,
            filter: self.log.unwrap_or(usual),
            otlp_endpoint: self.otlp_endpoint,
            otlp_ca_file: self.otlp_ca_file,
        };
        let serves: &[_] = match &self.command {
            Command::Up(_) | Command::Demo(_) => &SERVICES,
            _ => &[],
        };
        let _telemetry = mms_server::telemetry::init(&telemetry, "command", serves)?;
        match self.command {
            Command::Up(up) => Box::pin(up.run()).await,
            Command::Sandbox(sandbox) => Box::pin(sandbox.run()).await,
            Command::Demo(demo) => Box::pin(demo.run()).await,
            Command::Migrate(migrate) => Box::pin(migrate.run()).await,
            Command::Source(source) => Box::pin(source.run()).await,
            Command::Scan(scan) => Box::pin(scan.run()).await,
            Command::Schema(schema) => Box::pin(schema.run()).await,
            Command::Table(table) => Box::pin(table.run()).await,
            Command::Job(job) => Box::pin(job.run()).await,
            Command::Task(task) => Box::pin(task.run()).await,
            Command::Timer(timer) => Box::pin(timer.run()).await,
            Command::Worker(worker) => Box::pin(worker.run()).await,
            Command::Health(health) => Box::pin(health.run()).await,
            Command::Docs(docs) => docs.run(),
            Command::Completions(completions) => Ok(completions.run()),
            Command::Man(man) => man.run(),
        }
    }
}
