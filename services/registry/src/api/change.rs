//! Prepares creations and changes: splits a request into the new configuration and its secrets, and collects all violations. Must
//! never let a stored secret reach a destination that it was not given for.

use std::collections::HashSet;

use mms_proto::registry::v1 as pb;
use mms_proto::time::timestamp;
use mms_proto::validate::{clear_output_only, not_yet, violations};
use mms_proto::{ApiError, FieldViolation, Role};
use mms_server::Caller;
use mms_storage::Sas;
use pb::storage_access::Access;
use secrecy::ExposeSecret;
use tonic::Status;

use super::Api;
use crate::convert::{network_to, source_to};
use crate::destination::{self, Moved};
use crate::error::{RegistryError, Result};
use crate::record;
use crate::rules::{Offline, judge, judge_network};
use crate::secrets::{Secrets, item_path, join, places, split};
use crate::source::Update;
use crate::{mask, network, sealed, source};

impl Api {
    /// Validates a new data source; `request` is the message that contains it.
    pub(super) fn new_source<T: prost::Message + prost::Name>(
        &self,
        request: &T,
        given: &pb::DataSource,
    ) -> Result<(pb::DataSource, Secrets), Status> {
        let mut found = violations(request);
        let (mut public, secrets) = split(&clear_output_only(given));
        found.extend(judge(&public, self.offline(&secrets)));
        refuse(found)?;
        refuse_not_yet(&public, "data_source")?;
        note_expiry(&mut public, &secrets);
        Ok((public, secrets))
    }

    /// Prepares a change of a data source against what is stored now.
    pub(super) fn changed_source(&self, id: &str, request: &pb::UpdateDataSourceRequest) -> Result<Update, Status> {
        let mut found = violations(request);
        let (record, old) = self.core.store.read(|read| {
            let record = source::living(read, id)?;
            Ok::<_, RegistryError>((record, sealed::read(read, &self.core.vault, sealed::SOURCE, id)?))
        })?;
        let given = request.data_source.clone().unwrap_or_default();
        source::check_etag(id, &record, &given.etag)?;
        let current = source_to(id, &record);
        let paths = request.update_mask.as_ref().map(|mask| mask.paths.as_slice()).unwrap_or_default();
        let masked = mask::apply(&join(&current, &Secrets::default()), &clear_output_only(&given), paths);
        let (mut public, sent) = split(&masked);
        if public.display_name.is_empty() {
            public.display_name = super::default_display_name(String::new(), id);
        }
        let secrets = sent.clone().over(&old, &kept(places(&public), paths));

        found.extend(immutables(&current, &public, "data_source"));
        found.extend(redirected("data_source", destination::of_source(&current, &public), &sent, &secrets));
        found.extend(judge(&public, self.offline(&secrets)));
        refuse(found)?;
        refuse_not_yet(&public, "data_source")?;
        note_expiry(&mut public, &sent);
        Ok(Update { revision: record.config_revision, config: public, secrets, now_ms: self.core.now_ms() })
    }

    /// Prepares a change of a network connection against what is stored now.
    pub(super) fn changed_network(
        &self,
        caller: &Caller,
        id: &str,
        request: &pb::UpdateNetworkConnectionRequest,
    ) -> Result<network::Update, Status> {
        let mut found = violations(request);
        let (record, user, old) = self.core.store.read(|read| {
            let (record, user) = (network::get(read, id)?, network::user(read, id)?);
            Ok::<_, RegistryError>((record, user, sealed::read(read, &self.core.vault, sealed::NETWORK, id)?))
        })?;
        let given = request.network_connection.clone().unwrap_or_default();
        network::check_etag(id, &record, &given.etag)?;
        let paths = request.update_mask.as_ref().map(|mask| mask.paths.as_slice()).unwrap_or_default();
        let current = network_to(id, &record);
        let masked = mask::apply(&current, &clear_output_only(&given), paths);
        let (mut public, sent) = split(&masked);
        public.display_name = super::default_display_name(public.display_name, id);
        let secrets = sent.clone().over(&old, &kept(stays(&public), paths));
        found.extend(redirected("network_connection", destination::of_network(&current, &public), &sent, &secrets));
        found.extend(judge_network(&public, &secrets, &self.core.guard, &self.core.denied_hosts, "network_connection"));
        refuse(found)?;
        let reroutes = destination::reroutes(&current, &public);
        if let (Some(user), false) = (&user, reroutes.is_empty()) {
            let what = format!("a change of {} while {} uses it", reroutes.join(", "), source::name(user));
            caller.needs(Role::Admin, what)?;
        }
        let while_unused = user.is_none() && !reroutes.is_empty();
        Ok(network::Update { revision: record.revision, while_unused, config: public, secrets })
    }

    fn offline<'a>(&'a self, secrets: &'a Secrets) -> Offline<'a> {
        Offline {
            at: "data_source",
            secrets,
            guard: &self.core.guard,
            denied_hosts: &self.core.denied_hosts,
            allow_local_files: self.core.allow_local_files,
            now_ms: self.core.now_ms(),
        }
    }
}

/// A violation for each stored secret that the change would redirect and that was not sent again.
fn redirected(at: &str, moved: Vec<Moved>, sent: &Secrets, secrets: &Secrets) -> Vec<FieldViolation> {
    let mut found = Vec::new();
    for (path, _) in secrets.iter().filter(|(path, _)| sent.get(path).is_none()) {
        if let Some(moved) = moved.iter().find(|moved| path.starts_with(&moved.secrets)) {
            let text = format!(
                "must be sent with this change of {}: the stored one was given for another destination",
                moved.by
            );
            found.push(FieldViolation::new(format!("{at}.{path}"), text));
        }
    }
    found
}

/// The paths of secrets that a network connection keeps: the proxy's while there is a proxy URL, the client key while there is a
/// certificate.
fn stays(network: &pb::NetworkConnection) -> Vec<String> {
    let mut stays = places(network);
    stays.retain(|path| match path.as_str() {
        "proxy_authorization" => !network.proxy_url.is_empty(),
        _ => !network.client_certificate_pem.is_empty(),
    });
    stays
}

/// The paths whose stored secrets are kept if none is sent. A mask that names the field of a secret removes it.
fn kept(mut places: Vec<String>, paths: &[String]) -> Vec<String> {
    let named: HashSet<&str> = paths.iter().map(String::as_str).collect();
    places.retain(|place| !named.contains(place.as_str()));
    places
}

/// The expiry of a signature is public. It is read from a signature that was sent; that of a stored one is stored already.
fn note_expiry(public: &mut pb::DataSource, sent: &Secrets) {
    for storage in public.databricks_mut().into_iter().flat_map(|databricks| &mut databricks.storage) {
        let path = format!("{}.azure_sas.sas", item_path("databricks.storage", &storage.location_prefix));
        if let (Some(Access::AzureSas(sas)), Some(secret)) = (&mut storage.access, sent.get(&path)) {
            sas.expire_time = Sas::read(secret.expose_secret()).ends_ms.and_then(timestamp);
        }
    }
}

fn immutables(before: &pb::DataSource, after: &pb::DataSource, at: &str) -> Vec<FieldViolation> {
    let changed = mask::changed_immutables(before, after);
    changed.into_iter().map(|path| FieldViolation::new(format!("{at}.{path}"), "cannot be changed")).collect()
}

/// Rejects fields that are set, by whatever path, and that this version does not implement.
fn refuse_not_yet(public: &pb::DataSource, at: &str) -> Result<(), Status> {
    let paths: Vec<String> = not_yet(public).into_iter().map(|path| format!("{at}.{path}")).collect();
    if paths.is_empty() { Ok(()) } else { Err(ApiError::not_yet_fields(&paths).into()) }
}

/// Rejects a request with all violations, each reported once.
pub(super) fn refuse(found: Vec<FieldViolation>) -> Result<(), Status> {
    let mut seen = HashSet::new();
    let first = found.iter().map(|violation| seen.insert((&*violation.field, &*violation.description)));
    let first: Vec<bool> = first.collect();
    let each: Vec<_> =
        found.into_iter().zip(first).filter_map(|(violation, first)| first.then_some(violation)).collect();
    if each.is_empty() { Ok(()) } else { Err(ApiError::invalid(each).into()) }
}

/// The data source as it would be shown if it were stored.
pub(super) fn preview(id: &str, record: &record::DataSource) -> pb::DataSource {
    pb::DataSource { etag: String::new(), ..source_to(id, record) }
}
