//! The List methods of schemas, tables, partitions and scans, page by page.

use mms_proto::catalog::v1 as pb;
use mms_proto::name::{DataSourceName, Parent, PartitionName, ResourceName, ScanName, SchemaName, TableName};
use mms_proto::{ApiError, page};
use mms_server::{Filter, filter};
use mms_store::{Key, Read, Scope, Store, Table};
use prost::{Message, Name};
use tonic::Status;

use super::{Api, filter, name};
use crate::convert;
use crate::error::{CatalogError, Result};
use crate::key;
use crate::record::Scan;
use crate::store::{PARTITIONS, SCANS, SCANS_BY_AGE, SCHEMAS, SUMMARIES, ScanKey, TABLES};

/// A page ends with the item that makes it reach this many bytes, which is well below the message limit.
const BYTES_MAX: usize = 6 << 20;

/// The range of keys, page size and filter of a List call.
struct Want<K, P> {
    scope: Scope<K>,
    size: usize,
    filter: Filter<P>,
}

/// Fills a page with the records that `show` turns into items and the filter keeps. Also returns the key to continue after.
fn pick<K: Key + Clone, R: Message + Default, P: Message + Name>(
    store: &Store,
    table: &'static Table<K, R>,
    want: &Want<K, P>,
    after: Option<K>,
    show: impl Fn(&K, R) -> Result<Option<P>>,
) -> Result<(Vec<P>, Option<K>)> {
    let records = |after: Option<&K>, limit: usize| {
        let page = store.read(|read| read.page(table, &want.scope, after, limit).map_err(CatalogError::from))?;
        Ok::<_, CatalogError>((page.items, page.next.is_some()))
    };
    let show = |key: &K, record: R| Ok(show(key, record)?.filter(|shown| want.filter.passes(shown)));
    filter::fill(want.size, BYTES_MAX, after, records, show)
}

/// The resource name that the page token continues after.
fn after<N: ResourceName>(arguments: &[&str], token: &str) -> Result<Option<N>, Status> {
    let text = page::after(arguments, token)?;
    text.map(|text| N::parse(&text).map_err(|_| ApiError::invalid_page_token().into())).transpose()
}

fn flag(on: bool) -> &'static str {
    if on { "deleted" } else { "" }
}

impl Api {
    /// The uid of the data source whose records the catalog has under this id; empty before its first scan.
    pub(super) fn source_uid(&self, source: &str) -> Result<String> {
        let summary = self.core.store.read(|read| read.get(&SUMMARIES, &source.to_owned()))?;
        Ok(summary.unwrap_or_default().uid)
    }

    /// The number of tables of a schema, or of a data source.
    fn tables_counted(&self, source: &str, schema: Option<SchemaName>) -> Result<Option<i64>> {
        let counts = self.core.store.read(|read| match schema {
            Some(schema) => {
                let stored = read.get(&SCHEMAS, &key::schema_key(&schema))?;
                Ok::<_, CatalogError>(stored.map(|schema| schema.tables))
            }
            None => Ok(read.get(&SUMMARIES, &source.to_owned())?.map(|summary| summary.tables)),
        })?;
        Ok(counts.map(|counts| counts.total()))
    }

    pub(super) fn schemas(&self, request: &pb::ListSchemasRequest) -> Result<pb::ListSchemasResponse, Status> {
        let source: DataSourceName = name("parent", &request.parent)?;
        let want = Want {
            scope: Scope::prefix(&(source.id().as_str().to_owned(),)),
            size: page::size(request.page_size),
            filter: filter(&request.filter, &request.order_by)?,
        };
        let uid = self.source_uid(source.id().as_str())?;
        let arguments = ["schemas", request.parent.as_str(), flag(request.show_deleted), request.filter.as_str()];
        let from = after::<SchemaName>(&arguments, &request.page_token)?.map(|name| key::schema_key(&name));
        let (schemas, next) = pick(&self.core.store, &SCHEMAS, &want, from, |key, schema| {
            let shown = request.show_deleted || schema.delete_time_ms == 0;
            shown.then(|| convert::schema_to(&uid, key, schema)).transpose()
        })?;
        let next_page_token = next_token(&arguments, next.map(|key| key::schema_name(&key)))?;
        Ok(pb::ListSchemasResponse { schemas, next_page_token, total_size: None })
    }

    pub(super) fn tables(&self, request: &pb::ListTablesRequest) -> Result<pb::ListTablesResponse, Status> {
        let parent = Parent::<SchemaName>::parse(&request.parent)
            .map_err(|error| ApiError::invalid_field("parent", error.reason))?;
        let source = parent.data_source().map(|source| source.id().as_str().to_owned()).unwrap_or_default();
        let scope = match parent.exact() {
            Some(schema) => Scope::prefix(&key::schema_key(&schema)),
            None => Scope::prefix(&(source.clone(),)),
        };
        let uid = self.source_uid(&source)?;
        let filter = filter(&request.filter, &request.order_by)?;
        let want = Want { scope, size: page::size(request.page_size), filter };
        let arguments = ["tables", request.parent.as_str(), flag(request.show_deleted), request.filter.as_str()];
        let from = after::<TableName>(&arguments, &request.page_token)?.map(|name| key::table_key(&name));
        let (tables, next) = pick(&self.core.store, &TABLES, &want, from, |key, table| {
            let shown = request.show_deleted || table.delete_time_ms == 0;
            let table = shown.then(|| convert::table_to(&uid, key, table)).transpose()?;
            // The view is applied before the page is filled, so that its size is counted without the fields left out.
            Ok(table.map(|table| convert::in_view(table, request.view())))
        })?;
        let next_page_token = next_token(&arguments, next.map(|key| key::table_name(&key)))?;
        // The counters cover live tables only, without a filter.
        let counted = !request.show_deleted && request.filter.is_empty();
        let total_size = if counted { self.tables_counted(&source, parent.exact())? } else { None };
        Ok(pb::ListTablesResponse { tables, next_page_token, total_size })
    }

    pub(super) fn partitions(&self, request: &pb::ListPartitionsRequest) -> Result<pb::ListPartitionsResponse, Status> {
        let table: TableName = name("parent", &request.parent)?;
        let uid = self.source_uid(table.data_source().id().as_str())?;
        let want = Want {
            scope: Scope::prefix(&key::table_key(&table)),
            size: page::size(request.page_size),
            filter: filter(&request.filter, &request.order_by)?,
        };
        let arguments = ["partitions", request.parent.as_str(), flag(request.show_deleted), request.filter.as_str()];
        let from = after::<PartitionName>(&arguments, &request.page_token)?.map(|name| key::partition_key(&name));
        let table = self
            .core
            .store
            .read(|read| Ok::<_, CatalogError>(read.get(&TABLES, &key::table_key(&table))?))?
            .unwrap_or_default();
        let (partitions, next) = pick(&self.core.store, &PARTITIONS, &want, from, |key, partition| {
            let shown = request.show_deleted || partition.delete_time_ms == 0;
            shown.then(|| convert::partition_to(&uid, key, partition, &table.facts)).transpose()
        })?;
        let next_page_token = next_token(&arguments, next.map(|key| key::partition_name(&key)))?;
        let counted = !request.show_deleted && request.filter.is_empty();
        let total_size = counted.then(|| table.partitions.total());
        Ok(pb::ListPartitionsResponse { partitions, next_page_token, total_size })
    }

    pub(super) fn scans(&self, request: &pb::ListScansRequest) -> Result<pb::ListScansResponse, Status> {
        let filter = filter(&request.filter, &request.order_by)?;
        let source: DataSourceName = name("parent", &request.parent)?;
        let arguments = ["scans", request.parent.as_str(), request.filter.as_str()];
        let from = page::after(&arguments, &request.page_token)?;
        // The token has the number before the name, because the scan itself may be deleted between two pages.
        let from = from.map(|text| parse_scan_token(&text).ok_or_else(ApiError::invalid_page_token)).transpose()?;
        let scope = Scope::prefix(&(source.id().as_str().to_owned(),)).descending();
        let records = |after: Option<&ScanCursor>, limit: usize| {
            let page = self.core.store.read(|read| {
                read.index_page(&SCANS, &SCANS_BY_AGE, &scope, after, limit).map_err(CatalogError::from)
            })?;
            let cursor = |(key, scan): (ScanKey, Scan)| (((key.0.clone(), scan.number), key), scan);
            Ok::<_, CatalogError>((page.items.into_iter().map(cursor).collect(), page.next.is_some()))
        };
        let show =
            |cursor: &ScanCursor, scan| Ok(Some(convert::scan_to(&cursor.1, scan)).filter(|scan| filter.passes(scan)));
        let (scans, next) = filter::fill(page::size(request.page_size), BYTES_MAX, from, records, show)?;
        let next = next.map(|((_, number), key)| format!("{number}/{}", key::scan_name(&key)));
        Ok(pb::ListScansResponse {
            scans,
            next_page_token: next.map(|next| page::token(&arguments, &next)).unwrap_or_default(),
            total_size: None,
        })
    }
}

/// A position in the list of scans, by the index of their age.
type ScanCursor = ((String, u64), ScanKey);

fn parse_scan_token(text: &str) -> Option<ScanCursor> {
    let (number, scan) = text.split_once('/')?;
    let key = key::scan_key(&ScanName::parse(scan).ok()?);
    Some(((key.0.clone(), number.parse().ok()?), key))
}

fn next_token<N: ToString>(arguments: &[&str], name: Option<Result<N>>) -> Result<String> {
    Ok(name.transpose()?.map(|name| page::token(arguments, &name.to_string())).unwrap_or_default())
}
