//! The Storage API, version 1: write sessions of one partition, whose commit names the attempts to publish, and read
//! sessions over a snapshot. Both carry Arrow streams whose timestamps have the unit that the session asks for.
//!
//! Features that it does not have are rejected by name: dynamic partitions, filters, splits by rows or buckets.

mod read;
mod write;

use arrow::datatypes::TimeUnit;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use read::Reads;
pub use write::receive;

use super::error::{ApiError, ApiResult};
use super::request::{Params, Target};
use super::rest;
use super::routes::{Reply, within_project};
use super::schema::{Column, TableMeta};
use super::state::State;
use super::type_text::type_text;

/// The unit of the timestamps in Arrow streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamUnit {
    Second,
    Milli,
    Micro,
    /// Nanoseconds. In 64 bits they reach from 1677 to 2262.
    #[default]
    Nano,
}

impl StreamUnit {
    /// The same unit in Arrow's type.
    pub fn time_unit(self) -> TimeUnit {
        match self {
            Self::Second => TimeUnit::Second,
            Self::Milli => TimeUnit::Millisecond,
            Self::Micro => TimeUnit::Microsecond,
            Self::Nano => TimeUnit::Nanosecond,
        }
    }
}

/// The timestamp units that a session asks for.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ArrowOptions {
    timestamp_unit: StreamUnit,
    datetime_unit: Option<StreamUnit>,
}

impl ArrowOptions {
    fn unit(&self) -> ApiResult<StreamUnit> {
        match self.datetime_unit {
            None | Some(StreamUnit::Milli) => Ok(self.timestamp_unit),
            Some(other) => Err(ApiError::invalid(format!("DatetimeUnit {other:?}: this project supports only milli"))),
        }
    }
}

/// What a request of the Storage API addresses.
pub struct Asked<'t> {
    pub schema: &'t str,
    pub table: &'t str,
    /// The path segments after the table.
    pub below: Vec<&'t str>,
}

impl<'t> Asked<'t> {
    /// Parses `/api/storage/v1/projects/P/schemas/S/tables/T/…`; `None` for any other path.
    pub fn of(state: &State, target: &'t Target) -> ApiResult<Option<Self>> {
        let segments: Vec<&str> = target.segments.iter().map(String::as_str).collect();
        let ("storage", "v1") = (segments.first().copied().unwrap_or(""), segments.get(1).copied().unwrap_or(""))
        else {
            return Ok(None);
        };
        match within_project(state, target, 2)?.as_slice() {
            ["schemas", schema, "tables", table, below @ ..] if target.service => {
                Ok(Some(Self { schema, table, below: below.to_vec() }))
            }
            _ => Err(ApiError::new(404, "NoSuchObject", format!("the Storage API serves nothing at {}", target.path))),
        }
    }

    /// Whether the body of a request has rows.
    pub fn is_upload(method: &Method, target: &Target) -> bool {
        let segments: Vec<&str> = target.segments.iter().map(String::as_str).collect();
        *method == Method::POST && matches!(segments.as_slice(), ["storage", "v1", .., "sessions", _, "data"])
    }
}

/// Answers a request whose body has no rows.
///
/// # Errors
/// The error to answer with.
pub fn route(state: &State, method: &Method, asked: &Asked<'_>, params: &Params, body: &[u8]) -> ApiResult<Reply> {
    let kind = params.get("session_type").unwrap_or_default();
    if matches!((method.as_str(), asked.below.as_slice()), ("POST", ["sessions"])) {
        state.check_quota("quotaName", params.get("quotaName"))?;
    }
    match (method.as_str(), asked.below.as_slice(), kind) {
        ("POST", ["sessions"], "batch_write") => write::create(state, asked, body).map(Reply::Whole),
        ("GET", ["sessions", id], "batch_write") => write::get(state, asked, id).map(Reply::Whole),
        ("POST", ["commit"], _) => write::commit(state, asked, params.need("session_id")?, body).map(Reply::Whole),
        ("POST", ["sessions"], "batch_read") => read::create(state, asked, body).map(Reply::Whole),
        ("GET", ["sessions", id], "batch_read") => read::get(state, asked, id).map(Reply::Whole),
        ("GET", ["data"], _) => read::rows(state, asked, params),
        (other, ["sessions" | "commit" | "data", ..], kind) => {
            Err(ApiError::new(405, "MethodNotAllowed", format!("{other} of a session of type `{kind}`")))
        }
        _ => Err(ApiError::new(404, "NoSuchObject", "the Storage API has sessions, data and commit".to_owned())),
    }
}

/// Parses a JSON body.
fn parse<T: for<'d> Deserialize<'d>>(body: &[u8]) -> ApiResult<T> {
    serde_json::from_slice(body).map_err(|error| ApiError::invalid(format!("the body: {error}")))
}

fn created(body: &Value) -> axum::response::Response {
    rest::answer(StatusCode::CREATED, "application/json", body.to_string())
}

fn no_session(id: &str) -> ApiError {
    ApiError::new(404, "NoSuchSession", format!("there is no session {id} of this table"))
}

fn schema_json(meta: &TableMeta) -> Value {
    let describe = |columns: &[Column]| -> Vec<Value> {
        let one = |c: &Column| {
            json!({
                "Name": c.name,
                "Type": type_text(&c.data_type),
                "Comment": c.comment.clone().unwrap_or_default(),
                "Nullable": c.nullable,
            })
        };
        columns.iter().map(one).collect()
    };
    json!({"DataColumns": describe(&meta.columns), "PartitionColumns": describe(&meta.partition_columns)})
}
