//! Answers in the workspace's JSON, errors included.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// An error answer: the HTTP status, the workspace's error code and a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub status: StatusCode,
    /// A word; for errors of the gateway the status as a number.
    pub code: Value,
    pub message: String,
    /// The reason in the details, if it differs from the code.
    pub reason: Option<&'static str>,
}

/// The answer to a request: its JSON body, or an error.
pub type Answer = Result<Value, Refusal>;

impl Refusal {
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: Value::from(code), message: message.into(), reason: None }
    }

    /// The same error with its own reason.
    pub fn because(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_PARAMETER_VALUE", message)
    }

    /// A missing object; `kind` becomes the prefix of the code, as in `TABLE_DOES_NOT_EXIST`.
    pub fn missing(kind: &str, name: &str) -> Self {
        let code = format!("{}_DOES_NOT_EXIST", kind.to_ascii_uppercase());
        Self::new(StatusCode::NOT_FOUND, &code, format!("{kind} '{name}' does not exist."))
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message)
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::internal(format!("the folder cannot be read: {error}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({ "error_code": self.code, "message": self.message });
        // Errors of the gateway carry no details.
        if let Some(reason) = self.reason.or(self.code.as_str()) {
            body["details"] = json!([
                { "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "unity-catalog.databricks.com" },
                { "@type": "type.googleapis.com/google.rpc.RequestInfo", "request_id": uuid::Uuid::new_v4(), "serving_data": "" },
            ]);
        }
        let mut response = json_response(self.status, &body);
        if let (true, Ok(reason)) = (self.code.is_number(), HeaderValue::from_str(&self.message)) {
            response.headers_mut().insert("x-databricks-reason-phrase", reason);
        }
        response
    }
}

pub fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}
