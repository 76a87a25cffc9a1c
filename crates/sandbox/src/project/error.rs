//! The project's errors: why it cannot start, and the error answers in the form that MaxCompute's clients parse.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::json;

/// Why a project could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The directory holds another project.
    #[error("{dir} holds project `{found}`, not `{wanted}`: name it `{found}` or choose another directory")]
    OtherProject {
        /// The directory.
        dir: String,
        /// The name found there.
        found: String,
        /// The name that was asked for.
        wanted: String,
    },
    /// The directory was written by a version of mms with another file format.
    #[error("{dir} has format {found}, this version reads {known}: serve it with the version that wrote it")]
    Format {
        /// The directory.
        dir: String,
        /// Its format.
        found: u32,
        /// The one that is read here.
        known: u32,
    },
    /// Another process serves the directory.
    #[error("{dir} is already served by another process: stop it or choose another directory")]
    Locked {
        /// The directory.
        dir: String,
    },
    /// The project's name is not valid.
    #[error("`{0}` is not a project name: use letters, digits and _, starting with a letter, at most 128 bytes")]
    Name(String),
    /// A file of the project cannot be parsed.
    #[error("{path} is damaged: {reason}; restore it or remove the table or session it belongs to")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file system or the network returned an error.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The cause.
        source: std::io::Error,
    },
}

/// An error answer: HTTP status, MaxCompute's error code, and a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub status: StatusCode,
    /// MaxCompute's error code, by which clients decide what to do.
    pub code: &'static str,
    /// What was wrong, and with which value.
    pub message: String,
}

/// The result of serving one request.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, message: message.into() }
    }

    /// The request is invalid.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidArgument", message)
    }

    /// The body contradicts its headers or the table's schema.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(400, "MalformedDataStream", message)
    }

    /// A checksum does not match.
    pub fn corrupted(message: impl Into<String>) -> Self {
        Self::new(400, "CorruptedDataStream", message)
    }

    pub fn no_table(schema: &str, table: &str) -> Self {
        Self::new(404, "NoSuchTable", format!("ODPS-0130131:Table not found - table `{schema}`.`{table}`"))
    }

    pub fn no_partition(spec: &str) -> Self {
        Self::new(404, "NoSuchPartition", format!("The specified partition does not exist: {spec}"))
    }

    /// The session is not in the state that the request needs.
    pub fn status_conflict(message: impl Into<String>) -> Self {
        Self::new(409, "StatusConflict", message)
    }

    /// A failure of the sandbox itself.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalServerError", message)
    }

    /// The XML answer of the service endpoint. All four elements are always present: without one, clients guess.
    pub fn of_service(&self, request_id: &str) -> Response {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message><RequestId>{request_id}</RequestId><HostId>sandbox</HostId></Error>",
            self.code,
            xml(&self.message)
        );
        (self.status, [(header::CONTENT_TYPE, "application/xml")], Body::from(body)).into_response()
    }

    /// The JSON answer of the tunnel endpoint: the Java SDK finds no error code in any other form.
    pub fn of_tunnel(&self, request_id: &str) -> Response {
        let body = json!({
            "Code": self.code, "Message": self.message, "RequestId": request_id, "HostId": "sandbox",
        });
        (self.status, [(header::CONTENT_TYPE, "application/json")], Body::from(body.to_string())).into_response()
    }
}

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        Self::internal(format!("the sandbox's own disk: {error}"))
    }
}

/// Escapes a text for XML and removes the control characters that XML does not allow.
pub fn xml(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t' | '\r')).collect();
    quick_xml::escape::escape(clean.as_str()).into_owned()
}
