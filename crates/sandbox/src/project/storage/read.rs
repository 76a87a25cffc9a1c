//! Read sessions of the Storage API: a snapshot of a table or of some of its partitions, one split for each partition
//! that has rows. Sessions are kept in memory only: a client whose session is lost opens another.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::response::Response;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::error::{ApiError, ApiResult};
use super::super::partition::{key_of, key_text, parse_tunnel};
use super::super::request::Params;
use super::super::rest;
use super::super::routes::Reply;
use super::super::schema::TableMeta;
use super::super::state::State;
use super::super::tunnel::download::{Download, Reading};
use super::{ArrowOptions, Asked, StreamUnit, created, no_session, parse, schema_json};

/// The most sessions that are kept; the oldest are deleted first.
const SESSIONS_MAX: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Request {
    required_data_columns: Vec<String>,
    required_partition_columns: Vec<String>,
    required_partitions: Vec<String>,
    required_bucket_ids: Vec<String>,
    split_options: SplitOptions,
    arrow_options: ArrowOptions,
    filter_predicate: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SplitOptions {
    split_mode: String,
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self { split_mode: "Size".to_owned() }
    }
}

struct Session {
    id: String,
    meta: Arc<TableMeta>,
    unit: StreamUnit,
    columns: Vec<usize>,
    splits: Vec<Arc<Download>>,
}

/// All sessions, oldest first.
#[derive(Default)]
pub struct Reads(Mutex<VecDeque<Arc<Session>>>);

/// Creates a session.
pub fn create(state: &State, asked: &Asked<'_>, body: &[u8]) -> ApiResult<Response> {
    let request: Request = parse(body)?;
    let unoffered = [
        (!request.required_partition_columns.is_empty(), "RequiredPartitionColumns"),
        (!request.required_bucket_ids.is_empty(), "RequiredBucketIds"),
        (!request.filter_predicate.is_empty(), "FilterPredicate"),
        (request.split_options.split_mode != "Size", "a SplitMode other than Size"),
    ];
    if let Some((_, what)) = unoffered.into_iter().find(|(asked, _)| *asked) {
        return Err(ApiError::invalid(format!("{what} is not offered by this project")));
    }
    let table = state.catalog.table(asked.schema, asked.table)?;
    let meta = table.meta();
    let parts = match request.required_partitions.as_slice() {
        [] => table.all(),
        specs => specs
            .iter()
            .map(|spec| {
                let key = key_of(&meta, &parse_tunnel(spec)?)?;
                let part = table.get(&key).ok_or_else(|| ApiError::no_partition(&key_text(&meta, &key)))?;
                Ok((key, part))
            })
            .collect::<ApiResult<_>>()?,
    };
    let position = |name: &String| meta.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
    let columns = match request.required_data_columns.as_slice() {
        [] => (0..meta.columns.len()).collect(),
        names => names
            .iter()
            .map(|name| position(name).ok_or_else(|| ApiError::invalid(format!("there is no column `{name}`"))))
            .collect::<ApiResult<_>>()?,
    };
    let now = Timestamp::now();
    let filled = parts.into_iter().filter(|(_, part)| part.rows() > 0);
    let splits = filled.map(|(key, part)| Arc::new(Download::of_part(&meta, key, &part, now))).collect();
    let id = format!("{}{}", now.strftime("%Y%m%d%H%M%S"), uuid::Uuid::new_v4().simple());
    let session = Arc::new(Session { id, meta, unit: request.arrow_options.unit()?, columns, splits });
    let mut known = state.reads.0.lock();
    known.push_back(session.clone());
    if known.len() > SESSIONS_MAX {
        known.pop_front();
    }
    Ok(created(&describe(&session)))
}

fn find(state: &State, asked: &Asked<'_>, id: &str) -> ApiResult<Arc<Session>> {
    let meta = state.catalog.table(asked.schema, asked.table)?.meta();
    let known = state.reads.0.lock();
    let found = known.iter().find(|session| session.id == id && session.meta.id == meta.id);
    found.cloned().ok_or_else(|| no_session(id))
}

/// Describes a session.
pub fn get(state: &State, asked: &Asked<'_>, id: &str) -> ApiResult<Response> {
    Ok(rest::json_answer(&describe(&*find(state, asked, id)?)))
}

fn describe(session: &Session) -> Value {
    json!({
        "SessionId": session.id,
        "SessionType": "batch_read",
        "SessionStatus": "NORMAL",
        "ExpirationTime": (Timestamp::now().as_second() + 24 * 3600) * 1000,
        "SplitsCount": session.splits.len(),
        "RecordCount": session.splits.iter().map(|split| split.count()).sum::<u64>(),
        "DataSchema": schema_json(&session.meta),
        "SupportedDataFormat": [{"Type": "ARROW", "Version": "V5"}],
    })
}

/// Returns the rows of one split.
pub fn rows(state: &State, asked: &Asked<'_>, params: &Params) -> ApiResult<Reply> {
    let session = find(state, asked, params.need("session_id")?)?;
    let number = |name: &str| {
        let text = params.get(name).unwrap_or("0");
        text.parse::<u64>().map_err(|_| ApiError::invalid(format!("{name} `{text}` is not a number")))
    };
    if number("row_index")? != 0 || number("row_count")? != 0 {
        return Err(ApiError::invalid("row_index and row_count are for SplitMode RowOffset"));
    }
    let index = usize::try_from(number("split_index")?).unwrap_or(usize::MAX);
    let split = session.splits.get(index).cloned();
    let split = split.ok_or_else(|| ApiError::invalid(format!("split {index} of {}", session.splits.len())))?;
    let reading = Reading::stream(split.count(), session.columns.clone(), session.unit.time_unit());
    Ok(Reply::Rows(split, reading))
}
