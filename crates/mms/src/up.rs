//! `mms up`: runs the suite in one process until a signal or until a service fails. The suite itself is in `suite`.

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
    /// Port of the registry. Catalog, scheduler and transfer use the next three ports; the metrics of the four start
    /// 100 ports further on. 0 picks free ports, which are printed at the start and written to endpoints.json in the
    /// data folder.
    #[arg(long, value_name = "PORT", default_value_t = 7401, env = "MMS_PORT_BASE")]
    port_base: u16,
    /// Let data sources read tables on this machine's disk; for the sandbox.
    #[arg(long)]
    allow_local_files: bool,
    /// Folder below which a data source may refer to secrets as "file:PATH"; can be repeated. Default /run/secrets and
    /// /etc/mms/secrets.
    #[arg(long = "secret-file-root", value_name = "DIR")]
    secret_file_roots: Vec<PathBuf>,
    /// Prefix of the environment variables that a data source may refer to as "env:NAME"; can be repeated. Default
    /// MMS_SECRET_, DATABRICKS_, AZURE_, ALIBABA_CLOUD_ and MAXCOMPUTE_.
    #[arg(long = "secret-variable-prefix", value_name = "PREFIX")]
    secret_variable_prefixes: Vec<String>,
    /// Id of the key that encrypts secrets from now on. The successor of a lost key needs another id. Default main.
    #[arg(long, value_name = "ID")]
    encryption_key_id: Option<String>,
    /// Id of an encryption key that is lost: the secrets encrypted with it are given up; can be repeated.
    #[arg(long = "lost-encryption-key", value_name = "ID")]
    lost_encryption_keys: Vec<String>,
    /// Most tasks that the worker of this process runs at once. Default 2.
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
