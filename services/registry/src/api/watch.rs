//! The stream of changes of data sources. A position is the revision that the caller has seen, in one incarnation of the store. A
//! position of another incarnation is invalid, and the caller is sent everything again.

use std::ops::{Bound, ControlFlow};

use mms_proto::ApiError;
use mms_proto::registry::v1 as pb;
use mms_server::stream::Sender;
use mms_store::{Read, Revision, Scope};
use tonic::Status;

use super::{Answers, Api};
use crate::convert::source_to;
use crate::core::Core;
use crate::error::{RegistryError, Result};
use crate::store::{CHANGES, SOURCES, TRIM};

/// Answers that are buffered for a slow caller.
const QUEUE: usize = 16;
/// Changes read at a time.
const AT_ONCE: usize = 100;

struct Watch {
    core: Core,
    /// Empty (None): all data sources.
    only: Option<String>,
    send: Sender<pb::WatchDataSourcesResponse>,
}

impl Api {
    pub(super) fn watch_stream(
        &self,
        request: pb::WatchDataSourcesRequest,
    ) -> Result<Answers<pb::WatchDataSourcesResponse>, Status> {
        let fault = || ApiError::invalid_field("position", "is not a position of this stream");
        let from = self.core.store.revision_at(&request.position).ok_or_else(fault)?;
        // Position 0 is before everything: send all existing data sources.
        let from = (from > 0).then_some(from);
        let only = (!request.name.is_empty()).then(|| super::id(&request.name));
        let core = self.core.clone();
        Ok(mms_server::stream(QUEUE, move |send| async move {
            let watch = Watch { core, only, send };
            // A caller that disconnects ends the stream, which is no failure.
            if let Err(Some(error)) = watch.run(from).await {
                drop(watch.send.send(Err(error.into())).await);
            }
        }))
    }
}

/// Why the stream ends: an error, or None because the caller has disconnected.
type End = Option<RegistryError>;

impl Watch {
    async fn run(&self, from: Option<Revision>) -> Result<(), End> {
        // Subscribe before the first read, so that no change is missed.
        let mut revisions = self.core.store.subscribe();
        let kept = |from: &Revision| self.is_kept(*from).unwrap_or(false);
        let mut seen = match from.filter(kept) {
            Some(seen) => self.tell_changes(seen).await?,
            None => self.tell_all().await?,
        };
        let position = self.core.store.position(seen);
        self.tell(pb::WatchDataSourcesResponse { data_source: None, position, caught_up: true }).await?;
        loop {
            tokio::select! {
                () = self.send.closed() => return Err(None),
                changed = revisions.changed() => if changed.is_err() {
                    return Err(Some(RegistryError::CutOff));
                },
            }
            if !self.is_kept(seen).map_err(Some)? {
                // The caller is so far behind that changes were deleted: send all existing data sources instead.
                seen = self.tell_all().await?;
            }
            seen = self.tell_changes(seen).await?;
        }
    }

    fn is_kept(&self, from: Revision) -> Result<bool> {
        let trim = self.core.store.read(|read| Ok::<_, RegistryError>(read.get(&TRIM, &())?.unwrap_or_default()))?;
        Ok(from >= trim.revision)
    }

    /// Sends all existing data sources; returns their revision.
    async fn tell_all(&self) -> Result<Revision, End> {
        let store = self.core.store.clone();
        // One consistent read, however many there are, so not on a thread that other tasks need.
        let look = move || {
            store.read(|read| {
                let mut all = Vec::new();
                read.scan(&SOURCES, &Scope::all(), |id, source| {
                    if source.delete_ms == 0 {
                        all.push((id, source));
                    }
                    ControlFlow::Continue(())
                })
                .map_err(RegistryError::from)?;
                Ok::<_, RegistryError>((all, read.revision()))
            })
        };
        let (all, revision) = tokio::task::spawn_blocking(look).await.map_err(|_| RegistryError::CutOff)??;
        self.core.store.until_durable(revision).await.map_err(RegistryError::from)?;
        // A caller that resumes in the middle of these is sent all of them again.
        let position = self.core.store.position(0);
        for (id, source) in all.into_iter().filter(|(id, _)| self.wants(id)) {
            let data_source = Some(source_to(&id, &source));
            self.tell(pb::WatchDataSourcesResponse { data_source, position: position.clone(), caught_up: false })
                .await?;
        }
        Ok(revision)
    }

    /// Sends the durable changes after a revision; returns the revision that was reached.
    async fn tell_changes(&self, mut seen: Revision) -> Result<Revision, End> {
        let durable = self.core.store.durable_revision();
        let range = (Bound::Unbounded, Bound::Included(durable));
        while seen < durable {
            let page = self.core.store.read(|read| {
                let page = read.page(&CHANGES, &Scope::range(range), Some(&seen), AT_ONCE)?;
                Ok::<_, RegistryError>(page)
            })?;
            for (revision, change) in page.items {
                seen = revision;
                if self.wants(&change.id) {
                    let data_source = Some(source_to(&change.id, &change.source));
                    let position = self.core.store.position(revision);
                    self.tell(pb::WatchDataSourcesResponse { data_source, position, caught_up: false }).await?;
                }
            }
            if page.next.is_none() {
                seen = durable;
            }
        }
        Ok(seen)
    }

    fn wants(&self, id: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == id)
    }

    async fn tell(&self, answer: pb::WatchDataSourcesResponse) -> Result<(), End> {
        self.send.send(Ok(answer)).await.map_err(|_| None)
    }
}
