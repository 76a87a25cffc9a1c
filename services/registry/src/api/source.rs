//! DataSourceService. Its streams are in [`super::check`] and [`super::watch`].

use mms_proto::registry::v1 as pb;
use mms_proto::{ApiError, page};
use mms_server::caller;
use mms_server::list::{Asked, List};
use mms_store::{Read, Scope};
use pb::data_source_service_server::DataSourceService;
use tonic::{Request, Response, Status};

use super::change::preview;
use super::{Answers, Api, BYTES_MAX, check, chosen_id, default_display_name, id};
use crate::convert::{configure, source_to};
use crate::error::{RegistryError, Result};
use crate::record::{self, Sealed};
use crate::request::Call;
use crate::state::State;
use crate::store::{LIVE_SOURCES, SECRETS, SOURCES};
use crate::{items, run, source};

/// How often an update is prepared again because the record was changed meanwhile.
const UPDATE_ATTEMPTS: usize = 5;
/// Sets of secrets rewrapped in one commit.
const REWRAP_AT_ONCE: usize = 200;

impl Api {
    async fn create(&self, request: pb::CreateDataSourceRequest) -> Result<pb::DataSource, Status> {
        let given = request.data_source.clone().unwrap_or_default();
        let (public, secrets) = self.new_source(&request, &given)?;
        let (uid, now_ms) = (uuid::Uuid::now_v7(), self.core.now_ms());
        let id = chosen_id("data_source_id", &request.data_source_id, 'd', uid)?;
        let mut record = record::DataSource {
            uid: uid.to_string(),
            create_ms: now_ms,
            update_ms: now_ms,
            state: State::Stopped.wire() as i32,
            ..record::DataSource::default()
        };
        configure(&mut record, public);
        record.display_name = default_display_name(record.display_name, &id);
        if request.validate_only {
            return Ok(preview(&id, &record));
        }
        let (call, vault) =
            (Call::new("CreateDataSource", &request.request_id, &request, now_ms), self.core.vault.clone());
        let (id, record) = self
            .core
            .store
            .commit(move |tx| {
                if let Some(made) = call.replayed(tx, &vault)? {
                    let record = source::get(tx, &made)?;
                    return Ok((made, record));
                }
                let record = source::create(tx, &vault, &id, record, &secrets)?;
                call.remember(tx, &vault, &id)?;
                Ok::<_, RegistryError>((id, record))
            })
            .await?;
        Ok(source_to(&id, &record))
    }

    async fn update(&self, request: pb::UpdateDataSourceRequest) -> Result<pb::DataSource, Status> {
        let id = id(&request.name);
        for _ in 0..UPDATE_ATTEMPTS {
            let change = self.changed_source(&id, &request)?;
            if request.validate_only {
                let mut record = self.core.store.read(|read| source::living(read, &id))?;
                configure(&mut record, change.config);
                return Ok(preview(&id, &record));
            }
            let (vault, own) = (self.core.vault.clone(), id.clone());
            let stored = self.core.store.commit(move |tx| source::update(tx, &vault, &own, change)).await?;
            if let Some(record) = stored {
                return Ok(source_to(&id, &record));
            }
        }
        Err(RegistryError::EtagMismatch(source::name(&id)).into())
    }

    fn sources(&self, request: &pb::ListDataSourcesRequest) -> Result<pb::ListDataSourcesResponse, Status> {
        let asked = Asked {
            of: ["dataSources", if request.show_deleted { "all" } else { "live" }],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<pb::DataSource>::of(&asked, BYTES_MAX)?;
        let records = |after: Option<&String>, limit: usize| {
            let page = self.core.store.read(|read| {
                if request.show_deleted {
                    let page = read.page(&SOURCES, &Scope::all(), after, limit)?;
                    return Ok::<_, RegistryError>((page.items, page.next.is_some()));
                }
                let after = after.map(|id| (id.clone(), id.clone()));
                let page = read.index_page(&SOURCES, &LIVE_SOURCES, &Scope::all(), after.as_ref(), limit)?;
                Ok((page.items, page.next.is_some()))
            })?;
            Ok::<_, Status>(page)
        };
        let show = |id: &String, record| Ok(Some(source_to(id, &record)));
        let (data_sources, next_page_token) = list.page(Clone::clone, |text| Some(text.to_owned()), records, show)?;
        Ok(pb::ListDataSourcesResponse { data_sources, next_page_token, total_size: None })
    }

    async fn start(&self, request: pb::StartDataSourceRequest) -> Result<pb::DataSource, Status> {
        let id = id(&request.name);
        let call = Call::new("StartDataSource", &request.request_id, &request, self.core.now_ms());
        let replayed = self.core.store.read_durable(|read| call.replayed(read, &self.core.vault)).await?;
        let record = match replayed {
            Some(_) => self.core.store.read(|read| source::living(read, &id))?,
            None => {
                let record = run::start(&self.core, &id).await?;
                if !request.request_id.is_empty() {
                    let (vault, own) = (self.core.vault.clone(), id.clone());
                    self.core.store.commit(move |tx| call.remember(tx, &vault, &own)).await?;
                }
                record
            }
        };
        Ok(source_to(&id, &record))
    }

    async fn rewrap(&self, key_id: String) -> Result<i64> {
        let vault = self.core.vault.clone();
        if !vault.has(&key_id) {
            return Err(RegistryError::NoSuchKey(key_id));
        }
        let (mut after, mut count) = (None, 0);
        loop {
            let (vault, key_id) = (vault.clone(), key_id.clone());
            let (next, rewrapped) = self
                .core
                .store
                .commit(move |tx| {
                    let page = tx.page(&SECRETS, &Scope::all(), after.as_ref(), REWRAP_AT_ONCE)?;
                    let mut count = 0;
                    for (key, sealed) in page.items.iter().filter(|(_, sealed)| sealed.key_id != key_id) {
                        let anew: Sealed = vault.rewrap(&format!("{}/{}", key.0, key.1), sealed, &key_id)?;
                        tx.put(&SECRETS, key, &anew)?;
                        count += 1;
                    }
                    Ok::<_, RegistryError>((page.next, count))
                })
                .await?;
            count += rewrapped;
            match next {
                Some(next) => after = Some(next),
                None => return Ok(count),
            }
        }
    }
}

/// A page of the parameters; by default all of them.
fn config_items(request: &pb::ListConfigItemsRequest) -> Result<pb::ListConfigItemsResponse, Status> {
    // There is one type of data source only, so the request's type makes no difference.
    let all = items::all();
    let all_in_one = i32::try_from(page::MAX_PAGE_SIZE).unwrap_or(i32::MAX);
    let asked = Asked {
        of: ["configItems", ""],
        filter: &request.filter,
        order_by: &request.order_by,
        page_size: if request.page_size == 0 { all_in_one } else { request.page_size },
        page_token: &request.page_token,
    };
    let list = List::<pb::ConfigItem>::of(&asked, BYTES_MAX)?;
    let records = |after: Option<&usize>, limit: usize| {
        let begin = after.map_or(0, |after| after + 1);
        let end = begin.saturating_add(limit).min(all.len());
        Ok::<_, Status>(((begin..end).map(|at| (at, at)).collect(), end < all.len()))
    };
    let key = |at: &usize| all.get(*at).map(|item| item.key.clone()).unwrap_or_default();
    let place = |key: &str| all.iter().position(|item| item.key == key);
    let (items, next_page_token) = list.page(key, place, records, |_, at| Ok(all.get(at).cloned()))?;
    let total_size = if request.filter.is_empty() { i64::try_from(all.len()).ok() } else { None };
    Ok(pb::ListConfigItemsResponse { items, next_page_token, total_size })
}

#[tonic::async_trait]
impl DataSourceService for Api {
    type CheckDataSourceStream = Answers<pb::CheckDataSourceResponse>;
    type WatchDataSourcesStream = Answers<pb::WatchDataSourcesResponse>;

    async fn create_data_source(
        &self,
        request: Request<pb::CreateDataSourceRequest>,
    ) -> Result<Response<pb::CreateDataSourceResponse>, Status> {
        let made = self.create(request.into_inner()).await?;
        Ok(Response::new(pb::CreateDataSourceResponse { data_source: Some(made) }))
    }

    async fn get_data_source(
        &self,
        request: Request<pb::GetDataSourceRequest>,
    ) -> Result<Response<pb::GetDataSourceResponse>, Status> {
        check(request.get_ref())?;
        let id = id(&request.get_ref().name);
        let record = self.core.store.read(|read| source::get(read, &id))?;
        Ok(Response::new(pb::GetDataSourceResponse { data_source: Some(source_to(&id, &record)) }))
    }

    async fn list_data_sources(
        &self,
        request: Request<pb::ListDataSourcesRequest>,
    ) -> Result<Response<pb::ListDataSourcesResponse>, Status> {
        check(request.get_ref())?;
        self.sources(request.get_ref()).map(Response::new)
    }

    async fn update_data_source(
        &self,
        request: Request<pb::UpdateDataSourceRequest>,
    ) -> Result<Response<pb::UpdateDataSourceResponse>, Status> {
        let request = request.into_inner();
        if request.name.is_empty() || request.update_mask.as_ref().is_none_or(|mask| mask.paths.is_empty()) {
            check(&request)?;
            return Err(ApiError::invalid_field("update_mask.paths", "is required: name the fields").into());
        }
        let changed = self.update(request).await?;
        Ok(Response::new(pb::UpdateDataSourceResponse { data_source: Some(changed) }))
    }

    async fn delete_data_source(
        &self,
        request: Request<pb::DeleteDataSourceRequest>,
    ) -> Result<Response<pb::DeleteDataSourceResponse>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let id = id(&request.name);
        let record = run::delete(&self.core, &id, &request.etag, request.force).await?;
        Ok(Response::new(pb::DeleteDataSourceResponse { data_source: Some(source_to(&id, &record)) }))
    }

    async fn undelete_data_source(
        &self,
        request: Request<pb::UndeleteDataSourceRequest>,
    ) -> Result<Response<pb::UndeleteDataSourceResponse>, Status> {
        check(request.get_ref())?;
        let (id, now_ms) = (id(&request.get_ref().name), self.core.now_ms());
        let own = id.clone();
        let record = self.core.store.commit(move |tx| source::undelete(tx, &own, now_ms)).await?;
        Ok(Response::new(pb::UndeleteDataSourceResponse { data_source: Some(source_to(&id, &record)) }))
    }

    async fn start_data_source(
        &self,
        request: Request<pb::StartDataSourceRequest>,
    ) -> Result<Response<pb::StartDataSourceResponse>, Status> {
        check(request.get_ref())?;
        let started = self.start(request.into_inner()).await?;
        Ok(Response::new(pb::StartDataSourceResponse { data_source: Some(started) }))
    }

    async fn stop_data_source(
        &self,
        request: Request<pb::StopDataSourceRequest>,
    ) -> Result<Response<pb::StopDataSourceResponse>, Status> {
        check(request.get_ref())?;
        let id = id(&request.get_ref().name);
        let record = run::stop(&self.core, &id, request.get_ref().force).await?;
        Ok(Response::new(pb::StopDataSourceResponse { data_source: Some(source_to(&id, &record)) }))
    }

    async fn check_data_source(
        &self,
        request: Request<pb::CheckDataSourceRequest>,
    ) -> Result<Response<Self::CheckDataSourceStream>, Status> {
        let caller = caller(&request);
        self.check_stream(caller, request.into_inner()).await.map(Response::new)
    }

    async fn watch_data_sources(
        &self,
        request: Request<pb::WatchDataSourcesRequest>,
    ) -> Result<Response<Self::WatchDataSourcesStream>, Status> {
        check(request.get_ref())?;
        self.watch_stream(request.into_inner()).map(Response::new)
    }

    async fn list_config_items(
        &self,
        request: Request<pb::ListConfigItemsRequest>,
    ) -> Result<Response<pb::ListConfigItemsResponse>, Status> {
        check(request.get_ref())?;
        config_items(request.get_ref()).map(Response::new)
    }

    async fn rotate_encryption_key(
        &self,
        request: Request<pb::RotateEncryptionKeyRequest>,
    ) -> Result<Response<pb::RotateEncryptionKeyResponse>, Status> {
        check(request.get_ref())?;
        let rewrapped_count = self.rewrap(request.into_inner().key_id).await?;
        Ok(Response::new(pb::RotateEncryptionKeyResponse { rewrapped_count }))
    }
}
