//! Finds jobs of a source that have not ended. A table is moved by one job at a time, so that a second run must take up
//! the first one's job. Reads; changes nothing.

use mms_proto::page;
use mms_proto::scheduler::v1::job_spec::Scope;
use mms_proto::scheduler::v1::{Job, JobSpec, JobState, ListJobsRequest, MigrationContent};
use mms_proto::types::v1::View;
use tonic::Status;

use crate::client::Clients;
use crate::scope;

/// An open job that stands in the way of a scope.
#[derive(Debug)]
pub enum Met {
    /// It moves the same tables.
    Same(Job),
    /// It moves some of the same tables.
    Overlapping(Job),
}

/// All jobs of a source; `-` means all sources.
pub async fn jobs(clients: &Clients, source: &str, view: View) -> anyhow::Result<Vec<Job>> {
    jobs_that(clients, source, view, "", "").await
}

/// The jobs of a source, `-` for all sources, that match a filter, in an order. Both may be empty.
pub async fn jobs_that(
    clients: &Clients,
    source: &str,
    view: View,
    filter: &str,
    order_by: &str,
) -> anyhow::Result<Vec<Job>> {
    let (parent, filter, order_by) = (source.to_owned(), filter.to_owned(), order_by.to_owned());
    let mut request =
        ListJobsRequest { parent, page_size: 500, view: view as i32, filter, order_by, ..Default::default() };
    let jobs = page::all(async |page_token| {
        request.page_token = page_token;
        let page = clients.jobs.clone().list_jobs(request.clone()).await?.into_inner();
        Ok::<_, Status>((page.jobs, page.next_page_token))
    });
    Ok(jobs.await?)
}

/// The open job that holds tables of this scope, if there is one.
pub async fn met(clients: &Clients, source: &str, wanted: &Scope) -> anyhow::Result<Option<Met>> {
    Ok(find(jobs(clients, source, View::Full).await?, wanted))
}

fn find(jobs: Vec<Job>, wanted: &Scope) -> Option<Met> {
    let scope_of = |job: &Job| job.spec.as_ref().and_then(|spec| spec.scope.clone());
    let open: Vec<Job> = jobs.into_iter().filter(is_open).collect();
    let at = |test: fn(&Scope, &Scope) -> bool| {
        open.iter().find(|job| scope_of(job).is_some_and(|scope| test(&scope, wanted))).cloned()
    };
    // A job that moves only some partitions of a table, or only compares, does not do what is wanted, even with the same scope.
    let moves_all = |spec: &JobSpec| {
        let whole = spec.table_options.iter().all(|options| options.partition_filter.is_empty());
        whole && spec.content() != MigrationContent::VerificationOnly
    };
    let whole = |job: &Job| job.spec.as_ref().is_none_or(moves_all);
    at(scope::same).filter(whole).map(Met::Same).or_else(|| at(scope::overlap).map(Met::Overlapping))
}

/// Whether a job still holds its tables.
fn is_open(job: &Job) -> bool {
    !matches!(job.state(), JobState::Done | JobState::Failed | JobState::Stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str, state: JobState, schemas: &[&str]) -> Job {
        let schemas: Vec<String> = schemas.iter().map(|&schema| schema.to_owned()).collect();
        let spec = JobSpec { scope: Some(scope::of(&schemas, &[])), ..JobSpec::default() };
        Job { name: name.into(), state: state.into(), spec: Some(spec), ..Job::default() }
    }

    #[test]
    fn the_same_scope_goes_before_one_that_overlaps_and_ended_jobs_keep_nobody() {
        let jobs = vec![
            job("all", JobState::Running, &[]),
            job("ended", JobState::Stopped, &["a"]),
            job("same", JobState::PendingReview, &["A"]),
        ];
        let wanted = scope::of(&["a".into()], &[]);
        assert!(matches!(find(jobs.clone(), &wanted), Some(Met::Same(job)) if job.name == "same"));
        assert!(matches!(find(jobs[..2].to_vec(), &wanted), Some(Met::Overlapping(job)) if job.name == "all"));
        assert!(find(jobs[1..2].to_vec(), &wanted).is_none());
    }
}
