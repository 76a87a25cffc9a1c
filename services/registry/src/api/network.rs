//! NetworkConnectionService: create, read, change, delete and check network connections.

use mms_proto::registry::v1 as pb;
use mms_proto::validate::{clear_output_only, violations};
use mms_server::list::{Asked, List};
use mms_server::{Caller, caller};
use mms_store::{Read, Scope};
use pb::network_connection_service_server::NetworkConnectionService;
use tonic::{Request, Response, Status};

use super::change::refuse;
use super::{Answers, Api, BYTES_MAX, check, chosen_id, default_display_name, id};
use crate::convert::{network_from, network_to};
use crate::error::{RegistryError, Result};
use crate::network;
use crate::record;
use crate::request::Call;
use crate::rules::judge_network;
use crate::secrets::split;
use crate::store::NETWORKS;

/// How often an update is attempted if the record keeps being changed meanwhile.
const UPDATE_ATTEMPTS: usize = 5;

impl Api {
    async fn create_network(
        &self,
        request: pb::CreateNetworkConnectionRequest,
    ) -> Result<pb::NetworkConnection, Status> {
        let given = request.network_connection.clone().unwrap_or_default();
        let (public, secrets) = split(&clear_output_only(&given));
        let mut found = violations(&request);
        found.extend(judge_network(&public, &secrets, &self.core.guard, &self.core.denied_hosts, "network_connection"));
        refuse(found)?;
        let now_ms = self.core.now_ms();
        let uid = uuid::Uuid::now_v7();
        let id = chosen_id("network_connection_id", &request.network_connection_id, 'n', uid)?;
        let mut record = record::NetworkConnection {
            uid: uid.to_string(),
            create_ms: now_ms,
            update_ms: now_ms,
            ..record::NetworkConnection::default()
        };
        network_from(&mut record, public);
        record.display_name = default_display_name(record.display_name, &id);
        if request.validate_only {
            return Ok(pb::NetworkConnection { etag: String::new(), ..network_to(&id, &record) });
        }
        let call = Call::new("CreateNetworkConnection", &request.request_id, &request, now_ms);
        let vault = self.core.vault.clone();
        let (id, record) = self
            .core
            .store
            .commit(move |tx| {
                if let Some(made) = call.replayed(tx, &vault)? {
                    let record = network::get(tx, &made)?;
                    return Ok((made, record));
                }
                let record = network::create(tx, &vault, &id, record, &secrets)?;
                call.remember(tx, &vault, &id)?;
                Ok::<_, RegistryError>((id, record))
            })
            .await?;
        Ok(network_to(&id, &record))
    }

    async fn update_network(
        &self,
        caller: &Caller,
        request: pb::UpdateNetworkConnectionRequest,
    ) -> Result<pb::NetworkConnection, Status> {
        let (id, now_ms) = (id(&request.name), self.core.now_ms());
        for _ in 0..UPDATE_ATTEMPTS {
            let change = self.changed_network(caller, &id, &request)?;
            let (vault, own) = (self.core.vault.clone(), id.clone());
            let stored = self.core.store.commit(move |tx| network::update(tx, &vault, &own, change, now_ms)).await?;
            if let Some(record) = stored {
                return Ok(network_to(&id, &record));
            }
        }
        Err(RegistryError::EtagMismatch(network::name(&id)).into())
    }
}

#[tonic::async_trait]
impl NetworkConnectionService for Api {
    type CheckNetworkConnectionStream = Answers<pb::CheckNetworkConnectionResponse>;

    async fn create_network_connection(
        &self,
        request: Request<pb::CreateNetworkConnectionRequest>,
    ) -> Result<Response<pb::CreateNetworkConnectionResponse>, Status> {
        let made = self.create_network(request.into_inner()).await?;
        Ok(Response::new(pb::CreateNetworkConnectionResponse { network_connection: Some(made) }))
    }

    async fn get_network_connection(
        &self,
        request: Request<pb::GetNetworkConnectionRequest>,
    ) -> Result<Response<pb::GetNetworkConnectionResponse>, Status> {
        check(request.get_ref())?;
        let id = id(&request.get_ref().name);
        let record = self.core.store.read(|read| network::get(read, &id))?;
        let network_connection = Some(network_to(&id, &record));
        Ok(Response::new(pb::GetNetworkConnectionResponse { network_connection }))
    }

    async fn list_network_connections(
        &self,
        request: Request<pb::ListNetworkConnectionsRequest>,
    ) -> Result<Response<pb::ListNetworkConnectionsResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let asked = Asked {
            of: ["networkConnections", ""],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<pb::NetworkConnection>::of(&asked, BYTES_MAX)?;
        let records = |after: Option<&String>, limit: usize| {
            let page = self
                .core
                .store
                .read(|read| Ok::<_, RegistryError>(read.page(&NETWORKS, &Scope::all(), after, limit)?))?;
            Ok::<_, Status>((page.items, page.next.is_some()))
        };
        let show = |id: &String, record| Ok(Some(network_to(id, &record)));
        let (network_connections, next_page_token) =
            list.page(Clone::clone, |text| Some(text.to_owned()), records, show)?;
        Ok(Response::new(pb::ListNetworkConnectionsResponse { network_connections, next_page_token, total_size: None }))
    }

    async fn update_network_connection(
        &self,
        request: Request<pb::UpdateNetworkConnectionRequest>,
    ) -> Result<Response<pb::UpdateNetworkConnectionResponse>, Status> {
        let (caller, request) = (caller(&request), request.into_inner());
        if request.name.is_empty() || request.update_mask.as_ref().is_none_or(|mask| mask.paths.is_empty()) {
            check(&request)?;
            return Err(mms_proto::ApiError::invalid_field("update_mask.paths", "is required: name the fields").into());
        }
        let changed = self.update_network(&caller, request).await?;
        Ok(Response::new(pb::UpdateNetworkConnectionResponse { network_connection: Some(changed) }))
    }

    async fn delete_network_connection(
        &self,
        request: Request<pb::DeleteNetworkConnectionRequest>,
    ) -> Result<Response<pb::DeleteNetworkConnectionResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let id = id(&request.name);
        self.core.store.commit(move |tx| network::delete(tx, &id, &request.etag)).await?;
        Ok(Response::new(pb::DeleteNetworkConnectionResponse { name: request.name }))
    }

    async fn check_network_connection(
        &self,
        request: Request<pb::CheckNetworkConnectionRequest>,
    ) -> Result<Response<Self::CheckNetworkConnectionStream>, Status> {
        self.check_network_stream(request.into_inner()).await.map(Response::new)
    }
}
