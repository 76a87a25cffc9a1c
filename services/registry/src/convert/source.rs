//! Converts data sources.

use mms_proto::registry::v1 as pb;
use mms_proto::time::timestamp;

use super::databricks::{databricks_from, databricks_to};
use super::max_compute::{max_compute_from, max_compute_to};
use super::report::report_to;
use super::settings::{settings_from, settings_to};
use super::value::etag;
use crate::record::DataSource;

const NETWORKS: &str = "networkConnections/";

/// Puts the configuration into a record; its other fields stay.
pub fn configure(record: &mut DataSource, source: pb::DataSource) {
    record.databricks = databricks_from(source.databricks().cloned().unwrap_or_default());
    record.display_name = source.display_name;
    let network = source.network_connection;
    record.network_connection = network.strip_prefix(NETWORKS).unwrap_or(&network).to_owned();
    record.max_compute = max_compute_from(source.max_compute.unwrap_or_default());
    record.settings = source.settings.map(settings_from);
}

/// The data source as callers see it, without secrets.
pub fn source_to(id: &str, record: &DataSource) -> pb::DataSource {
    let network = &record.network_connection;
    pb::DataSource {
        name: format!("dataSources/{id}"),
        uid: record.uid.clone(),
        display_name: record.display_name.clone(),
        etag: etag(record.config_revision),
        create_time: timestamp(record.create_ms),
        update_time: timestamp(record.update_ms),
        delete_time: timestamp(record.delete_ms),
        state: record.state,
        state_message: record.state_message.clone(),
        network_connection: if network.is_empty() { String::new() } else { format!("{NETWORKS}{network}") },
        source: Some(databricks_to(&record.databricks).into()),
        r#type: pb::SourceType::Databricks as i32,
        max_compute: Some(max_compute_to(&record.max_compute)),
        settings: record.settings.as_ref().map(settings_to),
        last_check: record.last_check.as_ref().map(report_to),
    }
}
