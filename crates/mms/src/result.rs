//! What came of each table of a job: read from the services, told as a table or as JSON.

use std::collections::BTreeMap;

use mms_proto::catalog::v1::ListTablesRequest;
use mms_proto::name::{ResourceName, TableName};
use mms_proto::scheduler::v1::{JobTable, ListJobTablesRequest, TableDecision};
use mms_proto::types::v1::source_version::Version;
use mms_proto::types::v1::{MigrationState, Severity, TargetTable};
use serde::Serialize;

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
    /// It is not.
    Failed,
}

/// One table's result.
#[derive(Debug, Serialize)]
pub struct TableResult {
    /// The source's name of its schema.
    pub schema: String,
    /// The source's own name of it.
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
    /// Target units: partitions, or the table itself.
    #[serde(skip)]
    pub units: i64,
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
    let mut request = ListJobTablesRequest { parent: job.to_owned(), page_size: PAGE, ..Default::default() };
    let mut tables = Vec::new();
    loop {
        let page = clients.jobs.clone().list_job_tables(request.clone()).await?.into_inner();
        tables.extend(page.job_tables);
        if page.next_page_token.is_empty() {
            return Ok(tables);
        }
        request.page_token = page.next_page_token;
    }
}

/// What came of every table that a source has, below these schemas if any are named: also of those that no scan could read.
pub async fn of_job(
    clients: &Clients,
    source: &str,
    schemas: &[String],
    job: &str,
) -> anyhow::Result<Vec<TableResult>> {
    let mut results = BTreeMap::new();
    for table in job_tables(clients, job).await? {
        if table.decision() != TableDecision::Excluded {
            results.insert(table.table.clone(), TableResult::of(&table));
        }
    }
    let mut request =
        ListTablesRequest { parent: format!("{source}/schemas/-"), page_size: PAGE, ..Default::default() };
    loop {
        let page = clients.catalog.clone().list_tables(request.clone()).await?.into_inner();
        for table in page.tables {
            let wanted = schemas.is_empty() || schemas.contains(&table.source_schema);
            if wanted && !table.scan_error.is_empty() && !results.contains_key(&table.name) {
                let unread = JobTable { table: table.name.clone(), ..JobTable::default() };
                results.insert(table.name, TableResult { error: Some(table.scan_error), ..TableResult::of(&unread) });
            }
        }
        if page.next_page_token.is_empty() {
            return Ok(results.into_values().collect());
        }
        request.page_token = page.next_page_token;
    }
}

impl TableResult {
    /// What the job says of a table.
    pub fn of(table: &JobTable) -> Self {
        let (schema, name) = match TableName::parse(&table.table) {
            Ok(name) => (name.parent().id().as_str().to_owned(), name.id().as_str().to_owned()),
            Err(_) => (String::new(), table.table.clone()),
        };
        let there = table.state() == MigrationState::Done || table.decision() == TableDecision::Unchanged;
        let (state, error) = if there { (Outcome::Done, None) } else { (Outcome::Failed, Some(why(table))) };
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
            units: table.unit_count,
            rows_read: table.rows_done,
            seconds: table.start_time.as_ref().zip(table.end_time.as_ref()).map(|(a, b)| seconds(b) - seconds(a)),
            create_sql: table.target.as_ref().map(|target| target.create_sql.clone()).unwrap_or_default(),
            target: table.target.as_ref().and_then(|target| target.table.clone()).unwrap_or_default(),
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
            format!("{}{column}: {}", finding.reason, finding.message)
        })
        .collect();
    if !blockers.is_empty() {
        return blockers.join("; ");
    }
    match &table.reason {
        Some(reason) => format!("{}: {}", reason.reason, reason.message),
        None if !table.decision_reason.is_empty() => table.decision_reason.clone(),
        None => format!("its state is {}", output::word(table.state().as_str_name(), "MIGRATION_STATE_")),
    }
}

/// Whether all went.
pub fn all_done(results: &[TableResult]) -> bool {
    !results.is_empty() && results.iter().all(|result| result.state == Outcome::Done)
}

/// Tells the results: as JSON one a line, or as a table with the reasons of failures below.
pub fn tell(results: &[TableResult], json: bool) -> anyhow::Result<()> {
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
                format!("{}.{}", result.schema, result.table),
                format!("{:?}", result.state).to_uppercase(),
                output::count(result.units),
                output::count(result.rows_read),
                output::count_or_dash(result.target_rows),
                result.seconds.map_or_else(|| "-".into(), |seconds| format!("{seconds:.1}")),
            ]
        }),
    );
    for result in results {
        if let Some(error) = &result.error {
            output::line(&format!("{}.{}: {error}", result.schema, result.table));
        }
    }
    Ok(())
}
