//! `mms up`: the suite in one process.

use std::path::PathBuf;

use clap::Args;
use mms_server::{CancellationToken, Recover, cancel_on_signal};

use crate::output;
use crate::suite::{Suite, SuiteConfig};

/// Run the suite in one process on loopback, until SIGTERM.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms up
  mms up --data-dir /var/lib/mms --port-base 9401
  grpcurl -plaintext 127.0.0.1:7401 list")]
pub struct Up {
    /// Folder of durable state, of the encryption key and of the services' own token.
    #[arg(long, value_name = "DIR", default_value = "./mms-data", env = "MMS_DATA_DIR")]
    data_dir: PathBuf,
    /// Port of the registry; catalog, scheduler and transfer follow, and the pages of their metrics from 100 further on. 0
    /// picks free ports, told at start and kept in endpoints.json of the data folder.
    #[arg(long, value_name = "PORT", default_value_t = 7401, env = "MMS_PORT_BASE")]
    port_base: u16,
    /// Let data sources read tables that lie on this machine: for the sandbox.
    #[arg(long)]
    allow_local_files: bool,
    /// Folder below which secrets that a data source refers to as "file:PATH" may lie; can be repeated. Default
    /// /run/secrets and /etc/mms/secrets.
    #[arg(long = "secret-file-root", value_name = "DIR")]
    secret_file_roots: Vec<PathBuf>,
    /// What variables that a data source refers to as "env:NAME" may begin with; can be repeated. Default MMS_SECRET_,
    /// DATABRICKS_, AZURE_, ALIBABA_CLOUD_ and MAXCOMPUTE_.
    #[arg(long = "secret-variable-prefix", value_name = "PREFIX")]
    secret_variable_prefixes: Vec<String>,
    /// Name of the encryption key that wraps secrets from now on; a lost key's successor needs another one. Default main.
    #[arg(long, value_name = "ID")]
    encryption_key_id: Option<String>,
    /// Name of an encryption key that is lost: the secrets it wraps are given up; can be repeated.
    #[arg(long = "lost-encryption-key", value_name = "ID")]
    lost_encryption_keys: Vec<String>,
    /// Tasks that the worker of this process does at once. Default 2.
    #[arg(long, value_name = "N")]
    slots: Option<usize>,
    /// Seconds that a worker's lease lasts without a heartbeat. Default 30.
    #[arg(long, value_name = "N")]
    lease_seconds: Option<u64>,
    /// What to do when a service's durable state is missing or cannot be read.
    #[arg(long, value_name = "HOW", value_enum, default_value = "refuse")]
    recover: Recover,
    /// Print the endpoints as one line of JSON.
    #[arg(long)]
    json: bool,
}

impl Up {
    /// Serves until a signal, or until a service fails.
    pub async fn run(self) -> anyhow::Result<bool> {
        let stop = CancellationToken::new();
        tokio::spawn(cancel_on_signal(stop.clone()));
        let mut suite = Suite::start(SuiteConfig {
            data_dir: self.data_dir,
            port_base: self.port_base,
            allow_local_files: self.allow_local_files,
            secret_file_roots: self.secret_file_roots,
            secret_variable_prefixes: self.secret_variable_prefixes,
            encryption_key_id: self.encryption_key_id,
            lost_encryption_keys: self.lost_encryption_keys,
            metrics: true,
            slots: self.slots,
            lease_seconds: self.lease_seconds,
            recover: self.recover,
        })
        .await?;
        let at = &suite.endpoints;
        if self.json {
            output::line(&serde_json::to_string(at)?);
        } else {
            output::table(
                ["service", "endpoint", "metrics"],
                [
                    ("registry", &at.registry),
                    ("catalog", &at.catalog),
                    ("scheduler", &at.scheduler),
                    ("transfer", &at.transfer),
                ]
                .map(|(name, url)| [name.to_owned(), url.clone(), at.metrics.get(name).cloned().unwrap_or_default()]),
            );
        }
        let failure = tokio::select! {
            () = stop.cancelled() => None,
            error = suite.failed() => Some(error),
        };
        let stopped = suite.stop().await;
        match failure {
            Some(error) => Err(error),
            None => stopped.map(|()| true),
        }
    }
}
