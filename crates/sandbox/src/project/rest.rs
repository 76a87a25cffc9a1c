//! The metadata calls of the service endpoint: project, tenant and schemas here, tables and instances in submodules.

pub mod instances;
pub mod tables;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;

use super::error::{ApiError, ApiResult, xml};
use super::request::Params;
use super::state::State;

/// The owner of everything in the project.
pub const OWNER: &str = "ALIYUN$sandbox";

/// Seconds since the epoch in the format of HTTP dates.
pub fn http_time(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or_default();
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// An answer with a body.
pub fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub fn xml_answer(body: &str) -> Response {
    answer(StatusCode::OK, "application/xml", format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}"))
}

pub fn json_answer(body: &serde_json::Value) -> Response {
    answer(StatusCode::OK, "application/json", body.to_string())
}

/// Adds a header whose value this crate made itself.
pub fn with_header(mut response: Response, name: &'static str, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}

/// Adds owner and times, which clients read from headers.
pub fn with_times(response: Response, created: i64, modified: i64) -> Response {
    let response = with_header(response, "x-odps-owner", OWNER);
    let response = with_header(response, "x-odps-creation-time", &http_time(created));
    with_header(response, "last-modified", &http_time(modified))
}

/// JSON wrapped in CDATA.
pub fn cdata(json: &serde_json::Value) -> String {
    format!("<![CDATA[{}]]>", json.to_string().replace("]]>", "]]\\u003e"))
}

/// One page of a listing that is sorted by `name`: the items after the marker, and the marker of the next page (empty
/// on the last).
pub fn page<T>(all: Vec<T>, params: &Params, name: impl Fn(&T) -> String) -> ApiResult<(Vec<T>, String)> {
    let max = match params.get("maxitems") {
        Some(text) => text.parse::<usize>().ok().filter(|n| (1..=1000).contains(n)),
        None => Some(1000),
    }
    .ok_or_else(|| ApiError::invalid("maxitems is a number in 1..1000"))?;
    let after = params.get("marker").unwrap_or_default();
    let mut rest: Vec<T> = all.into_iter().filter(|item| after.is_empty() || name(item).as_str() > after).collect();
    let more = rest.len() > max;
    rest.truncate(max);
    let marker = rest.last().filter(|_| more).map_or_else(String::new, &name);
    Ok((rest, marker))
}

/// `GET /projects/P`.
pub fn project(state: &State) -> Response {
    let properties: String = [
        ("odps.schema.model.enabled", "true"),
        ("odps.sql.allow.fullscan", "true"),
        ("odps.table.lifecycle", "optional"),
    ]
    .iter()
    .map(|(name, value)| format!("<Property><Name>{name}</Name><Value>{value}</Value></Property>"))
    .collect();
    let body = format!(
        "<Project><Name>{}</Name><Type>managed</Type><Comment></Comment><State>AVAILABLE</State><ProjectGroupName></ProjectGroupName><Properties>{properties}</Properties><ExtendedProperties/><Clusters/></Project>",
        xml(&state.name)
    );
    with_times(xml_answer(&body), state.created, state.created)
}

/// `GET /tenants`: the tenant has schema syntax on.
pub fn tenant(state: &State) -> Response {
    json_answer(&serde_json::json!({"Tenant": {
        "Name": "sandbox", "OwnerId": "0", "TenantId": "0", "TenantState": "NORMAL",
        "CreateTime": state.created, "UpdateTime": state.created, "TenantMeta": "{}",
        "Parameters": {"odps.namespace.schema": "true"},
    }}))
}

/// `GET /projects/P/schemas`.
pub fn schemas(state: &State, params: &Params) -> ApiResult<Response> {
    let (page, marker) = page(state.catalog.schemas(), params, |s| s.name.clone())?;
    let items: String = page
        .iter()
        .map(|s| {
            let time = http_time(s.created);
            format!("<Schema><Name>{}</Name><Owner>{OWNER}</Owner><Type>MANAGED</Type><CreateTime>{time}</CreateTime><ModifyTime>{time}</ModifyTime></Schema>", xml(&s.name))
        })
        .collect();
    Ok(xml_answer(&format!(
        "<Schemas><Marker>{}</Marker><MaxItems>{}</MaxItems>{items}</Schemas>",
        xml(&marker),
        page.len()
    )))
}

/// `GET /projects/P/schemas/S`.
pub fn schema(state: &State, name: &str) -> ApiResult<Response> {
    let schema = state.catalog.schema(name)?;
    let body = format!("<Schema><Name>{}</Name><Owner>{OWNER}</Owner><Type>MANAGED</Type></Schema>", xml(&schema.name));
    Ok(with_times(xml_answer(&body), schema.created, schema.created))
}

/// `POST /projects/P/schemas`.
pub fn create_schema(state: &State, body: &[u8], now: i64) -> ApiResult<Response> {
    #[derive(serde::Deserialize)]
    struct Schema {
        #[serde(rename = "Name")]
        name: String,
    }
    let text = String::from_utf8_lossy(body);
    let schema: Schema = quick_xml::de::from_str(&text).map_err(|error| ApiError::invalid(error.to_string()))?;
    state.catalog.create_schema(&schema.name, false, now)?;
    Ok(answer(StatusCode::CREATED, "application/xml", String::new()))
}
