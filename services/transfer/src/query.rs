//! Reads a task's rows by SQL. Owns the session that the statements run in, the text of the statements, and the check that the
//! table's name still belongs to the planned table: a version number alone does not tell two tables apart.
//!
//! It must never name a version other than the pinned one, and never read a table that has a row filter or a column mask.

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use mms_databricks::sql::{ClusterStart, Session, ready_cluster, text};
use mms_databricks::{ClusterState, DatabricksError, HttpPath, Workspace};
use mms_delta::TableShape;
use mms_mapping::{SparkType, parse_schema};
use mms_proto::name::{ResourceName, TableName};
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::{ColumnRole, source_version};
use mms_storage::{LocalFiles, StorageLocation};
use std::sync::Arc;

use crate::ends::Sql;
use crate::error::{Result, TransferError};

/// An open SQL session on the planned table, at the pinned version.
pub struct Query {
    session: Session,
    workspace: Workspace,
    /// Catalog, schema and table.
    names: [String; 3],
    /// The table with its pinned version, in SQL.
    table: String,
    /// The selected columns, in SQL.
    selected: String,
    /// The selected columns, with the table's types.
    columns: SchemaRef,
    partition_columns: Vec<(String, SparkType)>,
    /// The table's storage location when it was planned.
    location: String,
    told: String,
}

fn plan(what: impl std::fmt::Display) -> TransferError {
    TransferError::Plan(what.to_string())
}

impl Query {
    /// Opens a session for a task. Starts the cluster if it is stopped.
    ///
    /// # Errors
    /// The cluster is not available, the server rejects the session, or the table is not the planned one any more.
    pub async fn open(spec: &pb::TaskSpec, sql: Sql, shape: &TableShape) -> Result<Self> {
        let Sql { workspace, path, catalog } = sql;
        let name = TableName::parse(&spec.table).map_err(plan)?;
        let names = [catalog, name.parent().id().as_str().to_owned(), name.id().as_str().to_owned()];
        let version = pinned(spec)?;
        let columns = columns(spec, shape)?;
        let selected: Vec<String> = columns.fields().iter().map(|field| text::identifier(field.name())).collect();
        let started = ready(&workspace, &path).await?;
        let session = Session::open(&workspace, &path).await?;
        let credential = if workspace.client_id().is_some() { "as an OAuth client" } else { "with an access token" };
        let [in_catalog, in_schema, table] = &names;
        let query = Self {
            table: format!("{} VERSION AS OF {version}", text::table(in_catalog, in_schema, table)),
            selected: selected.join(", "),
            partition_columns: partition_columns(spec)?,
            location: spec.location.clone(),
            told: format!("by SQL (JDBC) on {path} {credential}{started}"),
            session,
            workspace,
            names,
            columns,
        };
        query.still().await?;
        Ok(query)
    }

    /// Describes where the statements run, for the task's log.
    pub fn told(&self) -> &str {
        &self.told
    }

    /// The session that the statements run in.
    pub fn session(&self) -> Session {
        self.session.clone()
    }

    /// The columns that [`Query::select`] asks for, with the table's types.
    pub fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    /// The partition columns of the table, in their order.
    pub fn partition_columns(&self) -> &[(String, SparkType)] {
        &self.partition_columns
    }

    /// The statement that selects the rows that meet a condition; all rows without one.
    pub fn select(&self, condition: Option<&str>) -> String {
        format!("SELECT {} FROM {}", self.selected, self.shown(condition))
    }

    /// The table, version and condition that a statement reads, both for messages and as SQL.
    pub fn shown(&self, condition: Option<&str>) -> String {
        match condition {
            Some(condition) => format!("{} WHERE {condition}", self.table),
            None => self.table.clone(),
        }
    }

    /// Asks the server how many rows meet a condition.
    pub async fn count(&self, condition: Option<&str>) -> Result<u64> {
        let sql = format!("SELECT COUNT(*) AS n FROM {}", self.shown(condition));
        let found = self.session.all(&sql, 1).await?;
        let count = found.first().and_then(|batch| {
            let numbers = batch.columns().first()?.as_primitive_opt::<Int64Type>()?;
            u64::try_from(*numbers.values().first()?).ok()
        });
        let what = || format!("the answer to {sql} is no number");
        count.ok_or_else(|| DatabricksError::Answer { call: "COUNT(*)".to_owned(), what: what() }.into())
    }

    /// Checks that the table's name still belongs to the planned table, and that SQL still gives all of its rows.
    ///
    /// # Errors
    /// [`TransferError::Unlike`] if not, or an error of the workspace.
    pub async fn still(&self) -> Result<()> {
        let [catalog, schema, table] = &self.names;
        let info = self.workspace.get_table(catalog, schema, table).await?;
        let found = info.storage_location.as_deref().unwrap_or_default();
        let shown = text::table(catalog, schema, table);
        if !same_place(&self.location, found) {
            let what = format!("{shown} lies at {found:?} now, and lay at {} when it was planned", self.location);
            return Err(TransferError::Unlike(what));
        }
        if info.is_governed_by_row() {
            let what = format!("{shown} has a row filter or a column mask now, by which SQL gives not all that it has");
            return Err(TransferError::Unlike(what));
        }
        Ok(())
    }
}

/// Whether the workspace and the plan name the same location, however each spells it. Local folders are allowed, because nothing
/// is read from the location.
fn same_place(planned: &str, found: &str) -> bool {
    let url = |text: &str| StorageLocation::parse(text, LocalFiles::Allowed).map(|location| location.url());
    matches!((url(planned), url(found)), (Ok(planned), Ok(found)) if planned == found)
}

fn pinned(spec: &pb::TaskSpec) -> Result<i64> {
    match spec.version.as_ref().and_then(|version| version.version.as_ref()) {
        Some(source_version::Version::Delta(delta)) => Ok(delta.version),
        _ => Err(plan("it has no version of a Delta table, at which SQL is to read")),
    }
}

/// The planned columns that hold data, each once, with the table's types.
fn columns(spec: &pb::TaskSpec, shape: &TableShape) -> Result<SchemaRef> {
    let planned = spec.target.as_ref().map(|target| target.columns.as_slice()).unwrap_or_default();
    let mut fields: Vec<arrow::datatypes::FieldRef> = Vec::new();
    for column in planned.iter().filter(|column| column.role() == ColumnRole::Data) {
        let name = &column.source_column;
        let (_, field) = shape
            .arrow_schema()
            .fields()
            .find(name)
            .ok_or_else(|| plan(format_args!("its column `{name}` is not in the table's schema")))?;
        if !fields.contains(field) {
            fields.push(Arc::clone(field));
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn partition_columns(spec: &pb::TaskSpec) -> Result<Vec<(String, SparkType)>> {
    let Some(pb::task_spec::Format::Delta(delta)) = &spec.format else { return Ok(Vec::new()) };
    let schema = parse_schema(&delta.schema_json).map_err(plan)?;
    let kind = |name: &String| {
        let column = schema.iter().find(|column| column.name == *name);
        column.map(|column| (name.clone(), column.data_type.clone())).ok_or_else(|| plan(format_args!("no `{name}`")))
    };
    delta.partition_columns.iter().map(kind).collect()
}

/// Waits for the cluster of a path, and starts it if it is stopped. The start is logged because it costs money. A warehouse
/// starts by itself.
async fn ready(workspace: &Workspace, path: &HttpPath) -> Result<&'static str> {
    let Some(cluster) = path.cluster_id() else { return Ok("") };
    let mut stopped = false;
    ready_cluster(workspace, cluster, ClusterStart::WhenNeeded, |found| {
        stopped |= found.state == ClusterState::Terminated;
        tracing::info!(cluster, state = ?found.state, "waiting for the cluster");
    })
    .await?;
    Ok(if stopped { ", which was stopped and is started for it" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_same_however_it_is_written() {
        let planned = "abfss://data@acct.dfs.core.windows.net/t/x/";
        for same in
            ["abfss://data@acct.dfs.core.windows.net/t/x", "https://acct.dfs.core.windows.net/data/t/x", planned]
        {
            assert!(same_place(planned, same), "{same}");
        }
        for other in
            ["abfss://data@acct.dfs.core.windows.net/t/y", "abfss://data@other.dfs.core.windows.net/t/x", "", "t/x"]
        {
            assert!(!same_place(planned, other), "{other}");
        }
        assert!(same_place("file:///d/a%20b/", "file:///d/a%20b"));
    }
}
