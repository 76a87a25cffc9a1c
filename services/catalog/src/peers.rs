//! The client of the registry, the only service that this one calls: uses of data sources, their uids and changes. Decides
//! nothing.

use mms_proto::registry::v1 as pb;
use mms_proto::registry::v1::data_source_service_client::DataSourceServiceClient;
use mms_proto::registry::v1::session_service_client::SessionServiceClient;
use mms_proto::{ApiError, ErrorReason};
use mms_server::{Client, PeerError};
use tonic::{Code, Status, Streaming};

use crate::error::Result;
use crate::key;

const REGISTRY: &str = "registry";
/// Largest accepted message: a data source with its lists and mappings.
const MESSAGE_MAX: usize = 16 << 20;

/// Calls the registry. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    registry: Client,
    sessions: SessionServiceClient<Client>,
    sources: DataSourceServiceClient<Client>,
}

fn refused(status: Status) -> PeerError {
    PeerError::of(REGISTRY)(status)
}

/// Whether the registry itself answered that the resource does not exist, and not a proxy or another server on the way.
fn is_gone(status: &Status) -> bool {
    status.code() == Code::NotFound && ApiError::from_status(status).reason == ErrorReason::NotFound
}

impl Peers {
    /// Creates a client over a channel.
    pub fn new(registry: Client) -> Self {
        Self {
            registry: registry.clone(),
            sessions: SessionServiceClient::new(registry.clone()).max_decoding_message_size(MESSAGE_MAX),
            sources: DataSourceServiceClient::new(registry).max_decoding_message_size(MESSAGE_MAX),
        }
    }

    /// The channel, for the sessions that `mms_ends` opens.
    pub fn registry(&self) -> Client {
        self.registry.clone()
    }

    /// Acquires or renews the use of a data source; returns the data source's uid.
    pub async fn acquire(&self, source: &str, holder: &str) -> Result<String> {
        let request = pb::AcquireUseRequest { data_source: key::source_name(source), holder: holder.to_owned() };
        let answer = self.sessions.clone().acquire_use(request).await.map_err(refused)?.into_inner();
        Ok(answer.data_source.unwrap_or_default().uid)
    }

    /// The uid of a data source, deleted or not; None when it no longer exists.
    pub async fn uid(&self, source: &str) -> Result<Option<String>> {
        let request = pb::GetDataSourceRequest { name: key::source_name(source) };
        match self.sources.clone().get_data_source(request).await {
            Ok(answer) => Ok(Some(answer.into_inner().data_source.unwrap_or_default().uid)),
            Err(status) if is_gone(&status) => Ok(None),
            Err(status) => Err(refused(status).into()),
        }
    }

    /// Subscribes to changes of data sources.
    pub async fn watch(&self, request: pb::WatchDataSourcesRequest) -> Result<Changes> {
        let stream = self.sources.clone().watch_data_sources(request).await.map_err(refused)?.into_inner();
        Ok(Changes { stream })
    }

    /// Releases a use.
    pub async fn release(&self, source: &str, holder: &str) -> Result<()> {
        let request = pb::ReleaseUseRequest { data_source: key::source_name(source), holder: holder.to_owned() };
        self.sessions.clone().release_use(request).await.map_err(refused)?;
        Ok(())
    }
}

/// A stream of changes of data sources.
pub struct Changes {
    stream: Streaming<pb::WatchDataSourcesResponse>,
}

impl Changes {
    /// The next change; None when the registry has ended the stream.
    pub async fn next(&mut self) -> Result<Option<pb::WatchDataSourcesResponse>> {
        Ok(self.stream.message().await.map_err(refused)?)
    }
}
