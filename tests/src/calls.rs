//! Calls that the tests make to the suite, with generated clients. They are repeated while services are killed.

use std::time::{Duration, Instant};

use anyhow::Context;
use mms_proto::catalog::v1 as catalog;
use mms_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mms_proto::catalog::v1::scan_service_client::ScanServiceClient;
use mms_proto::registry::v1 as registry;
use mms_proto::registry::v1::data_source_service_client::DataSourceServiceClient;
use mms_proto::scheduler::v1 as scheduler;
use mms_proto::scheduler::v1::job_service_client::JobServiceClient;
use mms_proto::types::v1::{VerificationCheck, View};
use mms_server::Client;
use scheduler::{JobState, job_spec};
use serde_json::Value;

use crate::process::PATIENCE;
use crate::suite::Suite;

/// The view with everything that a resource has.
const FULL: i32 = View::Full as i32;

/// What the catalog has of a source.
#[derive(Debug)]
pub struct Catalogued {
    /// All schemas of the source.
    pub schemas: Vec<catalog::Schema>,
    /// All tables of these schemas.
    pub tables: Vec<catalog::Table>,
    /// All partitions of these tables.
    pub partitions: Vec<catalog::Partition>,
}

impl Suite {
    /// Repeats a call until the service answers, because the test may kill it meanwhile.
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

    /// Creates, checks and starts a data source; returns its name.
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

    /// Starts a scan of the whole source; returns its name.
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

    /// Reads a scan.
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

    /// Waits until a scan has ended.
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

    /// Creates a job with this spec; returns its name.
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

    /// Reads a job.
    pub async fn job(&self, name: &str) -> anyhow::Result<scheduler::Job> {
        let client = JobServiceClient::new(self.channel("scheduler")?);
        let answer = self
            .through("GetJob", || {
                let (mut client, name) = (client.clone(), name.to_owned());
                async move { client.get_job(scheduler::GetJobRequest { name, view: FULL }).await }
            })
            .await?;
        answer.job.context("a job")
    }

    /// Lists the tables of a job.
    pub async fn job_tables(&self, name: &str) -> anyhow::Result<Vec<scheduler::JobTable>> {
        let client = JobServiceClient::new(self.channel("scheduler")?);
        let answer = self
            .through("ListJobTables", || {
                let (mut client, parent) = (client.clone(), name.to_owned());
                let request = scheduler::ListJobTablesRequest {
                    parent,
                    page_size: 1000,
                    view: FULL,
                    ..scheduler::ListJobTablesRequest::default()
                };
                async move { client.list_job_tables(request).await }
            })
            .await?;
        Ok(answer.job_tables)
    }

    /// Lists the tasks of a job.
    pub async fn tasks(&self, name: &str) -> anyhow::Result<Vec<scheduler::Task>> {
        let client = JobServiceClient::new(self.channel("scheduler")?);
        let answer = self
            .through("ListTasks", || {
                let (mut client, parent) = (client.clone(), name.to_owned());
                let request = scheduler::ListTasksRequest { parent, page_size: 1000, view: FULL, ..Default::default() };
                async move { client.list_tasks(request).await }
            })
            .await?;
        Ok(answer.tasks)
    }

    /// Reads a task.
    ///
    /// # Errors
    /// The scheduler does not answer in time, or there is no such task.
    pub async fn task(&self, name: &str) -> anyhow::Result<scheduler::Task> {
        let client = JobServiceClient::new(self.channel("scheduler")?);
        let answer = self
            .through("GetTask", || {
                let (mut client, name) = (client.clone(), name.to_owned());
                async move { client.get_task(scheduler::GetTaskRequest { name, view: FULL }).await }
            })
            .await?;
        answer.task.context("a task")
    }

    /// Lists what the last verifications of a job's tasks compared.
    ///
    /// # Errors
    /// The scheduler does not answer in time.
    pub async fn checks(&self, job: &str) -> anyhow::Result<Vec<VerificationCheck>> {
        let client = JobServiceClient::new(self.channel("scheduler")?);
        let (mut request, mut checks) = (
            scheduler::ListVerificationChecksRequest {
                parent: format!("{job}/tasks/-"),
                page_size: 1000,
                ..Default::default()
            },
            Vec::new(),
        );
        loop {
            let page = self
                .through("ListVerificationChecks", || {
                    let (mut client, request) = (client.clone(), request.clone());
                    async move { client.list_verification_checks(request).await }
                })
                .await?;
            checks.extend(page.checks);
            if page.next_page_token.is_empty() {
                return Ok(checks);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Reads the log of a task.
    ///
    /// # Errors
    /// The scheduler does not answer in time.
    pub async fn task_logs(&self, name: &str) -> anyhow::Result<Vec<scheduler::TaskLog>> {
        let client = JobServiceClient::new(self.channel("scheduler")?);
        let request = scheduler::ListTaskLogsRequest {
            parent: name.to_owned(),
            page_size: 1000,
            ..scheduler::ListTaskLogsRequest::default()
        };
        let answer = self
            .through("ListTaskLogs", || {
                let (mut client, request) = (client.clone(), request.clone());
                async move { client.list_task_logs(request).await }
            })
            .await?;
        Ok(answer.logs)
    }

    /// Lists what the catalog has below a source.
    ///
    /// # Errors
    /// The catalog does not answer in time.
    pub async fn catalogued(&self, source: &str) -> anyhow::Result<Catalogued> {
        let client = CatalogServiceClient::new(self.channel("catalog")?);
        let schemas = self
            .through("ListSchemas", || {
                let (mut client, parent) = (client.clone(), source.to_owned());
                let request = catalog::ListSchemasRequest { parent, page_size: 1000, ..Default::default() };
                async move { client.list_schemas(request).await }
            })
            .await?;
        let tables = self
            .through("ListTables", || {
                let (mut client, parent) = (client.clone(), format!("{source}/schemas/-"));
                let request = catalog::ListTablesRequest { parent, page_size: 1000, view: FULL, ..Default::default() };
                async move { client.list_tables(request).await }
            })
            .await?;
        let mut partitions = Vec::new();
        for table in &tables.tables {
            let page = self
                .through("ListPartitions", || {
                    let (mut client, parent) = (client.clone(), table.name.clone());
                    let request = catalog::ListPartitionsRequest { parent, page_size: 1000, ..Default::default() };
                    async move { client.list_partitions(request).await }
                })
                .await?;
            partitions.extend(page.partitions);
        }
        Ok(Catalogued { schemas: schemas.schemas, tables: tables.tables, partitions })
    }

    /// Waits until a job is in this state.
    pub async fn until(&self, name: &str, state: JobState) -> anyhow::Result<scheduler::Job> {
        self.once(name, |job| Ok(job.state() == state)).await
    }

    /// Waits until `holds` answers true for a job; an error of it ends the wait.
    pub async fn once(
        &self,
        name: &str,
        holds: impl Fn(&scheduler::Job) -> anyhow::Result<bool>,
    ) -> anyhow::Result<scheduler::Job> {
        let until = Instant::now() + PATIENCE;
        loop {
            let job = self.job(name).await?;
            if holds(&job)? {
                return Ok(job);
            }
            anyhow::ensure!(Instant::now() < until, "it does not come to that: {job:?}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a job has ended; an error unless it is DONE.
    pub async fn done(&self, name: &str) -> anyhow::Result<scheduler::Job> {
        let ended = |job: &scheduler::Job| matches!(job.state(), JobState::Done | JobState::Failed | JobState::Stopped);
        let job = self.once(name, |job| Ok(ended(job))).await.context("the job does not end")?;
        if job.state() == JobState::Done {
            return Ok(job);
        }
        let tables = self.job_tables(name).await?;
        let failed = tables.iter().filter(|t| t.reason.is_some()).map(|t| format!("{}: {:?}", t.table, t.reason));
        anyhow::bail!("the job ended {:?}:\n{}", job.reason, failed.collect::<Vec<_>>().join("\n"));
    }
}

/// The spec of a job that takes all schemas.
#[must_use]
pub fn everything() -> scheduler::JobSpec {
    scheduler::JobSpec {
        scope: Some(job_spec::Scope::Schemas(scheduler::SchemasScope::default())),
        max_attempts: 50,
        // Tests cause failures on purpose, which must not stop the job.
        circuit_breaker: Some(scheduler::CircuitBreaker { disabled: true, ..scheduler::CircuitBreaker::default() }),
        ..scheduler::JobSpec::default()
    }
}

fn passes(status: &tonic::Status) -> bool {
    mms_proto::ApiError::from_status(status).is_transient()
}
