//! What came of each table of a job: read from the services, told as a table or as JSON.

use std::collections::BTreeMap;

use mms_proto::catalog::v1::{ListSchemasRequest, ListTablesRequest, Schema, Table};
use mms_proto::error::{finding_text, reason_text};
use mms_proto::name::{ResourceName, TableName};
use mms_proto::page;
use mms_proto::scheduler::v1::{Job, JobState, JobTable, ListJobTablesRequest, TableDecision};
use mms_proto::types::v1::source_version::Version;
use mms_proto::types::v1::{ColumnRole, MigrationState, Severity, TargetTable, View};
use serde::Serialize;
use tonic::Status;

use crate::client::Clients;
use crate::output;

/// Tables asked for at once.
const PAGE: i32 = 200;

/// What came of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Outcome {
    /// All of it is at the target.
    Done,
    /// It is of a kind that cannot be moved.
    Skipped,
    /// It is not.
    Failed,
}

/// One table's result.
#[derive(Debug, Serialize)]
pub struct TableResult {
    /// The source's name of its schema.
    pub schema: String,
    /// The source's own name of it; empty for a schema whose tables could not even be listed.
    pub table: String,
    /// Whether it went.
    pub state: Outcome,
    /// Rows of the pinned version.
    pub source_rows: Option<i64>,
    /// Rows that verification found in the target.
    pub target_rows: Option<i64>,
    /// The pinned version.
    pub delta_version: Option<i64>,
    /// Why it did not go.
    pub error: Option<String>,
    /// Partitions that were to be written at the target; none for one without, or that could not be planned.
    #[serde(skip)]
    pub partitions: Option<i64>,
    /// Rows that were read.
    #[serde(skip)]
    pub rows_read: i64,
    /// From its first lease to its last task's end.
    #[serde(skip)]
    pub seconds: Option<f64>,
    /// The statement that makes it.
    #[serde(skip)]
    pub create_sql: String,
    /// Where it lies.
    #[serde(skip)]
    pub target: TargetTable,
}

/// The tables of a job, by name.
pub async fn job_tables(clients: &Clients, job: &str) -> anyhow::Result<Vec<JobTable>> {
    let view = View::Full as i32;
    let mut request = ListJobTablesRequest { parent: job.to_owned(), page_size: PAGE, view, ..Default::default() };
    let tables = page::all(async |page_token| {
        request.page_token = page_token;
        let page = clients.jobs.clone().list_job_tables(request.clone()).await?.into_inner();
        Ok::<_, Status>((page.job_tables, page.next_page_token))
    });
    Ok(tables.await?)
}

/// What came of every table that a source has, below these schemas if any are named: also of those that no scan could read,
/// and of schemas whose tables none could list.
pub async fn of_job(
    clients: &Clients,
    source: &str,
    schemas: &[String],
    job: &str,
) -> anyhow::Result<Vec<TableResult>> {
    let jobs = job_tables(clients, job).await?;
    let mut request = ListSchemasRequest { parent: source.to_owned(), page_size: PAGE, ..Default::default() };
    let unread_schemas = page::all(async |page_token| {
        request.page_token = page_token;
        let page = clients.catalog.clone().list_schemas(request.clone()).await?.into_inner();
        let unread = page.schemas.into_iter().filter(|schema| !schema.scan_error.is_empty());
        Ok::<_, Status>((unread.collect(), page.next_page_token))
    });
    let unread_schemas = unread_schemas.await?;
    let mut request =
        ListTablesRequest { parent: format!("{source}/schemas/-"), page_size: PAGE, ..Default::default() };
    let unread = page::all(async |page_token| {
        request.page_token = page_token;
        let page = clients.catalog.clone().list_tables(request.clone()).await?.into_inner();
        let unread = page.tables.into_iter().filter(|table| !table.scan_error.is_empty());
        Ok::<_, Status>((unread.collect(), page.next_page_token))
    });
    Ok(gathered(jobs, unread.await?, unread_schemas, schemas))
}

/// One row for each table of the job, for each table that could not be read, and for each schema that could not be listed,
/// below the wanted schemas.
fn gathered(jobs: Vec<JobTable>, unread: Vec<Table>, schemas: Vec<Schema>, wanted: &[String]) -> Vec<TableResult> {
    let wants = |schema: &String| wanted.is_empty() || wanted.contains(schema);
    let failed = |name: &str, error: String| {
        let table = JobTable { table: name.to_owned(), ..JobTable::default() };
        TableResult { error: Some(error), ..TableResult::of(&table) }
    };
    let mut results = BTreeMap::new();
    for table in jobs.iter().filter(|table| table.decision() != TableDecision::Excluded) {
        results.insert(table.table.clone(), TableResult::of(table));
    }
    for table in unread.into_iter().filter(|table| wants(&table.source_schema)) {
        results.entry(table.name.clone()).or_insert_with(|| failed(&table.name, table.scan_error));
    }
    for schema in schemas.into_iter().filter(|schema| wants(&schema.source_name)) {
        let error = format!("its tables could not be listed: {}", schema.scan_error);
        let row = TableResult { schema: schema.source_name, table: String::new(), ..failed("", error) };
        results.insert(schema.name, row);
    }
    results.into_values().collect()
}

impl TableResult {
    /// What people call it.
    fn name(&self) -> String {
        if self.table.is_empty() { self.schema.clone() } else { format!("{}.{}", self.schema, self.table) }
    }

    /// What the job says of a table.
    pub fn of(table: &JobTable) -> Self {
        let (schema, name) = match TableName::parse(&table.table) {
            Ok(name) => (name.parent().id().as_str().to_owned(), name.id().as_str().to_owned()),
            Err(_) => (String::new(), table.table.clone()),
        };
        let there = table.state() == MigrationState::Done || table.decision() == TableDecision::Unchanged;
        let (state, error) = match table.decision() {
            _ if there => (Outcome::Done, None),
            TableDecision::Skipped => (Outcome::Skipped, Some(why(table))),
            _ => (Outcome::Failed, Some(why(table))),
        };
        let mut columns = table.definition.iter().flat_map(|target| &target.columns);
        let partitioned = columns.any(|column| column.role() == ColumnRole::Partition);
        let seconds = |time: &prost_types::Timestamp| time.seconds as f64 + f64::from(time.nanos) / 1e9;
        Self {
            schema,
            table: name,
            state,
            source_rows: table.source_rows.or((there && table.rows_done > 0).then_some(table.rows_done)),
            target_rows: table.target_rows,
            delta_version: table.version.as_ref().and_then(|version| match &version.version {
                Some(Version::Delta(delta)) => Some(delta.version),
                _ => None,
            }),
            error,
            partitions: partitioned.then_some(table.unit_count),
            rows_read: table.rows_done,
            seconds: table.start_time.as_ref().zip(table.end_time.as_ref()).map(|(a, b)| seconds(b) - seconds(a)),
            create_sql: table.definition.as_ref().map(|target| target.create_sql.clone()).unwrap_or_default(),
            target: table.target.clone().unwrap_or_default(),
        }
    }
}

/// Why a table is not at the target.
fn why(table: &JobTable) -> String {
    let blockers: Vec<String> = table
        .findings
        .iter()
        .filter(|finding| finding.severity() == Severity::Blocker)
        .map(|finding| {
            let column = if finding.column.is_empty() { String::new() } else { format!(" {}", finding.column) };
            format!("{}{column}: {}", finding_text(finding.reason()), finding.message)
        })
        .collect();
    if !blockers.is_empty() {
        return blockers.join("; ");
    }
    match &table.reason {
        Some(reason) => format!("{}: {}", reason_text(reason.reason()), reason.message),
        None if !table.decision_message.is_empty() => table.decision_message.clone(),
        None => format!("its state is {}", output::word(table.state().as_str_name(), "MIGRATION_STATE_")),
    }
}

/// Tells the results, as JSON one a line, or as a table with the reasons of failures below; and why a job is not done.
/// True when everything is at the target that can be moved.
pub fn tell(results: &[TableResult], job: &Job, json: bool) -> anyhow::Result<bool> {
    list(results, json)?;
    let done = job.state() == JobState::Done;
    if let Some(reason) = job.reason.clone().or_else(|| (!done).then(Default::default)) {
        let state = output::word(job.state().as_str_name(), "JOB_STATE_");
        output::note(&format!("{} is {state}: {}", job.name, reason.message));
    }
    Ok(done && results.iter().all(|result| result.state != Outcome::Failed))
}

/// Lists results: as JSON one a line, or as a table with the reasons of failures below.
pub fn list(results: &[TableResult], json: bool) -> anyhow::Result<()> {
    if json {
        for result in results {
            output::line(&serde_json::to_string(result)?);
        }
        return Ok(());
    }
    output::table(
        ["table", "state", "partitions", "rows read", "rows in target", "seconds"],
        results.iter().map(|result| {
            [
                result.name(),
                format!("{:?}", result.state).to_uppercase(),
                output::count_or_dash(result.partitions),
                output::count(result.rows_read),
                output::count_or_dash(result.target_rows),
                result.seconds.map_or_else(|| "-".into(), |seconds| format!("{seconds:.1}")),
            ]
        }),
    );
    for result in results {
        if let Some(error) = &result.error {
            output::line(&format!("{}: {error}", result.name()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_job(table: &str) -> JobTable {
        JobTable {
            table: format!("dataSources/s/schemas/a/tables/{table}"),
            state: MigrationState::Done.into(),
            ..JobTable::default()
        }
    }

    fn unread(schema: &str, table: &str) -> Table {
        Table {
            name: format!("dataSources/s/schemas/{schema}/tables/{table}"),
            source_schema: schema.into(),
            scan_error: "no log".into(),
            ..Table::default()
        }
    }

    fn unlisted(schema: &str) -> Schema {
        Schema {
            name: format!("dataSources/s/schemas/{schema}"),
            source_name: schema.into(),
            scan_error: "forbidden".into(),
            ..Schema::default()
        }
    }

    #[test]
    fn what_could_not_be_read_or_listed_is_a_failure() {
        let done = Job { state: JobState::Done.into(), ..Job::default() };
        let good = gathered(vec![of_job("t")], vec![], vec![], &[]);
        assert!(tell(&good, &done, true).unwrap());
        let all = gathered(vec![of_job("t")], vec![unread("a", "u"), unread("b", "v")], vec![unlisted("c")], &[]);
        let told: Vec<_> = all.iter().map(|row| (row.name(), row.state)).collect();
        let failed = |name: &str| (name.to_owned(), Outcome::Failed);
        assert_eq!(told, [("a.t".into(), Outcome::Done), failed("a.u"), failed("b.v"), failed("c")]);
        assert_eq!(all[3].error.as_deref(), Some("its tables could not be listed: forbidden"));
        assert!(!tell(&all, &done, true).unwrap());
        assert!(!tell(&gathered(vec![of_job("t")], vec![], vec![unlisted("c")], &[]), &done, true).unwrap());
        // Only what was asked for.
        let wanted = ["a".to_owned()];
        assert_eq!(gathered(vec![of_job("t")], vec![unread("b", "v")], vec![unlisted("c")], &wanted).len(), 1);
    }

    #[test]
    fn what_cannot_be_moved_because_of_its_kind_is_skipped_and_no_failure() {
        let done = Job { state: JobState::Done.into(), ..Job::default() };
        let view = JobTable {
            decision: TableDecision::Skipped.into(),
            state: MigrationState::Init.into(),
            decision_message: "KIND_UNSUPPORTED: the table is a VIEW".into(),
            ..of_job("v")
        };
        let all = gathered(vec![of_job("t"), view], vec![], vec![], &[]);
        assert_eq!(all.iter().map(|row| row.state).collect::<Vec<_>>(), [Outcome::Done, Outcome::Skipped]);
        assert!(all[1].error.as_deref().is_some_and(|error| error.contains("VIEW")));
        assert!(tell(&all, &done, true).unwrap());
    }

    #[test]
    fn a_job_that_failed_as_a_whole_is_no_success() {
        let failed = Job { state: JobState::Failed.into(), ..Job::default() };
        assert!(!tell(&[], &failed, true).unwrap());
    }
}
