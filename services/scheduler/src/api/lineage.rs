//! LineageService.

use mms_proto::name::{DataSourceName, Parent};
use mms_proto::scheduler::v1 as pb;
use mms_proto::{ApiError, page};
use mms_store::{Read, Scope};
use pb::lineage_service_server::LineageService;
use tonic::{Request, Response, Status};

use super::{Api, check};
use crate::convert::lineage_to;
use crate::error::SchedulerError;
use crate::key::{TargetKey, UnitKey};
use crate::store::LINEAGE;

fn text(unit: &UnitKey) -> String {
    format!("{}\n{}", unit.target, unit.partition)
}

#[tonic::async_trait]
impl LineageService for Api {
    async fn list_lineage(
        &self,
        request: Request<pb::ListLineageRequest>,
    ) -> Result<Response<pb::ListLineageResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let parent = Parent::<DataSourceName>::parse(&request.parent)
            .map_err(|error| ApiError::invalid_field("parent", error.reason))?;
        let source = parent.exact().map(|name| name.id().as_str().to_owned());
        let arguments = ["lineage", request.parent.as_str()];
        let after = page::after(&arguments, &request.page_token)?;
        let unit = |(target, partition): (&str, &str)| UnitKey {
            target: TargetKey { name: target.to_owned() },
            partition: partition.to_owned(),
        };
        let after = after.and_then(|text| text.split_once('\n').map(unit));
        let size = page::size(request.page_size);
        // Units of other sources are passed over, so a page can be short; the token says whether more follows.
        let found = self
            .scheduler
            .store
            .read(|read| read.page(&LINEAGE, &Scope::all(), after.as_ref(), size))
            .map_err(SchedulerError::from)?;
        let own = found.items.into_iter().map(|(_, lineage)| lineage);
        let own = own.filter(|lineage| source.as_ref().is_none_or(|id| *id == lineage.data_source));
        Ok(Response::new(pb::ListLineageResponse {
            entries: own.map(lineage_to).collect(),
            next_page_token: found.next.map(|unit| page::token(&arguments, &text(&unit))).unwrap_or_default(),
            total_size: None,
        }))
    }
}
