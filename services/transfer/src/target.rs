//! The target of a task, and the statements that run there.

use std::sync::Arc;

use mms_maxcompute::instance::{InstanceState, Submitted};
use mms_maxcompute::project::Project;
use mms_maxcompute::table::{PartitionSpec, TableDefinition};
use mms_maxcompute::{MaxComputeError, Statement, ddl};
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::{PartitionValue, TargetUnit};
use uuid::Uuid;

use crate::definition::definition;
use crate::ends::{Ends, Sessions};
use crate::error::{Result, TransferError};
use crate::schemas::Schemas;

/// How long a statement may take.
const STATEMENT_LIMIT: std::time::Duration = std::time::Duration::from_secs(1800);

/// The target of a task, parsed.
pub struct Target {
    /// What is made.
    pub definition: TableDefinition,
    /// Client of the project that statements run in.
    pub project: Project,
    /// Schemas that are known to be there.
    pub schemas: Arc<Schemas>,
    /// SET flags for every statement.
    pub settings: std::collections::BTreeMap<String, String>,
}

impl Target {
    /// The target that a task was planned for.
    pub fn of(spec: &pb::TaskSpec, sessions: &Arc<Sessions>, ends: &Arc<Ends>) -> Result<Self> {
        let planned = spec.target.as_ref().ok_or_else(|| TransferError::Plan("it has no target".to_owned()))?;
        let definition = definition(planned)?;
        let settings = spec.sql_parameters.clone().into_iter().collect();
        let schemas = ends.schemas().clone();
        let project = sessions.project(&spec.data_source, ends, &spec.tunnel_quota)?;
        Ok(Self { definition, project, schemas, settings })
    }

    /// The partition of a unit; None for an unpartitioned table.
    pub fn partition(&self, values: &[PartitionValue]) -> Result<Option<PartitionSpec>> {
        if values.is_empty() {
            return Ok(None);
        }
        let level = |value: &PartitionValue| {
            let column = mms_maxcompute::name::ColumnName::new(value.column.clone());
            column.map(|column| (column, value.value.clone())).map_err(|error| TransferError::Plan(error.to_string()))
        };
        Ok(Some(PartitionSpec(values.iter().map(level).collect::<Result<_>>()?)))
    }

    /// The partitions of all units of a task.
    pub fn partitions(&self, units: &[TargetUnit]) -> Result<Vec<PartitionSpec>> {
        let specs = units.iter().map(|unit| self.partition(&unit.partition));
        Ok(specs.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn statement(&self, sql: String, id: Uuid) -> Statement {
        let mut statement = Statement::new(sql, id, self.definition.target.schema.is_some());
        statement.settings.clone_from(&self.settings);
        statement
    }

    /// Runs a statement that has no rows and does no harm when it runs again, and at any time: it gets a new id each time.
    pub async fn execute(&self, sql: String) -> Result<()> {
        self.project.execute(&self.statement(sql, Uuid::new_v4()), STATEMENT_LIMIT).await?;
        Ok(())
    }

    /// Runs a question, likewise.
    pub async fn run(&self, sql: String) -> Result<mms_maxcompute::SqlRows> {
        Ok(self.project.run(&self.statement(sql, Uuid::new_v4()), STATEMENT_LIMIT).await?)
    }

    /// Sends the drop of the table, or of some of its partitions, as the one statement that has this id, or finds the instance
    /// that it has. For [`crate::publish`] alone.
    pub async fn send_drop(&self, id: Uuid, partitions: &[PartitionSpec]) -> Result<Submitted, MaxComputeError> {
        let table = &self.definition.target;
        let sql = if partitions.is_empty() { ddl::drop_table(table) } else { ddl::drop_partitions(table, partitions) };
        self.project.submit(&self.statement(sql, id)).await
    }

    /// Waits for an instance's end.
    pub async fn ended(&self, instance: &Submitted) -> Result<InstanceState, MaxComputeError> {
        self.project.ended(instance, STATEMENT_LIMIT).await
    }
}
