//! The steps of a migration that `mms migrate` and `mms demo` share: check, start, scan, job, watch.

use anyhow::{Context, bail};
use mms_proto::catalog::v1::{CreateScanRequest, Scan, ScanState};
use mms_proto::registry::v1::check_data_source_request::Target;
use mms_proto::registry::v1::check_data_source_response::Event;
use mms_proto::registry::v1::{
    CheckDataSourceRequest, CheckDataSourceResponse, CheckReport, CheckState, CheckStep, StartDataSourceRequest,
};
use mms_proto::scheduler::v1::job_spec::Scope;
use mms_proto::scheduler::v1::{CreateJobRequest, Job, JobSpec};

use crate::client::{Clients, Remote};
use crate::interrupt::RunsOn;
use crate::progress::Progress;
use crate::{names, output, watch};

/// A migration in progress.
pub struct Line<'a> {
    pub clients: &'a Clients,
    /// How the suite is reached, for the commands that are printed.
    pub remote: &'a Remote,
    /// The name of the data source.
    pub source: &'a str,
    /// The work that continues in the suite if this command ends.
    pub runs_on: &'a RunsOn,
    pub progress: Progress,
}

/// Runs a check, passes on each answer, and returns the report at its end.
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

/// A check's step as text for people. What to do is on its own line.
pub fn step_text(step: &CheckStep) -> String {
    let state = output::word(step.state().as_str_name(), "CHECK_STATE_");
    let remedy = if step.remedy.is_empty() { String::new() } else { format!("\n  help: {}", step.remedy) };
    let id = output::word(step.id().as_str_name(), "CHECK_STEP_ID_");
    let id = if step.subject.is_empty() { id } else { format!("{id} {}", step.subject) };
    format!("check {id:22} {state:8} {}{remedy}", step.message)
}

impl Line<'_> {
    /// Checks the source and the target. False means that a step failed, which was printed.
    pub async fn check(&mut self) -> anyhow::Result<bool> {
        self.progress.step("checking source and target");
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

    pub async fn start(&mut self) -> anyhow::Result<()> {
        self.progress.step("starting the data source");
        let request = StartDataSourceRequest { name: self.source.to_owned(), request_id: String::new() };
        self.clients.sources.clone().start_data_source(request).await.context("starting the data source")?;
        Ok(())
    }

    /// Scans these schemas, or all if none are named.
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
        let short = names::short(&name);
        let (watch, cancel) = (format!("scan watch {short}"), format!("scan cancel {short}"));
        self.runs_on.is(&format!("scan {short}"), &self.remote.command(&watch), &self.remote.command(&cancel));
        let scan = watch::scan(self.clients, &name, |answer| {
            if let Some(scan) = &answer.scan {
                self.progress.scan(scan);
            }
        })
        .await
        .context("scanning")?;
        self.runs_on.nothing();
        match scan.state() {
            ScanState::Done | ScanState::Partial => Ok(scan),
            state => {
                let state = output::word(state.as_str_name(), "SCAN_STATE_");
                let list = self.remote.command(&format!("schema list {}", names::short(self.source)));
                bail!("the scan {short} ended {state}: {}\n  see what there is: {list}", scan.error)
            }
        }
    }

    /// Creates a job for a scope, prints its name before anything else, and follows it until it has ended or waits for
    /// a person.
    pub async fn job(&mut self, scope: Scope, review: bool) -> anyhow::Result<Job> {
        let spec = JobSpec { scope: Some(scope), ..JobSpec::default() };
        let request = CreateJobRequest {
            parent: self.source.to_owned(),
            job: Some(Job { spec: Some(spec), ..Job::default() }),
            review,
            request_id: uuid::Uuid::new_v4().to_string(),
            ..CreateJobRequest::default()
        };
        let job = self.clients.jobs.clone().create_job(request).await.context("creating the job")?;
        let name = job.into_inner().job.unwrap_or_default().name;
        self.progress.note(&format!("job {} created", names::short(&name)));
        self.follow(&name).await
    }

    /// Follows a job until it has ended or waits for a person.
    pub async fn follow(&mut self, name: &str) -> anyhow::Result<Job> {
        self.progress.step("planning");
        let short = names::short(name);
        let (watch, stop) = (format!("job watch {short}"), format!("job stop {short}"));
        self.runs_on.is(&format!("job {short}"), &self.remote.command(&watch), &self.remote.command(&stop));
        let job = watch::job(self.clients, name, |answer| {
            if let Some(job) = &answer.job {
                self.progress.job(job);
            }
        })
        .await
        .with_context(|| format!("following the job {short}"))?;
        self.runs_on.nothing();
        self.progress.end();
        Ok(job)
    }
}
