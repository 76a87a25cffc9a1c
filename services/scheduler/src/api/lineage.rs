//! LineageService: which task wrote each target unit.

use mms_proto::ApiError;
use mms_proto::name::{DataSourceName, Parent};
use mms_proto::scheduler::v1 as pb;
use mms_server::list::{Asked, List};
use mms_store::{Read, Scope};
use pb::lineage_service_server::LineageService;
use tonic::{Request, Response, Status};

use super::{Api, check};
use crate::convert::lineage_to;
use crate::error::SchedulerError;
use crate::key::{TargetKey, UnitKey};
use crate::record::Lineage;
use crate::store::{LINEAGE, TARGETS};

/// A page ends with the entry that brings it to this many bytes.
const BYTES_MAX: usize = 6 << 20;

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
        let asked = Asked {
            of: ["lineage", &request.parent],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<pb::LineageEntry>::of(&asked, BYTES_MAX)?;
        let unit = |text: &str| {
            let (target, partition) = text.split_once('\n')?;
            Some(UnitKey { target: TargetKey { name: target.to_owned() }, partition: partition.to_owned() })
        };
        let records = |after: Option<&UnitKey>, limit: usize| {
            let page = self.scheduler.store.read(|read| read.page(&LINEAGE, &Scope::all(), after, limit));
            let page = page.map_err(SchedulerError::from)?;
            Ok::<_, Status>((page.items, page.next.is_some()))
        };
        // Rows of an earlier generation of the target table no longer exist.
        let there = |unit: &UnitKey, lineage: &Lineage| {
            let known = self.scheduler.store.read(|read| read.get(&TARGETS, &unit.target));
            known
                .map(|known| known.unwrap_or_default().generation() == lineage.generation)
                .map_err(SchedulerError::from)
        };
        let show = |unit: &UnitKey, lineage: Lineage| {
            let own = source.as_ref().is_none_or(|id| *id == lineage.data_source) && there(unit, &lineage)?;
            Ok(own.then(|| lineage_to(lineage)))
        };
        let (entries, next_page_token) = list.page(text, unit, records, show)?;
        Ok(Response::new(pb::ListLineageResponse { entries, next_page_token, total_size: None }))
    }
}
