//! The calls on open commit intents that are for people.

use mms_proto::ApiError;
use mms_proto::name::{DataSourceName, Parent};
use mms_proto::scheduler::v1 as pb;
use mms_server::list::{Asked, List};
use mms_store::{Read, Scope};
use tonic::Status;

use super::Api;
use crate::commit::intent;
use crate::convert::intent_to;
use crate::error::SchedulerError;
use crate::record::Intent;
use crate::store::INTENTS;

/// A page ends with the intent that brings it to this many bytes.
const BYTES_MAX: usize = 6 << 20;

impl Api {
    pub(super) fn intents(&self, request: &pb::ListIntentsRequest) -> Result<pb::ListIntentsResponse, Status> {
        let parent = Parent::<DataSourceName>::parse(&request.parent)
            .map_err(|error| ApiError::invalid_field("parent", error.reason))?;
        let source = parent.exact().map(|name| name.id().as_str().to_owned());
        let asked = Asked {
            of: ["intents", &request.parent],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<pb::CommitIntent>::of(&asked, BYTES_MAX)?;
        let records = |after: Option<&String>, limit: usize| {
            let page = self.scheduler.store.read(|read| read.page(&INTENTS, &Scope::all(), after, limit));
            let page = page.map_err(SchedulerError::from)?;
            Ok::<_, Status>((page.items, page.next.is_some()))
        };
        let show = |id: &String, intent: Intent| {
            let own = source.as_ref().is_none_or(|source| *source == intent.data_source);
            Ok(own.then(|| intent_to(id, &intent)))
        };
        let (intents, next_page_token) = list.page(String::clone, |text| Some(text.to_owned()), records, show)?;
        Ok(pb::ListIntentsResponse { intents, next_page_token, total_size: None })
    }

    pub(super) async fn cancel(&self, id: String) -> Result<pb::CancelIntentResponse, Status> {
        let (at, own) = (self.scheduler.moment(), id.clone());
        let intent = self.scheduler.store.commit(move |tx| intent::cancel(tx, &at, &own)).await?;
        Ok(pb::CancelIntentResponse { intent: Some(intent_to(&id, &intent)) })
    }
}
