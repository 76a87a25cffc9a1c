//! The report of a run: a row for each table, the reasons of those that were not moved with what to do, and a closing
//! summary.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::HumanDuration;
use mms_proto::scheduler::v1::{Job, JobState};

use crate::advice;
use crate::client::Remote;
use crate::outcome::Outcome;
use crate::result::{Line, TableResult, Why};
use crate::{names, output};

/// Prints the results of a job's tables, and what to do next. True if every table that can be moved is at the target.
pub fn tell(results: &[TableResult], job: &Job, remote: &Remote, json: bool) -> anyhow::Result<bool> {
    list(results, &job.name, remote, json)?;
    // With --json, stdout is for programs, so texts for people go to stderr.
    let say = if json { output::note } else { output::text };
    let (done, state) = (job.state() == JobState::Done, output::word(job.state().as_str_name(), "JOB_STATE_"));
    let short = names::short(&job.name);
    match &job.reason {
        Some(reason) if !done => {
            say(&format!("\njob {short} is {state}: {}", advice::for_people(&reason.message, &job.name, remote)));
        }
        _ => say(&format!("\njob {short} is {state}")),
    }
    say(&summary(results, seconds(job)));
    if let Some(next) = next(results, job, remote) {
        say(&format!("next: {next}"));
    }
    Ok(is_good(results, job))
}

fn is_good(results: &[TableResult], job: &Job) -> bool {
    job.state() == JobState::Done && results.iter().all(|result| result.state.is_good())
}

/// Prints results: one JSON object on each line, or a table with the reasons below it.
pub fn list(results: &[TableResult], job: &str, remote: &Remote, json: bool) -> anyhow::Result<()> {
    if json {
        for result in results {
            output::line(&serde_json::to_string(&Line::of(result))?);
        }
        return Ok(());
    }
    if results.is_empty() {
        return Ok(());
    }
    output::table(
        ["table", "state", "rows in target", "rows read", "partitions", "seconds"],
        results.iter().map(|result| {
            [
                result.name(),
                result.state.to_string(),
                output::count_or_dash(result.target_rows),
                output::count(result.rows_read),
                output::count_or_dash(result.partitions),
                result.seconds.map_or_else(|| "-".into(), |seconds| format!("{seconds:.1}")),
            ]
        }),
    );
    for result in results.iter().filter(|result| !result.reasons.is_empty()) {
        output::line(&format!("\n{} {}", result.state, result.name()));
        result.reasons.iter().for_each(|why| output::text(&why_text(why, job, remote)));
    }
    Ok(())
}

/// A reason as text; what to do about it is on its own line.
pub fn why_text(why: &Why, resource: &str, remote: &Remote) -> String {
    let mut text = String::from("  ");
    if !why.reason.is_empty() {
        text.push_str(&why.reason);
        if !why.column.is_empty() {
            text.push_str(&format!(" in column {}", why.column));
        }
        text.push_str(": ");
    }
    text.push_str(&advice::for_people(&why.message, resource, remote));
    if !why.remedy.is_empty() {
        text.push_str(&format!("\n  help: {}", advice::for_people(&why.remedy, resource, remote)));
    }
    text
}

/// The summary: tables by state, rows, bytes and time.
fn summary(results: &[TableResult], seconds: Option<u64>) -> String {
    let mut states: BTreeMap<Outcome, usize> = BTreeMap::new();
    for result in results {
        *states.entry(result.state).or_default() += 1;
    }
    let states: Vec<String> =
        states.iter().map(|(state, count)| format!("{count} {}", state.word().to_lowercase())).collect();
    let rows = results.iter().map(|result| result.rows_read).sum();
    let bytes = results.iter().map(|result| result.bytes_read).sum();
    let tables = if results.len() == 1 { "table" } else { "tables" };
    let mut text = format!("{} {tables}", results.len());
    if !states.is_empty() {
        text.push_str(&format!(": {}", states.join(", ")));
    }
    text.push_str(&format!("; {} rows, {}", output::count(rows), output::bytes(bytes)));
    if let Some(seconds) = seconds {
        text.push_str(&format!(" in {}", HumanDuration(Duration::from_secs(seconds))));
    }
    text
}

fn seconds(job: &Job) -> Option<u64> {
    let (begin, end) = job.create_time.as_ref().zip(job.end_time.as_ref())?;
    u64::try_from(end.seconds - begin.seconds).ok()
}

fn next(results: &[TableResult], job: &Job, remote: &Remote) -> Option<String> {
    let short = names::short(&job.name);
    let command = |words: &str| remote.command(&format!("job {words} {short}"));
    match job.state() {
        JobState::Stopped | JobState::Paused => Some(format!("go on with it: {}", command("start"))),
        JobState::Failed if results.is_empty() => {
            let source = short.split('/').next().unwrap_or_default();
            Some(format!("see what there is: {}", remote.command(&format!("table list {source}"))))
        }
        JobState::Failed => Some(format!("fix what is named above, then: {}", command("retry"))),
        JobState::Done if is_good(results, job) => {
            Some("run it again at any time; tables that have not changed are left alone".into())
        }
        JobState::Done => Some("fix what is named above, then run it again".into()),
        _ => Some(format!("follow it: {}", command("watch"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_proto::scheduler::v1::JobTable;

    fn result(state: Outcome, rows: i64) -> TableResult {
        TableResult { state, rows_read: rows, bytes_read: rows << 10, ..TableResult::of(&JobTable::default()) }
    }

    fn job(state: JobState) -> Job {
        Job { name: "dataSources/s/jobs/j".into(), state: state.into(), ..Job::default() }
    }

    #[test]
    fn a_summary_counts_tables_by_state_and_says_what_is_next() {
        let results = [result(Outcome::Done, 1500), result(Outcome::Failed, 500), result(Outcome::Done, 48)];
        assert_eq!(summary(&results, Some(90)), "3 tables: 2 done, 1 failed; 2,048 rows, 2.00 MiB in 2 minutes");
        let next = next(&results, &job(JobState::Failed), &Remote::default()).unwrap();
        assert_eq!(next, "fix what is named above, then: mms job retry s/j");
    }

    #[test]
    fn only_a_job_whose_tables_all_went_is_a_success() {
        let remote = Remote::default();
        let told = |results: &[TableResult], state| tell(results, &job(state), &remote, true).unwrap();
        assert!(told(&[result(Outcome::Done, 1), result(Outcome::Unchanged, 0)], JobState::Done));
        assert!(told(&[result(Outcome::Done, 1), result(Outcome::Skipped, 0)], JobState::Done));
        assert!(!told(&[result(Outcome::Done, 1), result(Outcome::Failed, 0)], JobState::Done));
        assert!(!told(&[], JobState::Failed), "a job that failed as a whole");
    }
}
