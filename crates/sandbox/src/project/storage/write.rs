//! Write sessions of the Storage API. They are the tunnel's upload sessions with attempts at blocks, so they survive a
//! restart as those do.

use std::io::Read;
use std::sync::Arc;

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::error::{ApiError, ApiResult};
use super::super::partition::{PartKey, key_of, parse_tunnel};
use super::super::request::Params;
use super::super::rest;
use super::super::schema::TableMeta;
use super::super::state::State;
use super::super::tunnel::block::Carrier;
use super::super::tunnel::upload::{BlockKey, Purpose, SESSION_SECONDS, Upload, block_id};
use super::super::wire::encoding::Encoding;
use super::{ArrowOptions, Asked, StreamUnit, created, no_session, parse, schema_json};

/// The most blocks of a session.
const BLOCKS: u32 = 20_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    #[serde(default)]
    partition_spec: String,
    overwrite: Option<bool>,
    #[serde(default)]
    arrow_options: ArrowOptions,
    #[serde(default)]
    support_write_cluster: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Commit {
    commit_messages: Vec<String>,
    #[serde(rename = "WaitFlyingWritersTimeoutSeconds")]
    _wait: Option<u32>,
}

/// The contents of a commit message. It is opaque to clients, who send it back as they received it.
#[derive(Serialize, Deserialize)]
struct Message {
    session: String,
    key: BlockKey,
    file: String,
}

/// Creates a session.
pub fn create(state: &State, asked: &Asked<'_>, body: &[u8]) -> ApiResult<Response> {
    let request: Request = parse(body)?;
    let table = state.catalog.table(asked.schema, asked.table)?;
    let meta = table.meta();
    if request.support_write_cluster {
        return Err(ApiError::invalid("SupportWriteCluster: no table of this project is clustered"));
    }
    let purpose = Purpose {
        schema: asked.schema.to_owned(),
        table: asked.table.to_owned(),
        key: addressed(&meta, &request.partition_spec)?,
        overwrite: request.overwrite.unwrap_or(true),
        create_partition: false,
        stream: Some(request.arrow_options.unit()?),
    };
    let now = Timestamp::now();
    let upload = state.uploads.create(&state.catalog, &table, purpose, now)?;
    Ok(created(&describe(state, &upload, now.as_second())?))
}

fn addressed(meta: &TableMeta, spec: &str) -> ApiResult<PartKey> {
    match (spec.is_empty(), meta.partition_columns.is_empty()) {
        (true, true) => Ok(PartKey::new()),
        (false, false) => key_of(meta, &parse_tunnel(spec)?),
        (true, false) => Err(ApiError::invalid("PartitionSpec is empty: this project has no dynamic partitions")),
        (false, true) => Err(ApiError::invalid(format!("table {} has no partitions: {spec}", meta.name))),
    }
}

fn find(state: &State, asked: &Asked<'_>, id: &str) -> ApiResult<(Arc<Upload>, StreamUnit)> {
    let upload = state.uploads.get(id).map_err(|_| no_session(id))?;
    match upload.purpose().stream {
        Some(unit) if upload.is_of(asked.schema, asked.table) => Ok((upload, unit)),
        _ => Err(no_session(id)),
    }
}

/// Describes a session.
pub fn get(state: &State, asked: &Asked<'_>, id: &str) -> ApiResult<Response> {
    let (upload, _) = find(state, asked, id)?;
    Ok(rest::json_answer(&describe(state, &upload, Timestamp::now().as_second())?))
}

fn describe(state: &State, upload: &Upload, now: i64) -> ApiResult<Value> {
    let meta = upload.meta(&state.catalog)?;
    let status = match upload.state(now) {
        "normal" => "NORMAL",
        "closed" => "COMMITTED",
        "expired" => "EXPIRED",
        _ => "CRITICAL",
    };
    Ok(json!({
        "SessionId": upload.id(),
        "SessionType": "batch_write",
        "SessionStatus": status,
        "ExpirationTime": (upload.created() + SESSION_SECONDS) * 1000,
        "MaxBlockNumber": BLOCKS,
        "DataSchema": schema_json(&meta),
        "SupportedDataFormat": [{"Type": "ARROW", "Version": "V5"}],
        "RequiredOrdering": [],
    }))
}

/// Receives one attempt at a block. Its answer is the commit message that names the attempt.
pub fn receive(
    state: &State,
    asked: &Asked<'_>,
    params: &Params,
    encoding: &str,
    body: impl Read,
) -> ApiResult<Response> {
    let ["sessions", id, "data"] = asked.below.as_slice() else { return Err(no_session("")) };
    let (upload, unit) = find(state, asked, id)?;
    for (name, known) in [("data_format_type", "ARROW"), ("data_format_version", "V5")] {
        if params.get(name).is_some_and(|value| value != known) {
            return Err(ApiError::invalid(format!("{name}: this project supports only {known}")));
        }
    }
    if !encoding.is_empty() {
        return Err(ApiError::invalid("streams are compressed by their buffers, not by Content-Encoding"));
    }
    let attempt = params.need("attempt_number")?;
    let attempt = attempt.parse().map_err(|_| ApiError::invalid(format!("attempt_number `{attempt}`")))?;
    let key = BlockKey { block: block_id(params.need("block_number")?)?, attempt };
    let carrier = Carrier::Stream(unit.time_unit());
    let file = upload.put(&state.catalog, key, carrier, Encoding::Identity, body, Timestamp::now().as_second())?;
    let message = Message { session: upload.id().to_owned(), key, file: file.name };
    let text = serde_json::to_vec(&message).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(rest::json_answer(&json!({"CommitMessage": BASE64.encode(text)})))
}

/// Publishes the attempts that the commit names.
pub fn commit(state: &State, asked: &Asked<'_>, id: &str, body: &[u8]) -> ApiResult<Response> {
    let (upload, _) = find(state, asked, id)?;
    let request: Commit = parse(body)?;
    let named = request.commit_messages.iter().map(|text| named(&upload, text)).collect::<ApiResult<Vec<_>>>()?;
    let now = Timestamp::now().as_second();
    upload.commit_named(&state.catalog, &named, now)?;
    Ok(created(&describe(state, &upload, now)?))
}

fn named(upload: &Upload, text: &str) -> ApiResult<(BlockKey, String)> {
    let bytes = BASE64.decode(text).ok();
    let message: Option<Message> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    message
        .filter(|message| message.session == upload.id())
        .map(|message| (message.key, message.file))
        .ok_or_else(|| ApiError::invalid("a commit message is not one of this session"))
}
