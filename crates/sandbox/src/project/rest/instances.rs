//! SQL instances at the service endpoint: submits statements, and answers for their state and their result.

use std::sync::Weak;

use axum::response::Response;
use base64::Engine;
use http::StatusCode;
use jiff::Timestamp;
use mms_maxcompute::types::DataType;
use serde_json::json;

use super::super::error::{ApiResult, xml};
use super::super::instance::{Begun, Instance, Outcome, parse_submission};
use super::super::request::Params;
use super::super::sql::ResultSet;
use super::super::sql::run::Session;
use super::super::state::State;
use super::super::type_text::type_text;
use super::{answer, cdata, http_time, with_header, with_times, xml_answer};

/// The most rows that `?result` returns, as the service does.
const ROWS_SHOWN: usize = 10_000;

/// Answers `POST /projects/P/instances`. The statement runs before the answer is sent, since it writes at most a few
/// manifests. A known guid is answered with its first instance, which may still be running. With `?tryWait` the answer is
/// 200 and carries the result if the statement has ended; otherwise it is 201 and has no body.
pub fn create(state: &State, schema: Option<&str>, params: &Params, body: &[u8]) -> ApiResult<Response> {
    let submission = parse_submission(body)?;
    state.check_quota("odps.task.wlm.quota", submission.settings.get("odps.task.wlm.quota").map(String::as_str))?;
    let started = Timestamp::now();
    let stamp = started.strftime("%Y%m%d%H%M%S%3f").to_string();
    let instance = match state.instances.begin(Instance {
        id: format!("{stamp}g{}", &uuid::Uuid::new_v4().simple().to_string()[..10]),
        guid: submission.guid,
        task: submission.task,
        job: submission.job,
        started,
        ended: None,
        outcome: Outcome::Running,
    })? {
        Begun::Known(instance) => instance,
        Begun::New(instance) => {
            let others: Vec<_> = state.family.get().into_iter().flatten().filter_map(Weak::upgrade).collect();
            let session = Session {
                catalog: &state.catalog,
                project: &state.name,
                others: &others,
                settings: &submission.settings,
                schema,
                now: started.as_second(),
            };
            let outcome = match session.run(&submission.sql) {
                Ok(rows) => Outcome::Success(rows),
                Err(error) => Outcome::Failed(error.0),
            };
            state.instances.end(&instance, Timestamp::now(), outcome)?;
            instance
        }
    };
    let location = format!("{}/projects/{}/instances/{}", state.endpoint, state.name, instance.id);
    let ended = if params.has("tryWait") { Some(state.instances.get(&instance.id)?) } else { None };
    let response = match ended.filter(|instance| instance.outcome != Outcome::Running) {
        Some(instance) => xml_answer(&result(&instance)),
        None => answer(StatusCode::CREATED, "application/xml", String::new()),
    };
    Ok(with_header(response, "location", &location))
}

/// Answers `GET /projects/P/instances/ID` with any action.
pub fn get(instance: &Instance, params: &Params) -> Response {
    if params.has("taskstatus") {
        return xml_answer(&task_status(instance));
    }
    if params.has("result") {
        return xml_answer(&result(instance));
    }
    if params.has("source") {
        return xml_answer(&instance.job);
    }
    if params.has("instancesummary") {
        let summary = json!({"Instance": {"Summary": "", "JsonSummary": "{}"}});
        return super::json_answer(&summary);
    }
    if params.has("instanceprogress") {
        return xml_answer("<Progress></Progress>");
    }
    let response = xml_answer(&format!("<Instance><Status>{}</Status></Instance>", status_word(instance)));
    let (start, end) = (instance.started.as_second(), instance.ended.map(Timestamp::as_second));
    let response = with_times(response, start, end.unwrap_or(start));
    let response = with_header(response, "x-odps-start-time", &http_time(start));
    match end {
        Some(end) => with_header(response, "x-odps-end-time", &http_time(end)),
        None => response,
    }
}

fn status_word(instance: &Instance) -> &'static str {
    if instance.ended.is_some() { "Terminated" } else { "Running" }
}

fn state_word(instance: &Instance) -> &'static str {
    match instance.outcome {
        Outcome::Running => "Running",
        Outcome::Success(_) => "Success",
        Outcome::Failed(_) => "Failed",
    }
}

fn task_status(instance: &Instance) -> String {
    format!(
        "<Instance><Status>{}</Status><Tasks><Task Type=\"SQL\"><Name>{}</Name><StartTime>{}</StartTime><EndTime>{}</EndTime><Status>{}</Status><Histories/></Task></Tasks></Instance>",
        status_word(instance),
        xml(&instance.task),
        http_time(instance.started.as_second()),
        instance.ended.map_or_else(String::new, |ended| http_time(ended.as_second())),
        state_word(instance)
    )
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Rows as CSV: a header line, texts in quotes, numbers without.
fn csv(rows: &ResultSet) -> String {
    let header: Vec<String> = rows.columns.iter().map(|(name, _)| quoted(name)).collect();
    let mut text = header.join(",") + "\n";
    for row in rows.rows.iter().take(ROWS_SHOWN) {
        let cells: Vec<String> = row
            .iter()
            .zip(&rows.columns)
            .map(|(cell, (_, data_type))| if data_type.is_integer() { cell.clone() } else { quoted(cell) })
            .collect();
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}

fn descriptor(rows: &ResultSet) -> String {
    let column = |(name, data_type): &(String, DataType)| json!({"Name": name, "Type": type_text(data_type)});
    let columns: Vec<_> = rows.columns.iter().map(column).collect();
    let status = if rows.rows.len() > ROWS_SHOWN { "TRUNCATED" } else { "ALL" };
    cdata(&json!({"IsSelect": true, "SelectResultStatus": status, "Schema": {"Columns": columns}}))
}

fn result(instance: &Instance) -> String {
    let inner = match &instance.outcome {
        Outcome::Failed(text) => format!("<Result Format=\"text\">{}</Result>", xml(text)),
        Outcome::Running | Outcome::Success(None) => "<Result Format=\"text\"></Result>".to_owned(),
        Outcome::Success(Some(rows)) => format!(
            "<Result Transform=\"Base64\" Format=\"csv\">{}</Result><ResultDescriptor>{}</ResultDescriptor>",
            base64::engine::general_purpose::STANDARD.encode(csv(rows)),
            descriptor(rows)
        ),
    };
    format!(
        "<Instance><Tasks><Task Type=\"SQL\"><Name>{}</Name>{inner}<Status>{}</Status></Task></Tasks></Instance>",
        xml(&instance.task),
        state_word(instance)
    )
}
