//! The result of each table of a job, read from the services. Includes the tables and schemas that no scan could read.

use std::collections::BTreeMap;

use mms_proto::catalog::v1::{ListSchemasRequest, ListTablesRequest, Schema, Table};
use mms_proto::error::{finding_text, reason_text};
use mms_proto::name::{ResourceName, TableName};
use mms_proto::page;
use mms_proto::scheduler::v1::job_spec::Scope;
use mms_proto::scheduler::v1::{JobTable, ListJobTablesRequest, TableDecision};
use mms_proto::types::v1::source_version::Version;
use mms_proto::types::v1::{ColumnRole, Severity, TargetTable, View};
use serde::{Serialize, Serializer};
use tonic::Status;

use crate::client::Clients;
use crate::outcome::Outcome;
use crate::scope;

/// Tables on a page of a list.
const PAGE: i32 = 200;

/// The result of one table. Its JSON uses the contracts' spelling.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableResult {
    /// The name of its schema in the source.
    pub schema: String,
    /// The name of the table in the source; empty for a schema whose tables could not be listed.
    pub table: String,
    pub state: Outcome,
    /// Rows of the pinned version, if known.
    #[serde(serialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub source_rows: Option<i64>,
    /// Rows at the target: the number that verification found, or that of the unchanged version that is there.
    #[serde(serialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub target_rows: Option<i64>,
    /// The pinned version.
    #[serde(serialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub delta_version: Option<i64>,
    /// Why the table is not at the target, and what to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Why>,
    /// Partitions to be written at the target; `None` for a table without partitions, or one that could not be planned.
    #[serde(skip)]
    pub partitions: Option<i64>,
    #[serde(skip)]
    pub bytes_read: i64,
    #[serde(skip)]
    pub rows_read: i64,
    /// Seconds from its first lease to the end of its last task.
    #[serde(skip)]
    pub seconds: Option<f64>,
    /// The statement that creates the target table.
    #[serde(skip)]
    pub create_sql: String,
    #[serde(skip)]
    pub target: TargetTable,
}

/// A result as a line of JSON. The last three fields repeat others in the spelling of earlier versions, for programs
/// that read it. They are kept until 0.1.0.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    #[serde(flatten)]
    result: &'a TableResult,
    /// `sourceRows` as a number.
    #[serde(rename = "source_rows", skip_serializing_if = "Option::is_none")]
    earlier_source_rows: Option<i64>,
    /// `targetRows` as a number.
    #[serde(rename = "target_rows", skip_serializing_if = "Option::is_none")]
    earlier_target_rows: Option<i64>,
    /// `reasons` as one text.
    #[serde(rename = "error", skip_serializing_if = "String::is_empty")]
    earlier_error: String,
}

impl<'a> Line<'a> {
    pub fn of(result: &'a TableResult) -> Self {
        let text = |why: &Why| {
            let head = [&why.reason, &why.column].map(String::as_str).join(" ");
            let parts = [head.trim(), &why.message, &why.remedy];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
        };
        Self {
            result,
            earlier_source_rows: result.source_rows,
            earlier_target_rows: result.target_rows,
            earlier_error: result.reasons.iter().map(text).collect::<Vec<_>>().join("; "),
        }
    }
}

/// One reason why a table is not at the target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// The stable reason; empty if there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The column; empty if the reason is not about one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub column: String,
    /// What is wrong, and with which value.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

fn number<S: Serializer>(number: &Option<i64>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&number.unwrap_or_default())
}

/// The tables of a job, sorted by name.
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

/// The results of what scans could not read within a scope: tables, and schemas whose tables could not be listed.
pub async fn unread(clients: &Clients, source: &str, scope: &Scope) -> anyhow::Result<Vec<TableResult>> {
    let mut request = ListSchemasRequest { parent: source.to_owned(), page_size: PAGE, ..Default::default() };
    let schemas = page::all(async |page_token| {
        request.page_token = page_token;
        let page = clients.catalog.clone().list_schemas(request.clone()).await?.into_inner();
        let unread = page.schemas.into_iter().filter(|schema| !schema.scan_error.is_empty());
        Ok::<_, Status>((unread.collect(), page.next_page_token))
    });
    let schemas = schemas.await?;
    let mut request =
        ListTablesRequest { parent: format!("{source}/schemas/-"), page_size: PAGE, ..Default::default() };
    let tables = page::all(async |page_token| {
        request.page_token = page_token;
        let page = clients.catalog.clone().list_tables(request.clone()).await?.into_inner();
        let unread = page.tables.into_iter().filter(|table| !table.scan_error.is_empty());
        Ok::<_, Status>((unread.collect(), page.next_page_token))
    });
    Ok(unread_of(tables.await?, schemas, scope))
}

fn unread_of(tables: Vec<Table>, schemas: Vec<Schema>, scope: &Scope) -> Vec<TableResult> {
    let failed = |schema: String, table: String, message: String| TableResult {
        schema,
        table,
        state: Outcome::Failed,
        reasons: vec![Why { message, ..Why::default() }],
        ..TableResult::of(&JobTable::default())
    };
    let wanted = |table: &Table| scope::has_table(scope, &table.source_schema, &table.source_name);
    let tables =
        tables.into_iter().filter(wanted).map(|table| failed(table.source_schema, table.source_name, table.scan_error));
    let listed = |schema: &Schema| scope::has_schema(scope, &schema.source_name);
    let schemas = schemas.into_iter().filter(listed).map(|schema| {
        let message = format!("its tables could not be listed: {}", schema.scan_error);
        failed(schema.source_name, String::new(), message)
    });
    tables.chain(schemas).collect()
}

/// The results of all tables of a scope, sorted by name.
pub async fn of_job(clients: &Clients, source: &str, scope: &Scope, job: &str) -> anyhow::Result<Vec<TableResult>> {
    let tables = job_tables(clients, job).await?;
    Ok(gathered(&tables, unread(clients, source, scope).await?))
}

/// One result for each table of the job, and for each unread one that is not among them.
pub fn gathered(tables: &[JobTable], unread: Vec<TableResult>) -> Vec<TableResult> {
    let of_job = tables.iter().filter(|table| table.decision() != TableDecision::Excluded).map(TableResult::of);
    let mut results = BTreeMap::new();
    for result in of_job.chain(unread) {
        results.entry((result.schema.clone(), result.table.clone())).or_insert(result);
    }
    results.into_values().collect()
}

impl TableResult {
    /// The name for people: `schema.table`, or the schema alone.
    pub fn name(&self) -> String {
        if self.table.is_empty() { self.schema.clone() } else { format!("{}.{}", self.schema, self.table) }
    }

    /// The result, from the job's record of a table.
    pub fn of(table: &JobTable) -> Self {
        let (schema, name) = match TableName::parse(&table.table) {
            Ok(name) => (name.parent().id().as_str().to_owned(), name.id().as_str().to_owned()),
            Err(_) => (String::new(), table.table.clone()),
        };
        let state = Outcome::of(table);
        let there = matches!(state, Outcome::Done | Outcome::Unchanged);
        let source_rows = table.source_rows.or((there && table.rows_done > 0).then_some(table.rows_done));
        let mut columns = table.definition.iter().flat_map(|target| &target.columns);
        let partitioned = columns.any(|column| column.role() == ColumnRole::Partition);
        let seconds = |time: &prost_types::Timestamp| time.seconds as f64 + f64::from(time.nanos) / 1e9;
        Self {
            schema,
            table: name,
            state,
            source_rows,
            // The target has an unchanged table in this version, and it was verified when it was written.
            target_rows: table.target_rows.or(source_rows.filter(|_| state == Outcome::Unchanged)),
            delta_version: table.version.as_ref().and_then(|version| match &version.version {
                Some(Version::Delta(delta)) => Some(delta.version),
                _ => None,
            }),
            reasons: why(table, state),
            partitions: (partitioned && table.unit_count > 0).then_some(table.unit_count),
            bytes_read: table.bytes_done,
            rows_read: table.rows_done,
            seconds: table.start_time.as_ref().zip(table.end_time.as_ref()).map(|(a, b)| seconds(b) - seconds(a)),
            create_sql: table.definition.as_ref().map(|target| target.create_sql.clone()).unwrap_or_default(),
            target: table.target.clone().unwrap_or_default(),
        }
    }
}

/// The reasons why a table is not at the target.
fn why(table: &JobTable, state: Outcome) -> Vec<Why> {
    if !matches!(state, Outcome::Skipped | Outcome::Blocked | Outcome::Failed) {
        return Vec::new();
    }
    let blockers = table.findings.iter().filter(|finding| finding.severity() == Severity::Blocker);
    let blockers: Vec<Why> = blockers.map(Why::of_finding).collect();
    match &table.reason {
        _ if !blockers.is_empty() => blockers,
        Some(reason) => {
            let (reason, message) = (reason_text(reason.reason()).to_owned(), reason.message.clone());
            vec![Why { reason, message, ..Why::default() }]
        }
        None => vec![Why { message: table.decision_message.clone(), ..Why::default() }],
    }
}

impl Why {
    /// The reason in a plan's finding.
    pub fn of_finding(finding: &mms_proto::types::v1::Finding) -> Self {
        Self {
            reason: finding_text(finding.reason()).to_owned(),
            column: finding.column.clone(),
            message: finding.message.clone(),
            remedy: finding.remedy.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_proto::types::v1::MigrationState;

    fn of_job(table: &str) -> JobTable {
        JobTable {
            table: format!("dataSources/s/schemas/a/tables/{table}"),
            decision: TableDecision::Move.into(),
            state: MigrationState::Done.into(),
            ..JobTable::default()
        }
    }

    fn unread(schema: &str, table: &str) -> Table {
        let (source_schema, source_name) = (schema.into(), table.into());
        Table { source_schema, source_name, scan_error: "no log".into(), ..Table::default() }
    }

    fn unlisted(schema: &str) -> Schema {
        Schema { source_name: schema.into(), scan_error: "forbidden".into(), ..Schema::default() }
    }

    #[test]
    fn what_could_not_be_read_or_listed_is_a_failure_within_the_scope() {
        let (tables, schemas) = (vec![unread("a", "u"), unread("b", "v"), unread("a", "t")], vec![unlisted("c")]);
        let everything = scope::of(&[], &[]);
        let all = gathered(&[of_job("t")], unread_of(tables.clone(), schemas.clone(), &everything));
        let told: Vec<_> = all.iter().map(|row| (row.name(), row.state)).collect();
        let failed = |name: &str| (name.to_owned(), Outcome::Failed);
        assert_eq!(told, [("a.t".into(), Outcome::Done), failed("a.u"), failed("b.v"), failed("c")]);
        assert_eq!(all[3].reasons[0].message, "its tables could not be listed: forbidden");
        // Only what is within the scope.
        let wanted = scope::of(&["A".into()], &[]);
        assert_eq!(gathered(&[of_job("t")], unread_of(tables.clone(), schemas.clone(), &wanted)).len(), 2);
        let wanted = scope::of(&[], &[scope::source_table("a.t").unwrap()]);
        assert_eq!(gathered(&[of_job("t")], unread_of(tables, schemas, &wanted)).len(), 1);
    }

    #[test]
    fn an_unchanged_table_shows_its_rows_and_a_skipped_one_why() {
        let unchanged = JobTable { decision: TableDecision::Unchanged.into(), source_rows: Some(7), ..of_job("t") };
        let shown = TableResult::of(&unchanged);
        assert_eq!((shown.state, shown.target_rows), (Outcome::Unchanged, Some(7)));
        let view = JobTable {
            decision: TableDecision::Skipped.into(),
            state: MigrationState::Init.into(),
            decision_message: "KIND_UNSUPPORTED: the table is a VIEW".into(),
            ..of_job("v")
        };
        assert!(TableResult::of(&view).reasons[0].message.contains("VIEW"));
        let json = serde_json::to_value(Line::of(&shown)).unwrap();
        let expected = serde_json::json!({
            "schema": "a", "table": "t", "state": "UNCHANGED", "sourceRows": "7", "targetRows": "7",
            "source_rows": 7, "target_rows": 7});
        assert_eq!(json, expected, "numbers as the contracts write theirs, and as they were written before");
        let skipped = serde_json::to_value(Line::of(&TableResult::of(&view))).unwrap();
        assert_eq!(skipped["error"], "KIND_UNSUPPORTED: the table is a VIEW", "{skipped}");
    }
}
