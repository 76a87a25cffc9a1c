//! PlanningService: the calls that the scheduler makes.

use mms_mapping::TargetPolicy;
use mms_proto::ApiError;
use mms_proto::catalog::v1 as pb;
use mms_proto::name::{ResourceName, TableName, TaskName};
use mms_proto::types::v1::{self as types, MigrationState};
use mms_server::stream::Answers;
use pb::pin_table_response::Part;
use pb::planning_service_server::PlanningService;
use tonic::{Request, Response, Status};

use super::{Api, check, name};
use crate::convert;
use crate::error::{CatalogError, Result};
use crate::key;
use crate::migration::{self, Report};
use crate::plan::{self, Ask, Claim, Planned};
use crate::status::State;

/// Messages that are buffered for a slow caller.
const QUEUE: usize = 2;

fn ask(request: pb::PinTableRequest) -> Result<Ask, Status> {
    let version = match &request.version {
        None => None,
        Some(version) => {
            let version = convert::migrated_from(version, None)
                .ok_or_else(|| CatalogError::NotYet("pinning a version that is not Delta's".to_owned()))?;
            let number = u64::try_from(version.number);
            Some(number.map_err(|_| ApiError::invalid_field("version.delta.version", "must not be negative"))?)
        }
    };
    let policy = match request.target_policy() {
        types::TargetPolicy::Unspecified => None,
        types::TargetPolicy::CreateOrOwn => Some(TargetPolicy::CreateOrOwn),
        types::TargetPolicy::Replace => Some(TargetPolicy::Replace),
        types::TargetPolicy::FailIfExists => Some(TargetPolicy::FailIfExists),
        types::TargetPolicy::Adopt => Some(TargetPolicy::Adopt),
    };
    let marks_unchanged = request.unchanged_units() == pb::UnchangedUnits::Marked;
    let names_gone = request.gone_partitions() == pb::GonePartitions::Named;
    let options = request.options.unwrap_or_default();
    Ok(Ask {
        version,
        kind: options.target_kind(),
        lifecycle_days: options.lifecycle_days.and_then(|days| u32::try_from(days).ok()).filter(|days| *days > 0),
        target: convert::target_from(options.target),
        columns: options.column_names.into_iter().collect(),
        policy,
        partitions: request.partitions,
        partition_filter: options.partition_filter,
        marks_unchanged,
        names_gone,
    })
}

fn report(at: usize, report: &pb::MigrationReport) -> Result<Report, Status> {
    let field = |name: &str| format!("reports[{at}].{name}");
    let task: TaskName = name(&field("task"), &report.task)?;
    let table: TableName = name(&field("table"), &report.table)?;
    if task.data_source() != table.data_source() {
        let text = format!("{table} does not lie under the data source of {task}");
        return Err(ApiError::invalid_field(field("table"), text).into());
    }
    let state = match report.state() {
        MigrationState::Init => State::Init,
        MigrationState::Doing => State::Doing,
        MigrationState::Done => State::Done,
        MigrationState::Failed => State::Failed,
        MigrationState::PartDone | MigrationState::Unspecified => {
            return Err(ApiError::invalid_field(field("state"), "must be INIT, DOING, DONE or FAILED").into());
        }
    };
    for segment in &report.partitions {
        migration::is_segment(segment).map_err(|reason| ApiError::invalid_field(field("partitions"), reason))?;
    }
    Ok(Report {
        task: report.task.clone(),
        sequence: report.sequence,
        table: key::table_key(&table),
        partitions: report.partitions.clone(),
        state,
        migrated: report.version.as_ref().and_then(|version| convert::migrated_from(version, report.target.clone())),
        target_digest: report.target_digest.to_vec(),
        rules_digest: report.rules_digest.to_vec(),
        of_part: report.of_part,
    })
}

impl Api {
    async fn stream(&self, planned: Planned, out: &plan::Out) -> Result<()> {
        let first = pb::PinTableResponse { part: Some(Part::Table(planned.table)) };
        if out.send(Ok(first)).await.is_err() {
            return Ok(());
        }
        let end = match planned.files {
            Some(files) => files.emit(self.core.bounds.plan_memory, out).await?,
            None => pb::PinEnd::default(),
        };
        // If nobody listens any more, there is nobody to report the failure to.
        let _gone = out.send(Ok(pb::PinTableResponse { part: Some(Part::End(end)) })).await;
        Ok(())
    }
}

#[tonic::async_trait]
impl PlanningService for Api {
    type PinTableStream = Answers<pb::PinTableResponse>;

    async fn pin_table(&self, request: Request<pb::PinTableRequest>) -> Result<Response<Self::PinTableStream>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let key = key::table_key(
            &TableName::parse(&request.name)
                .map_err(|error| Status::from(ApiError::invalid_field("name", error.reason)))?,
        );
        let ask = ask(request)?;
        let api = self.clone();
        // `mms_server::stream` makes calls to the registry on behalf of this call.
        let answers = mms_server::stream(QUEUE, move |out| async move {
            let sent = match Box::pin(plan::plan(&api.core, &key, &ask, Claim::Take)).await {
                Ok(planned) => api.stream(planned, &out).await,
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                drop(out.send(Err(error.into())).await);
            }
        });
        Ok(Response::new(answers))
    }

    async fn report_migration(
        &self,
        request: Request<pb::ReportMigrationRequest>,
    ) -> Result<Response<pb::ReportMigrationResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let reports = request.reports.iter().enumerate();
        let reports = reports.map(|(at, one)| report(at, one)).collect::<Result<Vec<_>, Status>>()?;
        let now = self.core.now_ms();
        self.core
            .store
            .commit_together(move |tx| {
                for report in &reports {
                    migration::report(tx, now, report)?;
                }
                Ok::<_, CatalogError>(())
            })
            .await?;
        Ok(Response::new(pb::ReportMigrationResponse {}))
    }

    async fn request_scan(
        &self,
        request: Request<pb::RequestScanRequest>,
    ) -> Result<Response<pb::RequestScanResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let (parent, request_id) = (request.data_source, request.request_id);
        let create = pb::CreateScanRequest { parent, scan: request.scan, request_id, ..Default::default() };
        let scan = Some(self.create_scan_now(create).await?);
        Ok(Response::new(pb::RequestScanResponse { scan }))
    }
}
