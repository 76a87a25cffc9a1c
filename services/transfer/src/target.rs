//! The target table of a task, and the SQL statements that run there.

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

/// The longest that a statement may take.
const STATEMENT_LIMIT: std::time::Duration = std::time::Duration::from_secs(1800);

pub struct Target {
    /// The planned table.
    pub definition: TableDefinition,
    /// Client of the project that statements run in.
    pub project: Project,
    /// Schemas that are known to exist.
    pub schemas: Arc<Schemas>,
    /// SET flags of every statement.
    pub settings: std::collections::BTreeMap<String, String>,
}

impl Target {
    /// Parses the target that a task was planned for.
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

    /// The partitions of all units of a task, in their order.
    pub fn partitions(&self, units: &[TargetUnit]) -> Result<Vec<PartitionSpec>> {
        let specs = units.iter().map(|unit| self.partition(&unit.partition));
        Ok(specs.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn statement(&self, sql: String, id: Uuid) -> Statement {
        let mut statement = Statement::new(sql, id, self.definition.target.schema.is_some());
        statement.settings.clone_from(&self.settings);
        statement
    }

    /// Runs a statement without a result. It must be harmless however often and however late it runs: each call gives it a
    /// new id.
    pub async fn execute(&self, sql: String) -> Result<()> {
        self.project.execute(&self.statement(sql, Uuid::new_v4()), STATEMENT_LIMIT).await?;
        Ok(())
    }

    /// Runs a query, likewise with a new id.
    pub async fn run(&self, sql: String) -> Result<mms_maxcompute::SqlRows> {
        Ok(self.project.run(&self.statement(sql, Uuid::new_v4()), STATEMENT_LIMIT).await?)
    }

    /// Sends the drop of the table, or of some of its partitions, under this id. If a statement has that id already, finds
    /// its instance instead. Only [`crate::publish`] may call it.
    pub async fn send_drop(&self, id: Uuid, partitions: &[PartitionSpec]) -> Result<Submitted, MaxComputeError> {
        let table = &self.definition.target;
        let sql = if partitions.is_empty() { ddl::drop_table(table) } else { ddl::drop_partitions(table, partitions) };
        self.project.submit(&self.statement(sql, id)).await
    }

    /// Waits until an instance has ended.
    pub async fn ended(&self, instance: &Submitted) -> Result<InstanceState, MaxComputeError> {
        self.project.ended(instance, STATEMENT_LIMIT).await
    }
}
