//! One attempt at a task: the steps that are left, in order, each reported when it is done.

use std::sync::Arc;

use mms_maxcompute::instance::{InstanceId, InstanceState};
use mms_maxcompute::project::Project;
use mms_maxcompute::table::{PartitionSpec, TableDefinition};
use mms_maxcompute::{MaxComputeError, Statement, ddl};
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::{PartitionValue, TargetUnit};
use pb::TaskStep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::definition::definition;
use crate::ends::{Ends, Sessions};
use crate::error::{Result, TransferError};
use crate::peers::Peers;
use crate::progress::Progress;
use crate::{data, publish, schema, verify};

/// Who this worker is to the scheduler.
#[derive(Debug, Clone)]
pub struct Me {
    /// `workers/{worker}`.
    pub worker: String,
    /// This process.
    pub instance: String,
}

/// How rows are moved here.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Compression of blocks.
    pub codec: mms_maxcompute::tunnel::Codec,
    /// Bytes after which a block ends.
    pub block_bytes: u64,
    /// Bytes that may be held of a file that is read.
    pub slot_memory_bytes: u64,
    /// Whether tables may lie on this machine.
    pub allow_local_files: bool,
}

/// What an attempt works with.
pub struct Run {
    /// Who we are.
    pub me: Me,
    /// The other services.
    pub peers: Peers,
    /// How rows are moved.
    pub settings: Settings,
    /// The task.
    pub spec: pb::TaskSpec,
    /// The lease's epoch.
    pub epoch: pb::Epoch,
    /// How far it is.
    pub progress: Arc<Progress>,
    /// Finish the unit at hand, then give the lease back.
    pub wind_down: CancellationToken,
}

/// The target of a task, parsed.
pub struct Target {
    /// What is made.
    pub definition: TableDefinition,
    /// Client of the project that statements run in.
    pub project: Project,
    /// SET flags for every statement.
    pub settings: std::collections::BTreeMap<String, String>,
}

/// How an attempt ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All steps are done and reported.
    Done,
    /// It stopped at a checkpoint: the lease is to be given back.
    WoundDown,
}

/// Characters of a line for a task's log.
const LINE_CHARS_MAX: usize = 4_000;

/// Units that are published, by their index, with rows.
pub type Published = std::collections::BTreeMap<i32, pb::UnitResult>;

impl Run {
    /// Does what is left of a task. What fails is reported by the caller, with the step it failed in.
    pub async fn attempt(&self, sessions: &Sessions, lease: &pb::Lease) -> Result<End, (TaskStep, TransferError)> {
        let first = TaskStep::try_from(lease.first_step).unwrap_or(TaskStep::Schema);
        let ends = sessions.ends(&self.spec.data_source).await.map_err(|error| (first, error))?;
        let target = self.target(&ends).map_err(|error| (first, error))?;
        let mut published: Published = lease.units_done.iter().map(|unit| (unit.unit_index, *unit)).collect();
        publish::resolve_open(self, &target, &lease.open_intents, &mut published).await.map_err(|e| (first, e))?;
        let makes_schema = self.spec.steps.contains(&(TaskStep::Schema as i32));
        if first == TaskStep::Data {
            // Another attempt's SCHEMA, or nobody's: what is there now may be somebody else's.
            schema::check_ours(self, &target).await.map_err(|error| (first, error))?;
        }
        let left = self.spec.steps.iter().filter_map(|step| TaskStep::try_from(*step).ok());
        for step in left.filter(|step| *step as i32 >= first as i32) {
            let fail = |error| (step, error);
            self.progress.set_step(step);
            self.report(pb::task_report::Event::StepBegun(pb::StepBegun { step: step as i32 }), vec![])
                .await
                .map_err(fail)?;
            let (done, lines) = match step {
                TaskStep::Data => match data::run(self, &ends, &target, &mut published).await {
                    Ok(Some(done)) => done,
                    Ok(None) => return Ok(End::WoundDown),
                    Err(error) if makes_schema && error.target_is_gone() => {
                        return Err(fail(TransferError::TargetGone(error.to_string())));
                    }
                    Err(error) => return Err(fail(error)),
                },
                TaskStep::Verification => verify::run(self, &target, &published).await.map_err(fail)?,
                _ => schema::run(self, &target).await.map_err(fail)?,
            };
            self.report(pb::task_report::Event::StepDone(done), lines).await.map_err(fail)?;
        }
        self.progress.finish();
        Ok(End::Done)
    }

    fn target(&self, ends: &Ends) -> Result<Target> {
        let planned = self.spec.target.as_ref().ok_or_else(|| TransferError::Plan("it has no target".to_owned()))?;
        let definition = definition(planned)?;
        let settings = self.spec.sql_parameters.clone().into_iter().collect();
        Ok(Target { definition, project: ends.project(&self.spec.tunnel_quota)?, settings })
    }

    /// Reports on this task.
    pub async fn report(&self, event: pb::task_report::Event, log_lines: Vec<String>) -> Result<()> {
        let line = |text: String| pb::LogLine {
            level: pb::LogLevel::Info as i32,
            message: text.chars().take(LINE_CHARS_MAX).collect(),
        };
        let report = pb::TaskReport {
            task: self.spec.name.clone(),
            epoch: Some(self.epoch),
            event: Some(event),
            lines: log_lines.into_iter().map(line).collect(),
        };
        self.peers
            .report(&pb::ReportTasksRequest {
                worker: self.me.worker.clone(),
                instance: self.me.instance.clone(),
                reports: vec![report],
            })
            .await
    }
}

impl Target {
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

    /// Runs a statement that does no harm when it runs again, and at any time: it gets a new id each time.
    pub async fn run(&self, sql: String) -> Result<mms_maxcompute::SqlRows> {
        Ok(self.project.run(&self.statement(sql, Uuid::new_v4()), STATEMENT_LIMIT).await?)
    }

    /// Sends the drop of the table as the one statement that has this id, or finds the instance that it has. For
    /// [`crate::publish`] alone.
    pub async fn send_drop(&self, id: Uuid) -> Result<InstanceId, MaxComputeError> {
        self.project.submit(&self.statement(ddl::drop_table(&self.definition.target), id)).await
    }

    /// Waits for an instance's end.
    pub async fn ended(&self, instance: &InstanceId) -> Result<InstanceState, MaxComputeError> {
        self.project.ended(instance, STATEMENT_LIMIT).await
    }
}

/// How long a statement may take.
const STATEMENT_LIMIT: std::time::Duration = std::time::Duration::from_secs(1800);
