//! Owns [`Fault`]: an error answer of a workspace, read from any of its many forms into one. Pure.

use std::time::Duration;

use mms_http::redact::redact_text;
use serde_json::Value;

use crate::RefusalKind;

/// Most characters of a message.
const MESSAGE_CHARS: usize = 1000;
/// Most characters of a code, a reason or an id.
const WORD_CHARS: usize = 200;

/// An error answer of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The HTTP status.
    pub status: u16,
    /// The workspace's code, such as `TABLE_DOES_NOT_EXIST`.
    pub code: Option<String>,
    /// The workspace's words, redacted, at most 1000 characters.
    pub message: String,
    /// `reason` of the error's `details`.
    pub reason: Option<String>,
    /// Request id, for the vendor's support.
    pub request_id: Option<String>,
    /// The wait that the workspace asks for, by header or in `details`.
    pub retry_after: Option<Duration>,
    /// The form of its body.
    pub shape: FaultShape,
}

/// The forms of error bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultShape {
    /// `{"error_code": …, "message": …, "details": […]}`.
    Json,
    /// `{"error": "…"}` of API 1.2.
    Api12,
    /// `{"error": …, "error_description": …}` of OAuth's token endpoint.
    OAuth,
    /// `{"detail": …, "status": …, "scimType": …}`.
    Scim,
    /// `CODE: message`, or other plain text.
    Text,
    /// A web page.
    Html,
    /// An empty body.
    Empty,
}

impl Fault {
    /// Reads the body of an answer whose status is not a success.
    pub fn parse(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        let mut fault = Self {
            status,
            code: None,
            message: String::new(),
            reason: None,
            request_id: None,
            retry_after,
            shape: FaultShape::Empty,
        };
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(object)) => fault.read_json(&object),
            _ if text.is_empty() => {}
            _ if text.starts_with('<') => {
                fault.shape = FaultShape::Html;
                fault.message = page_text(text).unwrap_or_else(|| "a web page without a title".to_owned());
            }
            _ => {
                fault.shape = FaultShape::Text;
                match text.split_once(": ") {
                    Some((code, message)) if is_code(code) => {
                        fault.code = Some(code.to_owned());
                        fault.message = message.to_owned();
                    }
                    _ => fault.message = text.to_owned(),
                }
            }
        }
        if fault.message.is_empty() {
            fault.message = "no explanation given".to_owned();
        }
        fault.message = redact_text(&fault.message).chars().take(MESSAGE_CHARS).collect();
        // These are the workspace's words too, and are shown to people.
        for word in [&mut fault.code, &mut fault.reason, &mut fault.request_id] {
            *word = word.take().map(|word| redact_text(&word).chars().take(WORD_CHARS).collect());
        }
        fault
    }

    /// What it means. The status decides first; the code only refines it.
    pub fn kind(&self) -> RefusalKind {
        let code = self.code.as_deref().unwrap_or_default();
        match self.status {
            404 if code == "ENDPOINT_NOT_FOUND" || matches!(self.shape, FaultShape::Html | FaultShape::Empty) => {
                RefusalKind::NoSuchEndpoint
            }
            404 => RefusalKind::NotFound,
            // An unknown or expired token is answered with 403 and the status as code. 401 also stands for a denied vended
            // credential, which then gives a reason.
            403 if code == "403" || self.message.contains("Invalid access token") => RefusalKind::Unauthenticated,
            401 if self.reason.as_deref().is_some_and(|reason| reason.ends_with("_DENIED")) => {
                RefusalKind::PermissionDenied
            }
            401 => RefusalKind::Unauthenticated,
            403 => RefusalKind::PermissionDenied,
            409 => RefusalKind::Conflict,
            429 | 503 => RefusalKind::Throttled,
            400 if code.ends_with("_DOES_NOT_EXIST") || code.ends_with("_NOT_FOUND") => RefusalKind::NotFound,
            400 if code == "PERMISSION_DENIED" => RefusalKind::PermissionDenied,
            400 => RefusalKind::Invalid,
            500..=599 => RefusalKind::Internal,
            _ => RefusalKind::Other,
        }
    }

    fn read_json(&mut self, object: &serde_json::Map<String, Value>) {
        // A code comes as text, but from the gateway as a number.
        let code = |name: &str| object.get(name).and_then(scalar);
        if object.contains_key("error_code") || object.contains_key("message") {
            self.shape = FaultShape::Json;
            self.code = code("error_code");
            self.message = code("message").unwrap_or_default();
        } else if let (Some(error), Some(description)) = (code("error"), code("error_description")) {
            self.shape = FaultShape::OAuth;
            self.code = Some(error);
            self.message = description;
            self.request_id = code("error_id");
        } else if let Some(error) = code("error") {
            self.shape = FaultShape::Api12;
            self.message = error;
        } else if object.contains_key("detail") || object.contains_key("scimType") {
            self.shape = FaultShape::Scim;
            self.code = code("scimType");
            self.message = code("detail").unwrap_or_default();
        } else {
            self.shape = FaultShape::Json;
            self.message = Value::Object(object.clone()).to_string();
        }
        for detail in object.get("details").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| detail.get(name).and_then(Value::as_str).map(str::to_owned);
            self.reason = self.reason.take().or_else(|| text("reason"));
            self.request_id = self.request_id.take().or_else(|| text("request_id"));
            let seconds = text("retry_delay").and_then(|delay| delay.strip_suffix('s')?.parse::<f64>().ok());
            let delay = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            self.retry_after = self.retry_after.or(delay);
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn is_code(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// The text of a web page that says what is wrong: its `<pre>`, else its `<title>`.
pub(crate) fn page_text(html: &str) -> Option<String> {
    ["pre", "title"].iter().find_map(|tag| {
        // ASCII lower case keeps byte positions.
        let lower = html.to_ascii_lowercase();
        let open = lower.find(&format!("<{tag}"))?;
        let from = open + lower[open..].find('>')? + 1;
        let to = from + lower[from..].find(&format!("</{tag}"))?;
        let words = html[from..to].split_whitespace().collect::<Vec<_>>().join(" ");
        (!words.is_empty()).then_some(words)
    })
}

#[cfg(test)]
#[path = "fault_tests.rs"]
mod tests;
