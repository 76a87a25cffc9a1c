//! The suite under test, as `mms up` or as its four programs, and generated clients to it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use mms_proto::catalog::v1 as catalog;
use mms_proto::catalog::v1::scan_service_client::ScanServiceClient;
use mms_proto::registry::v1 as registry;
use mms_proto::registry::v1::data_source_service_client::DataSourceServiceClient;
use mms_proto::scheduler::v1 as scheduler;
use mms_proto::scheduler::v1::job_service_client::JobServiceClient;
use mms_proto::transfer::v1 as transfer;
use mms_proto::transfer::v1::transfer_service_client::TransferServiceClient;
use mms_server::{Client, ClientConfig};
use scheduler::{JobState, job_spec};
use serde_json::Value;

use crate::process::{Process, program};
use crate::sandbox::free_port;

/// How long anything may take that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The four services, in the order of their ports.
pub const SERVICES: [&str; 4] = ["registry", "catalog", "scheduler", "transfer"];

/// A running suite.
pub struct Suite {
    folder: PathBuf,
    ports: [u16; 4],
    /// The processes, by name: the four services and further workers, or one `up`.
    pub processes: Vec<(String, Process)>,
    lease_seconds: u64,
    /// Further settings of the section `transfer`.
    transfer: Vec<(String, String)>,
    /// Ports of further workers, by name.
    further: std::collections::BTreeMap<String, u16>,
}

fn private(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

impl Suite {
    /// Starts `mms up`.
    pub async fn up(folder: &Path) -> anyhow::Result<Self> {
        let mut suite = Self::new(folder)?;
        let mut command = Command::new(program("mms")?);
        let base = suite.ports[0];
        suite.ports = [base, base + 1, base + 2, base + 3];
        command
            .args(["up", "--allow-local-files", "--port-base", &base.to_string(), "--data-dir"])
            .arg(folder.join("up"));
        let process = Process::start("up", &mut command, folder)?;
        suite.processes.push(("up".to_owned(), process));
        suite.answers().await?;
        Ok(suite)
    }

    /// Starts the four programs, with leases of so many seconds.
    pub async fn processes(folder: &Path, lease_seconds: u64) -> anyhow::Result<Self> {
        Self::processes_with(folder, lease_seconds, &[]).await
    }

    /// The same, with settings of the workers.
    pub async fn processes_with(folder: &Path, lease_seconds: u64, transfer: &[(&str, &str)]) -> anyhow::Result<Self> {
        let transfer = transfer.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut suite = Self { lease_seconds, transfer, ..Self::new(folder)? };
        for service in SERVICES {
            suite.start(service, service)?;
        }
        suite.answers().await?;
        Ok(suite)
    }

    fn new(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        private(&folder.join("service-token"), "the-token-of-the-suite-under-test")?;
        private(&folder.join("key"), "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")?;
        // Four in a row for `up`, which counts on from the first.
        let ports = four_free_ports()?;
        Ok(Self {
            folder: folder.to_owned(),
            ports,
            processes: Vec::new(),
            lease_seconds: 30,
            transfer: Vec::new(),
            further: Default::default(),
        })
    }

    /// Where a service answers.
    pub fn endpoint(&self, service: &str) -> String {
        let at = SERVICES.iter().position(|name| *name == service).unwrap_or(0);
        format!("http://127.0.0.1:{}", self.ports[at])
    }

    /// The file with the token of the suite's services.
    pub fn token_file(&self) -> PathBuf {
        let own = self.folder.join("service-token");
        let up = self.folder.join("up/service.token");
        if up.exists() { up } else { own }
    }

    /// Starts one program; `name` tells several workers apart and names its data folder.
    pub fn start(&mut self, service: &str, name: &str) -> anyhow::Result<()> {
        let at = SERVICES.iter().position(|known| *known == service).context("a service")?;
        let port = match self.further.get(name) {
            Some(port) => *port,
            None if name == service => self.ports[at],
            None => free_port()?,
        };
        if name != service {
            self.further.insert(name.to_owned(), port);
        }
        let mut command = Command::new(program(&format!("mms-{service}"))?);
        let prefix = format!("MMS_{}__", service.to_uppercase());
        let mut set = |key: &str, value: String| {
            command.env(format!("{prefix}{key}"), value);
        };
        set("SERVER__LISTEN", format!("127.0.0.1:{port}"));
        set("SERVER__DATA_DIR", self.folder.join(name).display().to_string());
        set("SERVER__SERVICE_TOKEN_FILE", self.folder.join("service-token").display().to_string());
        match service {
            "registry" => {
                set("REGISTRY__ENCRYPTION_KEY_FILE", self.folder.join("key").display().to_string());
                set("REGISTRY__ALLOW_LOCAL_FILES", "true".to_owned());
            }
            "catalog" => set("CATALOG__REGISTRY__ENDPOINT", self.endpoint("registry")),
            "scheduler" => {
                set("SCHEDULER__REGISTRY__ENDPOINT", self.endpoint("registry"));
                set("SCHEDULER__CATALOG__ENDPOINT", self.endpoint("catalog"));
                set("SCHEDULER__LEASE_SECONDS", self.lease_seconds.to_string());
            }
            _ => {
                set("TRANSFER__REGISTRY__ENDPOINT", self.endpoint("registry"));
                set("TRANSFER__SCHEDULER__ENDPOINT", self.endpoint("scheduler"));
                set("TRANSFER__ALLOW_LOCAL_FILES", "true".to_owned());
                for (key, value) in &self.transfer {
                    set(&format!("TRANSFER__{key}"), value.clone());
                }
            }
        }
        let process = Process::start(name, &mut command, &self.folder)?;
        self.processes.push((name.to_owned(), process));
        Ok(())
    }

    /// Kills a process and starts it again; with its data folder deleted first, if so wished.
    pub fn kill_and_restart(&mut self, name: &str, forget: bool) -> anyhow::Result<()> {
        let at = self.processes.iter().position(|(known, _)| known == name).context("a running process")?;
        let (name, mut process) = self.processes.swap_remove(at);
        process.kill()?;
        drop(process);
        if forget {
            fs::remove_dir_all(self.folder.join(&name)).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
        }
        let service = SERVICES.into_iter().find(|service| name.starts_with(service)).context("a service")?;
        self.start(service, &name)
    }

    /// Stops a process with SIGTERM.
    pub fn stop(&mut self, name: &str) -> anyhow::Result<()> {
        let at = self.processes.iter().position(|(known, _)| known == name).context("a running process")?;
        let (_, mut process) = self.processes.swap_remove(at);
        let status = process.terminate()?;
        anyhow::ensure!(status.success(), "{name} ended with {status}: {}", process.log());
        Ok(())
    }

    /// Waits until all four answer.
    async fn answers(&self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        for port in self.ports {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                anyhow::ensure!(Instant::now() < until, "nobody answers on port {port}: {}", self.logs());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// What the workers do right now; one that does not answer does nothing.
    pub async fn transfers(&self) -> Vec<(String, transfer::Transfer)> {
        let mut found = Vec::new();
        let workers = self.further.iter().map(|(name, port)| (name.clone(), *port));
        for (name, port) in workers.chain([("transfer".to_owned(), self.ports[3])]) {
            let Ok(channel) = Client::new(&ClientConfig::to(format!("http://127.0.0.1:{port}")), None) else {
                continue;
            };
            let request = transfer::ListTransfersRequest {
                parent: "workers/-".to_owned(),
                ..transfer::ListTransfersRequest::default()
            };
            if let Ok(answer) = TransferServiceClient::new(channel).list_transfers(request).await {
                found.extend(answer.into_inner().transfers.into_iter().map(|transfer| (name.clone(), transfer)));
            }
        }
        found
    }

    /// The last lines of all logs.
    pub fn logs(&self) -> String {
        let logs = self.processes.iter().map(|(name, process)| format!("--- {name}\n{}", process.log()));
        logs.collect::<Vec<_>>().join("\n")
    }

    /// A channel to a service, without a token: as somebody on this machine.
    pub fn channel(&self, service: &str) -> anyhow::Result<Client> {
        Ok(Client::new(&ClientConfig::to(self.endpoint(service)), None)?)
    }

    /// Repeats a call until the service answers: others may be killing it.
    pub async fn through<T, F>(&self, what: &str, mut call: impl FnMut() -> F) -> anyhow::Result<T>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let until = Instant::now() + PATIENCE;
        loop {
            match call().await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) if Instant::now() < until && passes(&status) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(status) => anyhow::bail!("{what}: {status:?}\n{}", self.logs()),
            }
        }
    }

    /// Makes, checks and starts a data source.
    pub async fn source(&self, request: &Value) -> anyhow::Result<String> {
        let client = DataSourceServiceClient::new(self.channel("registry")?);
        let create: registry::CreateDataSourceRequest = mms_proto::json::from_value(request.clone())?;
        let answer = self
            .through("CreateDataSource", || {
                let (mut client, create) = (client.clone(), create.clone());
                async move { client.create_data_source(create).await }
            })
            .await?;
        let name = answer.data_source.context("a data source")?.name;
        Box::pin(self.check(&client, &name)).await?;
        self.through("StartDataSource", || {
            let (mut client, name) = (client.clone(), name.clone());
            async move {
                client.start_data_source(registry::StartDataSourceRequest { name, request_id: String::new() }).await
            }
        })
        .await?;
        Ok(name)
    }

    async fn check(&self, client: &DataSourceServiceClient<Client>, name: &str) -> anyhow::Result<()> {
        use registry::check_data_source_request::Target;
        use registry::check_data_source_response::Event;
        let request =
            registry::CheckDataSourceRequest { target: Some(Target::Name(name.to_owned())), start_cluster: false };
        let mut stream = client.clone().check_data_source(request).await?.into_inner();
        let mut report = None;
        while let Some(answer) = stream.message().await? {
            if let Some(Event::Report(found)) = answer.event {
                report = Some(found);
            }
        }
        let report = report.context("a check ends with its report")?;
        anyhow::ensure!(report.state() != registry::CheckState::Failed, "the check failed: {report:?}");
        Ok(())
    }

    /// Begins a scan of everything.
    pub async fn begin_scan(&self, source: &str) -> anyhow::Result<String> {
        let client = ScanServiceClient::new(self.channel("catalog")?);
        let request = catalog::CreateScanRequest {
            parent: source.to_owned(),
            request_id: format!("scan-{}", fastrand::u64(..)),
            ..catalog::CreateScanRequest::default()
        };
        let answer = self
            .through("CreateScan", || {
                let (mut client, request) = (client.clone(), request.clone());
                async move { client.create_scan(request).await }
            })
            .await?;
        Ok(answer.scan.context("a scan")?.name)
    }

    /// A scan as it is.
    pub async fn scan(&self, name: &str) -> anyhow::Result<catalog::Scan> {
        let client = ScanServiceClient::new(self.channel("catalog")?);
        let answer = self
            .through("GetScan", || {
                let (mut client, name) = (client.clone(), name.to_owned());
                async move { client.get_scan(catalog::GetScanRequest { name }).await }
            })
            .await?;
        answer.scan.context("a scan")
    }

    /// Waits for a scan's end.
    pub async fn scanned(&self, name: &str) -> anyhow::Result<catalog::Scan> {
        let until = Instant::now() + PATIENCE;
        loop {
            let scan = self.scan(name).await?;
            if scan.end_time.is_some() {
                return Ok(scan);
            }
            anyhow::ensure!(Instant::now() < until, "the scan does not end: {scan:?}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Makes a job of all that the source has.
    pub async fn begin_job(&self, source: &str, spec: scheduler::JobSpec) -> anyhow::Result<String> {
        let client = JobServiceClient::new(self.channel("scheduler")?);
        let request = scheduler::CreateJobRequest {
            parent: source.to_owned(),
            job: Some(scheduler::Job { spec: Some(spec), ..scheduler::Job::default() }),
            request_id: format!("job-{}", fastrand::u64(..)),
            ..scheduler::CreateJobRequest::default()
        };
        let answer = self
            .through("CreateJob", || {
                let (mut client, request) = (client.clone(), request.clone());
                async move { client.create_job(request).await }
            })
            .await?;
        Ok(answer.job.context("a job")?.name)
    }

    /// A job as it is.
    pub async fn job(&self, name: &str) -> anyhow::Result<scheduler::Job> {
        let client = JobServiceClient::new(self.channel("scheduler")?);
        let answer = self
            .through("GetJob", || {
                let (mut client, name) = (client.clone(), name.to_owned());
                async move { client.get_job(scheduler::GetJobRequest { name }).await }
            })
            .await?;
        answer.job.context("a job")
    }

    /// The tables of a job.
    pub async fn job_tables(&self, name: &str) -> anyhow::Result<Vec<scheduler::JobTable>> {
        let client = JobServiceClient::new(self.channel("scheduler")?);
        let answer = self
            .through("ListJobTables", || {
                let (mut client, parent) = (client.clone(), name.to_owned());
                let request = scheduler::ListJobTablesRequest {
                    parent,
                    page_size: 1000,
                    ..scheduler::ListJobTablesRequest::default()
                };
                async move { client.list_job_tables(request).await }
            })
            .await?;
        Ok(answer.job_tables)
    }

    /// The tasks of a job.
    pub async fn tasks(&self, name: &str) -> anyhow::Result<Vec<scheduler::Task>> {
        let client = JobServiceClient::new(self.channel("scheduler")?);
        let answer = self
            .through("ListTasks", || {
                let (mut client, parent) = (client.clone(), name.to_owned());
                let request =
                    scheduler::ListTasksRequest { parent, page_size: 1000, ..scheduler::ListTasksRequest::default() };
                async move { client.list_tasks(request).await }
            })
            .await?;
        Ok(answer.tasks)
    }

    /// Waits for a job's end; an error unless it is DONE.
    pub async fn done(&self, name: &str) -> anyhow::Result<scheduler::Job> {
        let until = Instant::now() + PATIENCE;
        loop {
            let job = self.job(name).await?;
            match job.state() {
                JobState::Done => return Ok(job),
                JobState::Failed | JobState::Stopped => {
                    let tables = self.job_tables(name).await?;
                    let failed =
                        tables.iter().filter(|t| t.reason.is_some()).map(|t| format!("{}: {:?}", t.table, t.reason));
                    anyhow::bail!("the job ended {:?}:\n{}", job.reason, failed.collect::<Vec<_>>().join("\n"));
                }
                _ => {}
            }
            anyhow::ensure!(Instant::now() < until, "the job does not end: {job:?}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The spec of a job that takes all schemas.
pub fn everything() -> scheduler::JobSpec {
    scheduler::JobSpec {
        scope: Some(job_spec::Scope::Schemas(scheduler::SchemasScope::default())),
        max_attempts: 50,
        ..scheduler::JobSpec::default()
    }
}

fn passes(status: &tonic::Status) -> bool {
    mms_server::is_retryable(status) || matches!(status.code(), tonic::Code::Unavailable | tonic::Code::Unknown)
}

fn four_free_ports() -> anyhow::Result<[u16; 4]> {
    for _ in 0..100 {
        let base = free_port()?;
        let Some(last) = base.checked_add(3) else { continue };
        if (base..=last).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok([base, base + 1, base + 2, base + 3]);
        }
    }
    anyhow::bail!("no four free ports in a row")
}
