//! Open commit intents, for people.

use mms_proto::name::{DataSourceName, Parent};
use mms_proto::scheduler::v1 as pb;
use mms_proto::{ApiError, page};
use mms_store::{Read, Scope};
use tonic::Status;

use super::Api;
use crate::commit::intent;
use crate::convert::intent_to;
use crate::error::SchedulerError;
use crate::store::INTENTS;

impl Api {
    pub(super) fn intents(&self, request: &pb::ListIntentsRequest) -> Result<pb::ListIntentsResponse, Status> {
        let parent = Parent::<DataSourceName>::parse(&request.parent)
            .map_err(|error| ApiError::invalid_field("parent", error.reason))?;
        let source = parent.exact().map(|name| name.id().as_str().to_owned());
        let arguments = ["intents", request.parent.as_str()];
        let after = page::after(&arguments, &request.page_token)?;
        let size = page::size(request.page_size);
        // Intents of other sources are passed over, so a page can be short; the token says whether more follows.
        let found = self
            .scheduler
            .store
            .read(|read| read.page(&INTENTS, &Scope::all(), after.as_ref(), size))
            .map_err(SchedulerError::from)?;
        let own = found.items.iter().filter(|(_, intent)| source.as_ref().is_none_or(|id| *id == intent.data_source));
        Ok(pb::ListIntentsResponse {
            intents: own.map(|(id, intent)| intent_to(id, intent)).collect(),
            next_page_token: found.next.map(|id| page::token(&arguments, &id)).unwrap_or_default(),
            total_size: None,
        })
    }

    pub(super) async fn cancel(&self, id: String) -> Result<pb::CancelIntentResponse, Status> {
        let (at, own) = (self.scheduler.moment(), id.clone());
        let intent = self.scheduler.store.commit(move |tx| intent::cancel(tx, &at, &own)).await?;
        Ok(pb::CancelIntentResponse { intent: Some(intent_to(&id, &intent)) })
    }
}
