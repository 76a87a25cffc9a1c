//! CatalogService: browsing, targets, states set by hand, and the plan of one table.

use mms_proto::catalog::v1 as pb;
use mms_proto::name::{DataSourceName, PartitionName, ResourceName, SchemaName, TableName};
use mms_proto::types::v1::MigrationState;
use mms_proto::{ApiError, FieldViolation};
use mms_store::Read;
use pb::catalog_service_server::CatalogService;
use tonic::{Request, Response, Status};

use super::{Api, check, name, update};
use crate::convert;
use crate::error::{CatalogError, Result};
use crate::key;
use crate::migration::{self, Subject};
use crate::plan::{self, Ask, Claim};
use crate::status::State;
use crate::store::{PARTITIONS, SCHEMAS, SUMMARIES, TABLES};

fn missing(name: impl ToString) -> CatalogError {
    CatalogError::NotFound(name.to_string())
}

fn subject(text: &str) -> Option<(Subject, DataSourceName)> {
    if let Ok(name) = PartitionName::parse(text) {
        return Some((Subject::Partition(key::partition_key(&name)), name.data_source().clone()));
    }
    if let Ok(name) = TableName::parse(text) {
        return Some((Subject::Table(key::table_key(&name)), name.data_source().clone()));
    }
    let name = SchemaName::parse(text).ok()?;
    Some((Subject::Schema(key::schema_key(&name)), name.data_source().clone()))
}

/// Rejects a request with all its violations at once.
fn refuse(found: Vec<FieldViolation>) -> Result<(), Status> {
    if found.is_empty() { Ok(()) } else { Err(ApiError::invalid(found).into()) }
}

#[tonic::async_trait]
impl CatalogService for Api {
    async fn get_schema(
        &self,
        request: Request<pb::GetSchemaRequest>,
    ) -> Result<Response<pb::GetSchemaResponse>, Status> {
        check(request.get_ref())?;
        let name: SchemaName = name("name", &request.get_ref().name)?;
        let key = key::schema_key(&name);
        let found = self.core.store.read(|read| read.get(&SCHEMAS, &key)).map_err(CatalogError::from)?;
        let uid = self.source_uid(&key.0)?;
        let schema = convert::schema_to(&uid, &key, found.ok_or_else(|| missing(name))?)?;
        Ok(Response::new(pb::GetSchemaResponse { schema: Some(schema) }))
    }

    async fn list_schemas(
        &self,
        request: Request<pb::ListSchemasRequest>,
    ) -> Result<Response<pb::ListSchemasResponse>, Status> {
        check(request.get_ref())?;
        self.schemas(request.get_ref()).map(Response::new)
    }

    async fn update_schema(
        &self,
        request: Request<pb::UpdateSchemaRequest>,
    ) -> Result<Response<pb::UpdateSchemaResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let changes = update::of_schema(&request)?;
        let key = key::schema_key(&name::<SchemaName>("name", &request.name)?);
        let etag = request.schema.map(|schema| schema.etag).unwrap_or_default();
        let schema = self.update_schema_target(key, etag, changes).await?;
        Ok(Response::new(pb::UpdateSchemaResponse { schema: Some(schema) }))
    }

    async fn get_table(&self, request: Request<pb::GetTableRequest>) -> Result<Response<pb::GetTableResponse>, Status> {
        check(request.get_ref())?;
        let name: TableName = name("name", &request.get_ref().name)?;
        let key = key::table_key(&name);
        let found = self.core.store.read(|read| read.get(&TABLES, &key)).map_err(CatalogError::from)?;
        let uid = self.source_uid(&key.0)?;
        let table = convert::table_to(&uid, &key, found.ok_or_else(|| missing(name))?)?;
        let table = convert::in_view(table, request.get_ref().view());
        Ok(Response::new(pb::GetTableResponse { table: Some(table) }))
    }

    async fn list_tables(
        &self,
        request: Request<pb::ListTablesRequest>,
    ) -> Result<Response<pb::ListTablesResponse>, Status> {
        check(request.get_ref())?;
        self.tables(request.get_ref()).map(Response::new)
    }

    async fn update_table(
        &self,
        request: Request<pb::UpdateTableRequest>,
    ) -> Result<Response<pb::UpdateTableResponse>, Status> {
        check(request.get_ref())?;
        let tables = self.update_tables(&[request.into_inner()], |_| String::new()).await?;
        Ok(Response::new(pb::UpdateTableResponse { table: tables.into_iter().next() }))
    }

    async fn batch_update_tables(
        &self,
        request: Request<pb::BatchUpdateTablesRequest>,
    ) -> Result<Response<pb::BatchUpdateTablesResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let parent: DataSourceName = name("parent", &request.parent)?;
        let outside = |(at, one): (usize, &pb::UpdateTableRequest)| {
            let under = TableName::parse(&one.name).is_ok_and(|name| name.data_source() == &parent);
            let text = format!("{} does not lie under {parent}", one.name);
            (!under).then(|| FieldViolation::new(format!("requests[{at}].name"), text))
        };
        refuse(request.requests.iter().enumerate().filter_map(outside).collect())?;
        let tables = self.update_tables(&request.requests, |at| format!("requests[{at}].")).await?;
        Ok(Response::new(pb::BatchUpdateTablesResponse { tables }))
    }

    async fn get_partition(
        &self,
        request: Request<pb::GetPartitionRequest>,
    ) -> Result<Response<pb::GetPartitionResponse>, Status> {
        check(request.get_ref())?;
        let name: PartitionName = name("name", &request.get_ref().name)?;
        let key = key::partition_key(&name);
        let (found, table) = self.core.store.read(|read| {
            let table = read.get(&TABLES, &(key.0.clone(), key.1.clone(), key.2.clone()))?;
            Ok::<_, CatalogError>((read.get(&PARTITIONS, &key)?, table.unwrap_or_default()))
        })?;
        let found = found.ok_or_else(|| missing(name))?;
        let uid = self.source_uid(&key.0)?;
        let partition = convert::partition_to(&uid, &key, found, &table.facts)?;
        Ok(Response::new(pb::GetPartitionResponse { partition: Some(partition) }))
    }

    async fn list_partitions(
        &self,
        request: Request<pb::ListPartitionsRequest>,
    ) -> Result<Response<pb::ListPartitionsResponse>, Status> {
        check(request.get_ref())?;
        self.partitions(request.get_ref()).map(Response::new)
    }

    async fn batch_set_migration_state(
        &self,
        request: Request<pb::BatchSetMigrationStateRequest>,
    ) -> Result<Response<pb::BatchSetMigrationStateResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let state = match request.state() {
            MigrationState::Init => State::Init,
            MigrationState::Done => State::Done,
            _ => return Err(ApiError::invalid_field("state", "must be INIT or DONE").into()),
        };
        let parent: DataSourceName = name("parent", &request.parent)?;
        let (mut subjects, mut found) = (Vec::with_capacity(request.names.len()), Vec::new());
        for (at, text) in request.names.iter().enumerate() {
            match subject(text) {
                Some((subject, source)) if source == parent => subjects.push(subject),
                _ => {
                    let text = format!("{text:?} is no schema, table or partition under {parent}");
                    found.push(FieldViolation::new(format!("names[{at}]"), text));
                }
            }
        }
        refuse(found)?;
        let changed_count = self.core.store.commit(move |tx| migration::set(tx, &subjects, state)).await?;
        Ok(Response::new(pb::BatchSetMigrationStateResponse { changed_count }))
    }

    async fn get_source_summary(
        &self,
        request: Request<pb::GetSourceSummaryRequest>,
    ) -> Result<Response<pb::GetSourceSummaryResponse>, Status> {
        check(request.get_ref())?;
        let source: DataSourceName = name("data_source", &request.get_ref().data_source)?;
        let key = source.id().as_str().to_owned();
        let found = self.core.store.read(|read| read.get(&SUMMARIES, &key)).map_err(CatalogError::from)?;
        let summary = convert::summary_to(found.unwrap_or_default());
        Ok(Response::new(pb::GetSourceSummaryResponse { summary: Some(summary) }))
    }

    async fn plan_table(
        &self,
        request: Request<pb::PlanTableRequest>,
    ) -> Result<Response<pb::PlanTableResponse>, Status> {
        check(request.get_ref())?;
        let key = key::table_key(&name::<TableName>("name", &request.get_ref().name)?);
        let planned = Box::pin(plan::plan(&self.core, &key, &Ask::default(), Claim::Look)).await?;
        Ok(Response::new(pb::PlanTableResponse { plan: planned.table.plan }))
    }
}
