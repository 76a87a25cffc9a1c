//! Tables and partitions at the service endpoint: lists and single objects.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use super::super::error::{ApiError, ApiResult, xml};
use super::super::partition::{PartKey, key_of, key_text, parse_quoted};
use super::super::request::Params;
use super::super::schema::{Column, TableMeta};
use super::super::state::State;
use super::super::table::{Part, Table};
use super::super::type_text::type_text;
use super::{OWNER, cdata, http_time, page, with_times, xml_answer};

/// `GET /projects/P/tables`.
pub fn list(state: &State, schema: &str, params: &Params) -> ApiResult<Response> {
    let prefix = params.get("name").unwrap_or_default().to_ascii_lowercase();
    let tables = state.catalog.tables(schema)?;
    let tables = tables.into_iter().map(|t| t.meta()).filter(|m| m.name.starts_with(&prefix)).collect();
    let (page, marker) = page(tables, params, |m| m.name.clone())?;
    let items: String = page
        .iter()
        .map(|m| {
            format!("<Table><Name>{}</Name><Owner>{OWNER}</Owner><Type>MANAGED_TABLE</Type></Table>", xml(&m.name))
        })
        .collect();
    Ok(xml_answer(&format!(
        "<Tables><Marker>{}</Marker><MaxItems>{}</MaxItems>{items}</Tables>",
        xml(&marker),
        page.len()
    )))
}

fn column(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": type_text(&column.data_type),
        "comment": column.comment.clone().unwrap_or_default(),
        "label": "",
        "isNullable": column.nullable,
    })
}

fn last_modified(table: &Table, meta: &TableMeta) -> i64 {
    table.all().iter().map(|(_, part)| part.modified()).max().unwrap_or(meta.created)
}

fn reserved(meta: &TableMeta) -> Value {
    let mut reserved = serde_json::Map::new();
    for (name, value) in &meta.properties {
        reserved.insert(name.clone(), json!(value));
    }
    let transactional = meta.properties.get("transactional").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    reserved.insert("Transactional".to_owned(), json!(transactional.to_string()));
    reserved.insert("schema_version".to_owned(), json!(meta.id));
    if !meta.primary_key.is_empty() {
        reserved.insert("PrimaryKey".to_owned(), json!(meta.primary_key));
    }
    Value::Object(reserved)
}

/// Answers `GET /projects/P/tables/T`, also with `?extended`. The answer names the table's project and schema, which
/// the Java SDK uses in its next requests.
pub fn get(table: &Table, project: &str, schema_name: &str, extended: bool) -> Response {
    let meta = table.meta();
    let parts = table.all();
    let modified = last_modified(table, &meta);
    let bytes: u64 = parts.iter().map(|(_, p)| p.bytes()).sum();
    let rows: u64 = parts.iter().map(|(_, p)| p.rows()).sum();
    let mut schema = json!({
        "tableName": meta.name,
        "columns": meta.columns.iter().map(column).collect::<Vec<_>>(),
        "partitionKeys": meta.partition_columns.iter().map(column).collect::<Vec<_>>(),
        "comment": meta.comment.clone().unwrap_or_default(),
        "owner": OWNER,
        "createTime": meta.created,
        "lastDDLTime": meta.last_ddl,
        "lastModifiedTime": modified,
        "size": bytes,
        "recordNum": if meta.partition_columns.is_empty() { json!(rows) } else { json!(-1) },
        "lifecycle": meta.lifecycle.map_or(-1, i64::from),
        "isVirtualView": false,
        "isExternal": false,
        "tableLabel": "0",
        "shardExist": false,
        "tableProperties": Value::String(json!(meta.properties).to_string()),
    });
    if let Some(fields) = schema.as_object_mut().filter(|_| extended) {
        fields.insert("IsArchived".to_owned(), json!(false));
        fields.insert("PhysicalSize".to_owned(), json!(bytes));
        fields.insert("FileNum".to_owned(), json!(parts.iter().map(|(_, p)| p.files.len()).sum::<usize>()));
        // JSON in a JSON text, as the service writes it.
        fields.insert("Reserved".to_owned(), Value::String(reserved(&meta).to_string()));
    }
    let body = format!(
        "<Table><Name>{}</Name><Project>{}</Project><SchemaName>{}</SchemaName><TableId>{}</TableId><Schema format=\"Json\">{}</Schema><Comment>{}</Comment><Owner>{OWNER}</Owner><TableLabel/><CreationTime>{}</CreationTime><LastModifiedTime>{}</LastModifiedTime><Type>MANAGED_TABLE</Type></Table>",
        xml(&meta.name),
        xml(project),
        xml(&schema_name.to_ascii_lowercase()),
        meta.id,
        cdata(&schema),
        xml(meta.comment.as_deref().unwrap_or_default()),
        http_time(meta.created),
        http_time(modified),
    );
    with_times(xml_answer(&body), meta.created, modified)
}

fn key_name(key: &PartKey) -> String {
    key.join("\u{1f}")
}

/// Answers `?partitions&name`: the names only, and all of them at once, since clients that ask this way follow no
/// marker.
fn partition_names(meta: &TableMeta, parts: &[(PartKey, Arc<Part>)]) -> Response {
    let item = |key: &PartKey| format!("<Partition><Name>{}</Name></Partition>", xml(&key_text(meta, key)));
    let items: String = parts.iter().map(|(key, _)| item(key)).collect();
    xml_answer(&format!("<Partitions><Marker/><MaxItems>{}</MaxItems>{items}</Partitions>", parts.len()))
}

/// Answers `GET /projects/P/tables/T?partitions`. A marker is opaque: the hex of the last key.
pub fn partitions(table: &Table, params: &Params) -> ApiResult<Response> {
    let meta = table.meta();
    if meta.partition_columns.is_empty() {
        return Err(ApiError::invalid(format!("table {} has no partitions", meta.name)));
    }
    let wanted = params.get("partition").map(parse_quoted).transpose()?.unwrap_or_default();
    let matches = |key: &PartKey| {
        wanted.iter().all(|(name, value)| {
            let at = meta.partition_columns.iter().position(|c| c.name.eq_ignore_ascii_case(name));
            at.is_some_and(|i| key[i] == *value)
        })
    };
    let parts: Vec<_> = table.all().into_iter().filter(|(key, _)| matches(key)).collect();
    if params.has("name") {
        return Ok(partition_names(&meta, &parts));
    }
    let (page, marker) = page(parts, params, |(key, _)| hex::encode(key_name(key)))?;
    let items: String = page
        .iter()
        .map(|(key, part)| {
            let columns: String = meta
                .partition_columns
                .iter()
                .zip(key)
                .map(|(c, value)| format!("<Column Name=\"{}\" Value=\"{}\"/>", xml(&c.name), xml(value)))
                .collect();
            format!(
                "<Partition>{columns}<CreationTime>{}</CreationTime><LastDDLTime>{}</LastDDLTime><LastModifiedTime>{}</LastModifiedTime><PartitionSize>{}</PartitionSize><PartitionRecordCount>{}</PartitionRecordCount></Partition>",
                part.created(),
                part.created(),
                part.modified(),
                part.bytes(),
                part.rows()
            )
        })
        .collect();
    Ok(xml_answer(&format!(
        "<Partitions><Marker>{marker}</Marker><MaxItems>{}</MaxItems>{items}</Partitions>",
        page.len()
    )))
}

fn partition_json(part: &Part) -> Value {
    json!({
        "createTime": part.created(),
        "lastDDLTime": part.created(),
        "lastModifiedTime": part.modified(),
        "partitionSize": part.bytes(),
        "partitionRecordNum": part.rows(),
        "IsArchived": false,
        "IsExstore": false,
        "LifeCycle": -1,
        "PhysicalSize": part.bytes(),
        "FileNum": part.files.len(),
    })
}

/// `GET /projects/P/tables/T?partition=k='v'`.
pub fn partition(table: &Table, spec: &str) -> ApiResult<Response> {
    let meta = table.meta();
    let key = key_of(&meta, &parse_quoted(spec)?)?;
    // Metadata calls answer NoSuchObject where the tunnel answers NoSuchPartition; clients take the former for
    // "absent".
    let part = table.get(&key).ok_or_else(|| ApiError { code: "NoSuchObject", ..ApiError::no_partition(spec) })?;
    let body = format!("<Partition><Schema>{}</Schema></Partition>", cdata(&partition_json(&part)));
    Ok(with_times(xml_answer(&body), part.created(), part.modified()))
}
