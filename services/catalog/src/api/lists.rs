//! The List methods of schemas, tables, partitions and scans, page by page.

use mms_proto::ApiError;
use mms_proto::catalog::v1 as pb;
use mms_proto::name::{DataSourceName, Parent, ResourceName, ScanName, SchemaName, TableName};
use mms_proto::types::v1::View;
use mms_server::list::{Asked, List};
use mms_store::{Key, Read, Scope, Store, Table};
use prost::{Message, Name};
use tonic::Status;

use super::{Api, name};
use crate::convert;
use crate::error::{CatalogError, Result};
use crate::key;
use crate::record::Scan;
use crate::store::{PARTITIONS, SCANS, SCANS_BY_AGE, SCHEMAS, SUMMARIES, ScanKey, TABLES};

/// A page ends with the item that makes it reach this many bytes, which is well below the message limit.
const BYTES_MAX: usize = 6 << 20;

/// Returns a page of the items that `show` makes of the records in a scope, and the token of the next page. `show` returns None
/// for a record that is not listed. `named` returns a record's resource name, `key` the key of a name.
fn pick<K: Key + Clone + Ord, R: Message + Default, P: Message + Name, N: ResourceName + ToString>(
    (store, table): (&Store, &'static Table<K, R>),
    scope: &Scope<K>,
    list: &List<P>,
    (key, named): (impl Fn(&N) -> K, impl Fn(&K) -> Result<N>),
    mut show: impl FnMut(&K, R) -> Result<Option<P>>,
) -> Result<(Vec<P>, String), Status> {
    let records = |after: Option<&K>, limit: usize| {
        let page = store.read(|read| read.page(table, scope, after, limit).map_err(CatalogError::from))?;
        Ok::<_, Status>((page.items, page.next.is_some()))
    };
    // A record whose key is not a valid name was rejected before it was shown.
    let text = |at: &K| named(at).map(|name| name.to_string()).unwrap_or_default();
    list.page(text, |text| N::parse(text).ok().map(|name| key(&name)), records, |at, record| Ok(show(at, record)?))
}

/// The list's name in page tokens, which differs if records deleted at the source are listed as well.
fn of(list: &'static [&'static str; 2], deleted: bool) -> &'static str {
    list[usize::from(deleted)]
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
        let asked = Asked {
            of: [of(&["schemas", "schemas and deleted ones"], request.show_deleted), &request.parent],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<pb::Schema>::of(&asked, BYTES_MAX)?;
        let uid = self.source_uid(source.id().as_str())?;
        let scope = Scope::prefix(&(source.id().as_str().to_owned(),));
        let named = (key::schema_key, key::schema_name);
        let (schemas, next_page_token) = pick((&self.core.store, &SCHEMAS), &scope, &list, named, |key, schema| {
            let shown = request.show_deleted || schema.delete_time_ms == 0;
            shown.then(|| convert::schema_to(&uid, key, schema)).transpose()
        })?;
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
        let asked = Asked {
            of: [of(&["tables", "tables and deleted ones"], request.show_deleted), &request.parent],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<pb::Table>::of(&asked, BYTES_MAX)?;
        // A filter or an order may need fields that the requested view leaves out. Without one, left-out fields take no room in
        // the page.
        let view = if list.judges() { View::Full } else { request.view() };
        let named = (key::table_key, key::table_name);
        let (tables, next_page_token) = pick((&self.core.store, &TABLES), &scope, &list, named, |key, table| {
            let shown = request.show_deleted || table.delete_time_ms == 0;
            let table = shown.then(|| convert::table_to(&uid, key, table)).transpose()?;
            Ok(table.map(|table| convert::in_view(table, view)))
        })?;
        let tables = tables.into_iter().map(|table| convert::in_view(table, request.view())).collect();
        // The counters cover live tables only, without a filter.
        let counted = !request.show_deleted && request.filter.is_empty();
        let total_size = if counted { self.tables_counted(&source, parent.exact())? } else { None };
        Ok(pb::ListTablesResponse { tables, next_page_token, total_size })
    }

    pub(super) fn partitions(&self, request: &pb::ListPartitionsRequest) -> Result<pb::ListPartitionsResponse, Status> {
        let table: TableName = name("parent", &request.parent)?;
        let uid = self.source_uid(table.data_source().id().as_str())?;
        let asked = Asked {
            of: [of(&["partitions", "partitions and deleted ones"], request.show_deleted), &request.parent],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<pb::Partition>::of(&asked, BYTES_MAX)?;
        let scope = Scope::prefix(&key::table_key(&table));
        let table = self
            .core
            .store
            .read(|read| Ok::<_, CatalogError>(read.get(&TABLES, &key::table_key(&table))?))?
            .unwrap_or_default();
        let named = (key::partition_key, key::partition_name);
        let (partitions, next_page_token) =
            pick((&self.core.store, &PARTITIONS), &scope, &list, named, |key, partition| {
                let shown = request.show_deleted || partition.delete_time_ms == 0;
                shown.then(|| convert::partition_to(&uid, key, partition, &table.facts)).transpose()
            })?;
        let counted = !request.show_deleted && request.filter.is_empty();
        let total_size = counted.then(|| table.partitions.total());
        Ok(pb::ListPartitionsResponse { partitions, next_page_token, total_size })
    }

    pub(super) fn scans(&self, request: &pb::ListScansRequest) -> Result<pb::ListScansResponse, Status> {
        let source: DataSourceName = name("parent", &request.parent)?;
        let asked = Asked {
            of: ["scans", &request.parent],
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let list = List::<pb::Scan>::of(&asked, BYTES_MAX)?;
        let scope = Scope::prefix(&(source.id().as_str().to_owned(),)).descending();
        let records = |after: Option<&ScanCursor>, limit: usize| {
            let page = self.core.store.read(|read| {
                read.index_page(&SCANS, &SCANS_BY_AGE, &scope, after, limit).map_err(CatalogError::from)
            })?;
            let cursor = |(key, scan): (ScanKey, Scan)| (((key.0.clone(), scan.number), key), scan);
            Ok::<_, Status>((page.items.into_iter().map(cursor).collect(), page.next.is_some()))
        };
        // The number precedes the name, because the scan itself may be deleted between two pages.
        let text = |((_, number), key): &ScanCursor| format!("{number}/{}", key::scan_name(key));
        let show = |cursor: &ScanCursor, scan| Ok(Some(convert::scan_to(&cursor.1, scan)));
        let (scans, next_page_token) = list.page(text, parse_scan_token, records, show)?;
        Ok(pb::ListScansResponse { scans, next_page_token, total_size: None })
    }
}

/// A position in the list of scans, by the index of their age.
type ScanCursor = ((String, u64), ScanKey);

fn parse_scan_token(text: &str) -> Option<ScanCursor> {
    let (number, scan) = text.split_once('/')?;
    let key = key::scan_key(&ScanName::parse(scan).ok()?);
    Some(((key.0.clone(), number.parse().ok()?), key))
}
