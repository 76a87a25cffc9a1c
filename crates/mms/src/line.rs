//! The line of a migration: check, start, scan, job, watch. What `mms migrate` and `mms demo` have in common.

use anyhow::{Context, bail};
use mms_proto::catalog::v1::{CreateScanRequest, Scan, ScanState};
use mms_proto::registry::v1::check_data_source_request::Target;
use mms_proto::registry::v1::check_data_source_response::Event;
use mms_proto::registry::v1::{
    CheckDataSourceRequest, CheckDataSourceResponse, CheckReport, CheckState, CheckStep, StartDataSourceRequest,
};
use mms_proto::scheduler::v1::job_spec::Scope;
use mms_proto::scheduler::v1::{CreateJobRequest, Job, JobSpec, SchemasScope};

use crate::client::Clients;
use crate::output;
use crate::progress::Progress;
use crate::watch;

/// A migration under way.
pub struct Line<'a> {
    /// The suite.
    pub clients: &'a Clients,
    /// The data source, by name.
    pub source: &'a str,
    /// Where progress is shown.
    pub progress: Progress,
}

/// Streams what a check says, and gives its report.
pub async fn check(
    clients: &Clients,
    source: &str,
    start_cluster: bool,
    mut each: impl FnMut(&CheckDataSourceResponse),
) -> anyhow::Result<CheckReport> {
    let request = CheckDataSourceRequest { target: Some(Target::Name(source.to_owned())), start_cluster };
    let mut steps = clients.sources.clone().check_data_source(request).await?.into_inner();
    let mut report = None;
    while let Some(answer) = steps.message().await? {
        each(&answer);
        if let Some(Event::Report(ended)) = answer.event {
            report = Some(ended);
        }
    }
    report.context("the check ended without a report")
}

/// A step of a check, for people.
pub fn step_text(step: &CheckStep) -> String {
    let state = output::word(step.state().as_str_name(), "CHECK_STATE_");
    let remedy = if step.remedy.is_empty() { String::new() } else { format!(" ({})", step.remedy) };
    format!("check {:24} {state:8} {}{remedy}", step.id, step.message)
}

impl Line<'_> {
    /// Checks both ends. False when something is wrong, which has been told.
    pub async fn check(&mut self) -> anyhow::Result<bool> {
        self.progress.step("checking both ends");
        let (clients, source, progress) = (self.clients, self.source, &self.progress);
        let report = check(clients, source, false, |answer| {
            if let Some(Event::Step(step)) = &answer.event
                && matches!(step.state(), CheckState::Failed | CheckState::Warning)
            {
                progress.note(&step_text(step));
            }
        })
        .await
        .context("checking the data source")?;
        Ok(report.state() != CheckState::Failed)
    }

    /// Starts the source.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        self.progress.step("starting the data source");
        let request = StartDataSourceRequest { name: self.source.to_owned(), request_id: String::new() };
        self.clients.sources.clone().start_data_source(request).await.context("starting the data source")?;
        Ok(())
    }

    /// Scans schemas, all when none are named.
    pub async fn scan(&mut self, schemas: &[String]) -> anyhow::Result<Scan> {
        self.progress.step("scanning");
        let request = CreateScanRequest {
            parent: self.source.to_owned(),
            scan: Some(Scan { schemas: schemas.to_vec(), ..Scan::default() }),
            request_id: uuid::Uuid::new_v4().to_string(),
            ..CreateScanRequest::default()
        };
        let scan = self.clients.scans.clone().create_scan(request).await.context("starting the scan")?;
        let name = scan.into_inner().scan.unwrap_or_default().name;
        let scan = watch::scan(self.clients, &name, |answer| {
            if let Some(scan) = &answer.scan {
                self.progress.scan(scan);
            }
        })
        .await
        .context("scanning")?;
        match scan.state() {
            ScanState::Done | ScanState::Partial => Ok(scan),
            state => {
                let state = output::word(state.as_str_name(), "SCAN_STATE_");
                bail!("the scan {name} ended {state}: {}", scan.error)
            }
        }
    }

    /// Makes a job of schemas, all when none are named, and follows it until it rests.
    pub async fn job(&mut self, schemas: &[String], review: bool) -> anyhow::Result<Job> {
        self.progress.step("planning");
        let scope = Scope::Schemas(SchemasScope { schemas: schemas.to_vec(), ..SchemasScope::default() });
        let spec = JobSpec { scope: Some(scope), ..JobSpec::default() };
        let request = CreateJobRequest {
            parent: self.source.to_owned(),
            job: Some(Job { spec: Some(spec), ..Job::default() }),
            review,
            request_id: uuid::Uuid::new_v4().to_string(),
            ..CreateJobRequest::default()
        };
        let job = self.clients.jobs.clone().create_job(request).await.context("making the job")?;
        let name = job.into_inner().job.unwrap_or_default().name;
        let job = watch::job(self.clients, &name, |answer| {
            if let Some(job) = &answer.job {
                self.progress.job(job);
            }
        })
        .await
        .with_context(|| format!("following {name}"))?;
        self.progress.end();
        Ok(job)
    }
}
