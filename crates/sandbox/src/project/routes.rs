//! Routes requests. The service endpoint (below `/api`) has metadata and instances, the tunnel endpoint (no prefix) has
//! sessions and rows. The service has them on two hosts, so neither may answer a request that belongs to the other.

use std::sync::Arc;

use axum::response::Response;
use http::{Method, StatusCode};
use jiff::Timestamp;

use super::catalog::DEFAULT_SCHEMA;
use super::error::{ApiError, ApiResult};
use super::instance::Outcome;
use super::partition::key_text;
use super::request::{Params, Target};
use super::rest;
use super::state::State;
use super::storage;
use super::table::Table;
use super::tunnel::addressed;
use super::tunnel::download::{Download, Reading, Source};
use super::tunnel::upload::Purpose;

/// Parameters that a request for a table may have. Any other is rejected, since it could change the meaning of the
/// request.
const TABLE_PARAMS: &[&str] =
    &["curr_project", "curr_schema", "extended", "partition", "partitions", "expectmarker", "marker", "maxitems"];

/// The answer to a request.
pub enum Reply {
    /// A whole answer.
    Whole(Response),
    /// Rows, to be streamed.
    Rows(Arc<Download>, Reading),
}

/// The table that a path of the tunnel endpoint names.
pub struct Tunnelled<'t> {
    pub schema: &'t str,
    pub name: &'t str,
}

impl<'t> Tunnelled<'t> {
    /// Parses the path after `projects/P`: here the schema is part of the path, while the service endpoint has
    /// `curr_schema`.
    pub fn table(target: &Target, path: &[&'t str]) -> ApiResult<Self> {
        match path {
            ["schemas", schema, "tables", name] if !target.service => Ok(Self { schema, name }),
            ["tables", name] if !target.service => Ok(Self { schema: DEFAULT_SCHEMA, name }),
            _ => Err(no_such_path(target)),
        }
    }
}

/// The path after `projects/P`, which must name this project and follows the first `behind` segments.
pub fn within_project<'t>(state: &State, target: &'t Target, behind: usize) -> ApiResult<Vec<&'t str>> {
    let segments: Vec<&str> = target.segments.iter().skip(behind).map(String::as_str).collect();
    match segments.as_slice() {
        ["projects", project, rest @ ..] if project.eq_ignore_ascii_case(&state.name) => Ok(rest.to_vec()),
        ["projects", project, ..] => {
            Err(ApiError::new(404, "NoSuchProject", format!("ODPS-0420111:Project not found - '{project}'")))
        }
        _ => Err(no_such_path(target)),
    }
}

fn no_such_path(target: &Target) -> ApiError {
    let endpoint = if target.service { "service" } else { "tunnel" };
    ApiError::new(404, "NoSuchObject", format!("the {endpoint} endpoint serves nothing at {}", target.path))
}

fn whole(response: Response) -> ApiResult<Reply> {
    Ok(Reply::Whole(response))
}

fn text(body: String) -> Response {
    rest::answer(StatusCode::OK, "text/plain", body)
}

/// Answers a request whose body has no rows.
///
/// # Errors
/// The error to answer with.
pub fn route(state: &State, method: &Method, target: &Target, body: &[u8], accept: &str) -> ApiResult<Reply> {
    let first: Vec<&str> = target.segments.iter().map(String::as_str).collect();
    match first.as_slice() {
        ["tenants"] if target.service => return whole(rest::tenant(state)),
        ["logview", "host"] if target.service => return whole(text(format!("http://{}", state.host))),
        _ => {}
    }
    if let Some(asked) = storage::Asked::of(state, target)? {
        return storage::route(state, method, &asked, &target.params, body);
    }
    let path = within_project(state, target, 0)?;
    match (target.service, path.as_slice()) {
        (true, path) => service(state, method, target, path, body),
        (false, ["instances", id]) => instance_rows(state, method, id, &target.params, accept),
        (false, path) => {
            let Tunnelled { schema, name } = Tunnelled::table(target, path)?;
            tunnel(state, method, schema, name, &target.params, accept)
        }
    }
}

fn service(state: &State, method: &Method, target: &Target, path: &[&str], body: &[u8]) -> ApiResult<Reply> {
    let params = &target.params;
    let schema = params.get("curr_schema").filter(|schema| !schema.is_empty());
    let now = Timestamp::now().as_second();
    match (method.as_str(), path) {
        ("GET", []) => whole(rest::project(state)),
        ("GET", ["tunnel"]) => {
            state.check_quota("quotaName", params.get("quotaName"))?;
            whole(text(state.host.clone()))
        }
        ("PUT" | "POST" | "GET", ["logs" | "logview" | "authorization", ..]) => whole(text(String::new())),
        ("GET", ["schemas"]) => whole(rest::schemas(state, params)?),
        ("POST", ["schemas"]) => whole(rest::create_schema(state, body, now)?),
        ("GET", ["schemas", schema]) => whole(rest::schema(state, schema)?),
        ("DELETE", ["schemas", schema]) => {
            state.catalog.drop_schema(schema, false)?;
            whole(text(String::new()))
        }
        ("GET", ["tables"]) => whole(rest::tables::list(state, schema.unwrap_or(DEFAULT_SCHEMA), params)?),
        ("GET", ["tables", name]) => {
            let schema = schema.unwrap_or(DEFAULT_SCHEMA);
            let found = state.catalog.table(schema, name)?;
            table(&found, &state.name, schema, params).map(Reply::Whole)
        }
        ("POST", ["instances"]) => whole(rest::instances::create(state, schema, params, body)?),
        ("GET", ["instances", id]) => {
            let instance = state.instances.get(id)?;
            whole(rest::instances::get(&instance, params))
        }
        // A statement ends within moments, so there is nothing to stop.
        ("PUT", ["instances", id]) => state.instances.get(id).map(|_| Reply::Whole(text(String::new()))),
        (other, ["tables" | "instances", _]) => {
            Err(ApiError::new(405, "MethodNotAllowed", format!("{other} at {}", target.path)))
        }
        _ => Err(no_such_path(target)),
    }
}

fn table(table: &Table, project: &str, schema: &str, params: &Params) -> ApiResult<Response> {
    let names = params.has("partitions") && params.get("name") == Some("");
    let known = |name: &str| TABLE_PARAMS.contains(&name) || (names && name == "name") || name.starts_with("x-");
    if let Some((name, _)) = params.0.iter().find(|(name, _)| !known(name)) {
        return Err(ApiError::invalid(format!("parameter `{name}` of a table is not supported by this project")));
    }
    if params.has("partitions") {
        return rest::tables::partitions(table, params);
    }
    if params.has("partition") {
        return rest::tables::partition(table, params.need("partition")?);
    }
    Ok(rest::tables::get(table, project, schema, params.has("extended")))
}

fn read(state: &State, source: &Source, params: &Params, accept: &str) -> ApiResult<Reply> {
    let download = state.downloads.get(params.need("downloadid")?, source, Timestamp::now().as_second())?;
    if !params.has("data") {
        return whole(rest::json_answer(&download.describe()));
    }
    let reading = download.reading(params, accept)?;
    Ok(Reply::Rows(download, reading))
}

fn instance_rows(state: &State, method: &Method, id: &str, params: &Params, accept: &str) -> ApiResult<Reply> {
    let instance = state.instances.get(id)?;
    match method.as_str() {
        "POST" if params.has("downloads") => match &instance.outcome {
            Outcome::Success(Some(rows)) => {
                let download = Download::of_result(id, rows, Timestamp::now())?;
                whole(rest::json_answer(&state.downloads.keep(download).describe()))
            }
            _ => Err(ApiError::invalid(format!("instance {id} has no rows: it was no SELECT, runs, or failed"))),
        },
        "GET" if params.has("downloadid") => read(state, &Source::Instance(id.to_owned()), params, accept),
        other => Err(ApiError::new(405, "MethodNotAllowed", format!("{other} on the rows of an instance"))),
    }
}

fn tunnel(state: &State, method: &Method, schema: &str, name: &str, params: &Params, accept: &str) -> ApiResult<Reply> {
    if params.has("uploads") || params.has("downloads") {
        state.check_quota("quotaName", params.get("quotaName"))?;
    }
    let table = state.catalog.table(schema, name)?;
    let meta = table.meta();
    let time = Timestamp::now();
    let now = time.as_second();
    let upload = |id: &str| {
        let upload = state.uploads.get(id)?;
        upload.check_target(schema, name, &state.catalog, params).map(|()| upload)
    };
    match method.as_str() {
        "POST" if params.has("uploads") => {
            let purpose = Purpose {
                schema: schema.to_owned(),
                table: name.to_owned(),
                key: addressed(&meta, params)?,
                overwrite: params.is_true("overwrite"),
                create_partition: params.is_true("create_partition"),
                stream: None,
            };
            let upload = state.uploads.create(&state.catalog, &table, purpose, time)?;
            let response = rest::json_answer(&upload.describe(&state.catalog, now)?);
            whole(rest::with_header(response, "odps-tunnel-date-transform", "false"))
        }
        "POST" if params.has("uploadid") => {
            let upload = upload(params.need("uploadid")?)?;
            upload.commit(&state.catalog, now)?;
            whole(rest::json_answer(&upload.describe(&state.catalog, now)?))
        }
        "GET" if params.has("uploadid") => {
            whole(rest::json_answer(&upload(params.need("uploadid")?)?.describe(&state.catalog, now)?))
        }
        "POST" if params.has("downloads") => {
            let key = addressed(&meta, params)?;
            let part = table.get(&key).ok_or_else(|| ApiError::no_partition(&key_text(&meta, &key)))?;
            let download = Download::of_part(&meta, key, &part, time);
            whole(rest::json_answer(&state.downloads.keep(download).describe()))
        }
        "GET" if params.has("downloadid") => {
            let source = Source::Partition { table: meta.id.clone(), key: addressed(&meta, params)? };
            read(state, &source, params, accept)
        }
        other => Err(ApiError::new(405, "MethodNotAllowed", format!("{other} on a table with these parameters"))),
    }
}
