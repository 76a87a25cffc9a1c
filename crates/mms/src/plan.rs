//! Shows the plan of a job to its reviewer: the target and size of each table, the findings, the totals, and the
//! commands to continue. Decides nothing; the scheduler made the plan.

use std::time::Duration;

use indicatif::HumanDuration;
use mms_proto::scheduler::v1::job_spec::Scope;
use mms_proto::scheduler::v1::{Job, JobTable, TableDecision};
use mms_proto::types::v1::{Severity, TargetTable};

use crate::client::{Clients, Remote};
use crate::outcome::Outcome;
use crate::result::{self, TableResult, Why};
use crate::{names, output, report};

/// Shows the plan of a job with this scope. As JSON it prints the job's tables, which contain their findings.
pub async fn show(clients: &Clients, job: &Job, scope: &Scope, remote: &Remote, json: bool) -> anyhow::Result<()> {
    let tables = result::job_tables(clients, &job.name).await?;
    let tables: Vec<JobTable> =
        tables.into_iter().filter(|table| table.decision() != TableDecision::Excluded).collect();
    if json {
        tables.iter().for_each(output::json);
        return Ok(());
    }
    let source = job.name.split("/jobs/").next().unwrap_or_default();
    let known = |unread: &TableResult| tables.iter().any(|table| names::table(&table.table) == unread.name());
    let mut unread = result::unread(clients, source, scope).await?;
    unread.retain(|unread| !known(unread));
    output::table(
        ["table", "decision", "target", "rows", "size", "tasks"],
        tables.iter().map(|table| {
            [
                names::table(&table.table),
                decision(table).to_owned(),
                table.target.as_ref().map_or_else(|| "-".into(), target),
                output::count_or_dash(table.source_rows),
                output::bytes(table.source_bytes),
                table.task_count.to_string(),
            ]
        }),
    );
    for table in &tables {
        let told = told(table, &job.name, remote);
        if !told.is_empty() {
            output::line(&format!("\n{}", names::table(&table.table)));
            told.iter().for_each(|text| output::text(text));
        }
    }
    for unread in &unread {
        output::line(&format!("\nnot read: {}", unread.name()));
        unread.reasons.iter().for_each(|why| output::text(&report::why_text(why, &job.name, remote)));
    }
    output::line(&format!("\n{}", totals(&tables, &unread, job)));
    Ok(())
}

/// The findings of a table; if there are none, the reasons why it is not moved.
fn told(table: &JobTable, job: &str, remote: &Remote) -> Vec<String> {
    if table.findings.is_empty() {
        return TableResult::of(table).reasons.iter().map(|why| report::why_text(why, job, remote)).collect();
    }
    let told = table.findings.iter().map(|finding| {
        let severity = output::word(finding.severity().as_str_name(), "SEVERITY_").to_lowercase();
        let why = report::why_text(&Why::of_finding(finding), job, remote);
        format!("  {severity} {}", why.trim_start())
    });
    told.collect()
}

/// The decision in the words of a plan, in which nothing has been moved yet.
fn decision(table: &JobTable) -> &'static str {
    match Outcome::of(table) {
        Outcome::Waiting | Outcome::Running | Outcome::Done | Outcome::Failed | Outcome::PartDone => "MOVE",
        other => other.word(),
    }
}

fn target(target: &TargetTable) -> String {
    let parts = [&target.project, &target.schema, &target.table];
    parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join(".")
}

fn totals(tables: &[JobTable], unread: &[TableResult], job: &Job) -> String {
    let moves: Vec<&JobTable> = tables.iter().filter(|table| decision(table) == "MOVE").collect();
    let count = |word: &str| tables.iter().filter(|table| decision(table) == word).count();
    let rows = moves.iter().filter_map(|table| table.source_rows).sum();
    let bytes = moves.iter().map(|table| table.source_bytes).sum();
    let tasks: i32 = moves.iter().map(|table| table.task_count).sum();
    let lossy = tables.iter().flat_map(|table| &table.findings);
    let lossy = lossy.filter(|finding| finding.severity() == Severity::Lossy).count();
    let (to_move, rows, bytes) = (moves.len(), output::count(rows), output::bytes(bytes));
    let mut text = format!("{to_move} to move ({rows} rows, {bytes}, {tasks} tasks)");
    for (number, word) in [
        (count("UNCHANGED"), "unchanged"),
        (count("SKIPPED"), "skipped"),
        (count("BLOCKED"), "blocked"),
        (unread.len(), "not read"),
        (lossy, "lossy findings"),
    ] {
        if number > 0 {
            text.push_str(&format!(", {number} {word}"));
        }
    }
    let estimate = job.estimate.unwrap_or_default();
    match estimate.duration.and_then(|duration| u64::try_from(duration.seconds).ok()) {
        Some(seconds) => text.push_str(&format!("\nestimated: {}", HumanDuration(Duration::from_secs(seconds)))),
        None => text.push_str("\nestimated: not known yet"),
    }
    if let Some(egress) = estimate.egress_bytes {
        text.push_str(&format!("; {} leave the source's storage", output::bytes(egress)));
    }
    text
}

/// The commands for a job that waits for review.
pub fn how_to_go_on(job: &Job, remote: &Remote) -> String {
    let short = names::short(&job.name);
    let blocked = job.progress.unwrap_or_default().tables_blocked;
    let accept = if blocked > 0 { " --accept-blocked" } else { "" };
    let approve = remote.command(&format!("job approve {short}{accept} --etag {}", job.etag));
    let stop = remote.command(&format!("job stop {short}"));
    format!("job {short} waits for review\n  start it: {approve}\n  drop it:  {stop}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_proto::scheduler::v1::{JobEstimate, JobProgress};
    use mms_proto::types::v1::{MigrationState, SourceVersion};

    #[test]
    fn totals_count_what_moves_and_what_does_not() {
        let table = |decision: TableDecision| JobTable {
            decision: decision.into(),
            state: MigrationState::Init.into(),
            version: Some(SourceVersion::default()),
            source_rows: Some(10),
            source_bytes: 1 << 20,
            task_count: 2,
            ..JobTable::default()
        };
        let tables = [TableDecision::Move, TableDecision::Move, TableDecision::Blocked].map(table);
        let duration = Some(prost_types::Duration { seconds: 120, nanos: 0 });
        let estimate = Some(JobEstimate { duration, egress_bytes: Some(3 << 20) });
        let job = Job { estimate, ..Job::default() };
        let told = totals(&tables, &[], &job);
        let expected = "2 to move (20 rows, 2.00 MiB, 4 tasks), 1 blocked\nestimated: 2 minutes; 3.00 MiB leave the source's storage";
        assert_eq!(told, expected);
    }

    #[test]
    fn a_plan_with_blocked_tables_is_approved_as_such() {
        let progress = Some(JobProgress { tables_blocked: 1, ..JobProgress::default() });
        let job = Job { name: "dataSources/s/jobs/j".into(), etag: "7".into(), progress, ..Job::default() };
        let told = how_to_go_on(&job, &Remote::default());
        assert!(told.contains("start it: mms job approve s/j --accept-blocked --etag 7\n"), "{told}");
    }
}
