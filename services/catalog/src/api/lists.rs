//! Reading schemas, tables, partitions and scans, page by page.

use mms_proto::catalog::v1 as pb;
use mms_proto::name::{DataSourceName, Parent, PartitionName, ResourceName, ScanName, SchemaName, TableName};
use mms_proto::{ApiError, page};
use mms_store::{Key, Read, Scope, Table};
use prost::Message;
use tonic::Status;

use super::{Api, name, plain_list};
use crate::convert;
use crate::error::{CatalogError, Result};
use crate::key;
use crate::store::{PARTITIONS, SCANS, SCANS_BY_AGE, SCHEMAS, TABLES};

/// A page ends after the item with which it reaches this many bytes, well below the size of a message.
const BYTES_MAX: usize = 6 << 20;
/// A page ends after so many records were looked at, shown or not.
const LOOKED_AT_MAX: usize = 20_000;

/// What a list takes from a table.
struct Want<K, R> {
    scope: Scope<K>,
    size: usize,
    shown: fn(&R) -> bool,
    show_deleted: bool,
}

/// What was taken, and where the next page goes on.
type Picked<K, R> = (Vec<(K, R)>, Option<K>);

fn pick<K: Key, R: Message + Default>(
    read: &impl Read,
    table: &Table<K, R>,
    want: &Want<K, R>,
    mut after: Option<K>,
) -> Result<Picked<K, R>> {
    let (mut items, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
    loop {
        let page = read.page(table, &want.scope, after.as_ref(), want.size - items.len())?;
        looked_at += page.items.len();
        for (key, record) in page.items {
            if want.show_deleted || (want.shown)(&record) {
                bytes += record.encoded_len();
                items.push((key, record));
            }
        }
        after = page.next;
        if after.is_none() || items.len() >= want.size || bytes >= BYTES_MAX || looked_at >= LOOKED_AT_MAX {
            return Ok((items, after));
        }
    }
}

/// The name after which a page goes on.
fn after<N: ResourceName>(arguments: &[&str], token: &str) -> Result<Option<N>, Status> {
    let text = page::after(arguments, token)?;
    text.map(|text| N::parse(&text).map_err(|_| ApiError::invalid_page_token().into())).transpose()
}

fn flag(on: bool) -> &'static str {
    if on { "deleted" } else { "" }
}

impl Api {
    pub(super) fn schemas(&self, request: &pb::ListSchemasRequest) -> Result<pb::ListSchemasResponse, Status> {
        plain_list(&request.filter, &request.order_by)?;
        let source: DataSourceName = name("parent", &request.parent)?;
        let arguments = ["schemas", request.parent.as_str(), flag(request.show_deleted)];
        let from = after::<SchemaName>(&arguments, &request.page_token)?.map(|name| key::schema_key(&name));
        let want = Want {
            scope: Scope::prefix(&(source.id().as_str().to_owned(),)),
            size: page::size(request.page_size),
            shown: |schema: &crate::record::Schema| schema.delete_time_ms == 0,
            show_deleted: request.show_deleted,
        };
        let (items, next) = self.core.store.read(|read| pick(read, &SCHEMAS, &want, from))?;
        Ok(pb::ListSchemasResponse {
            schemas: items.into_iter().map(|(key, schema)| convert::schema_to(&key, schema)).collect::<Result<_>>()?,
            next_page_token: next_token(&arguments, next.map(|key| key::schema_name(&key)))?,
        })
    }

    pub(super) fn tables(&self, request: &pb::ListTablesRequest) -> Result<pb::ListTablesResponse, Status> {
        plain_list(&request.filter, &request.order_by)?;
        let parent = Parent::<SchemaName>::parse(&request.parent)
            .map_err(|error| ApiError::invalid_field("parent", error.reason))?;
        let source = parent.data_source().map(|source| source.id().as_str().to_owned()).unwrap_or_default();
        let scope = match parent.exact() {
            Some(schema) => Scope::prefix(&key::schema_key(&schema)),
            None => Scope::prefix(&(source,)),
        };
        let arguments = ["tables", request.parent.as_str(), flag(request.show_deleted)];
        let from = after::<TableName>(&arguments, &request.page_token)?.map(|name| key::table_key(&name));
        let want = Want {
            scope,
            size: page::size(request.page_size),
            shown: |table: &crate::record::Table| table.delete_time_ms == 0,
            show_deleted: request.show_deleted,
        };
        let (items, next) = self.core.store.read(|read| pick(read, &TABLES, &want, from))?;
        Ok(pb::ListTablesResponse {
            tables: items.into_iter().map(|(key, table)| convert::table_to(&key, table)).collect::<Result<_>>()?,
            next_page_token: next_token(&arguments, next.map(|key| key::table_name(&key)))?,
        })
    }

    pub(super) fn partitions(&self, request: &pb::ListPartitionsRequest) -> Result<pb::ListPartitionsResponse, Status> {
        plain_list(&request.filter, &request.order_by)?;
        let table: TableName = name("parent", &request.parent)?;
        let arguments = ["partitions", request.parent.as_str(), flag(request.show_deleted)];
        let from = after::<PartitionName>(&arguments, &request.page_token)?.map(|name| key::partition_key(&name));
        let want = Want {
            scope: Scope::prefix(&key::table_key(&table)),
            size: page::size(request.page_size),
            shown: |partition: &crate::record::Partition| partition.delete_time_ms == 0,
            show_deleted: request.show_deleted,
        };
        let (table_id, (items, next)) = self.core.store.read(|read| {
            let table = read.get(&TABLES, &key::table_key(&table))?.unwrap_or_default();
            Ok::<_, CatalogError>((table.facts.delta_id, pick(read, &PARTITIONS, &want, from)?))
        })?;
        let partitions = items.into_iter().map(|(key, partition)| convert::partition_to(&key, partition, &table_id));
        Ok(pb::ListPartitionsResponse {
            partitions: partitions.collect::<Result<_>>()?,
            next_page_token: next_token(&arguments, next.map(|key| key::partition_name(&key)))?,
        })
    }

    pub(super) fn scans(&self, request: &pb::ListScansRequest) -> Result<pb::ListScansResponse, Status> {
        plain_list(&request.filter, &request.order_by)?;
        let source: DataSourceName = name("parent", &request.parent)?;
        let arguments = ["scans", request.parent.as_str()];
        let from = page::after(&arguments, &request.page_token)?;
        // The number goes before the name: the scan itself may be forgotten between two pages.
        let from = from.map(|text| parse_scan_token(&text).ok_or_else(ApiError::invalid_page_token)).transpose()?;
        let scope = Scope::prefix(&(source.id().as_str().to_owned(),)).descending();
        let size = page::size(request.page_size);
        let found = self
            .core
            .store
            .read(|read| read.index_page(&SCANS, &SCANS_BY_AGE, &scope, from.as_ref(), size))
            .map_err(CatalogError::from)?;
        let next = found.next.map(|((_, number), key)| format!("{number}/{}", key::scan_name(&key)));
        Ok(pb::ListScansResponse {
            scans: found.items.into_iter().map(|(key, scan)| convert::scan_to(&key, scan)).collect(),
            next_page_token: next.map(|next| page::token(&arguments, &next)).unwrap_or_default(),
        })
    }
}

fn parse_scan_token(text: &str) -> Option<((String, u64), crate::store::ScanKey)> {
    let (number, scan) = text.split_once('/')?;
    let key = key::scan_key(&ScanName::parse(scan).ok()?);
    Some(((key.0.clone(), number.parse().ok()?), key))
}

fn next_token<N: ToString>(arguments: &[&str], name: Option<Result<N>>) -> Result<String> {
    Ok(name.transpose()?.map(|name| page::token(arguments, &name.to_string())).unwrap_or_default())
}
