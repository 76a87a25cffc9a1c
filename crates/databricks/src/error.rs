//! Owns [`DatabricksError`]: why a workspace did not give what was asked. Texts of the workspace are redacted and bounded.

use std::time::Duration;

use mms_http::HttpError;
use mms_http::retry::{Classify, RetryClass};

use crate::NotVended;
use crate::fault::Fault;

/// A call to a workspace that failed.
#[derive(Debug, thiserror::Error)]
pub enum DatabricksError {
    /// The workspace URL cannot be used.
    #[error("workspace URL: {what}; write https://adb-<id>.<n>.azuredatabricks.net")]
    WorkspaceUrl {
        /// What is wrong with it.
        what: String,
    },
    /// A name that cannot stand in a request.
    #[error("{name:?} cannot be a {kind} name: {what}")]
    Name {
        /// What was to be named: catalog, schema, table.
        kind: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The exchange itself failed.
    #[error("{call}: {source}")]
    Http {
        /// The call, as `METHOD path`.
        call: String,
        /// The failure.
        #[source]
        source: HttpError,
    },
    /// The workspace refused.
    #[error("{call}: workspace answered {}{}: {}", fault.status, code_text(fault), fault.message)]
    Refused {
        /// The call, as `METHOD path`.
        call: String,
        /// What it answered.
        fault: Box<Fault>,
    },
    /// The token endpoint of the workspace did not take the OAuth client's id or secret.
    #[error("the workspace gave no token to OAuth client {client}: {}{}: {}", fault.status, code_text(fault), fault.message)]
    Login {
        /// The client's id.
        client: String,
        /// What the endpoint answered.
        fault: Box<Fault>,
    },
    /// The workspace vends no credential for a table.
    #[error("the workspace vends no credential for this table ({}): {}; {}", fault.status, fault.message, why.remedy())]
    NotVended {
        /// Why.
        why: NotVended,
        /// What it answered.
        fault: Box<Fault>,
    },
    /// A web page came instead of an answer: wrong host, wrong token, or a private link in between.
    #[error(
        "{call}: a web page or redirect came instead of an answer ({what}); check the workspace URL and the access token"
    )]
    NotAnApi {
        /// The call, as `METHOD path`.
        call: String,
        /// Title or target of what came.
        what: String,
    },
    /// An answer that does not have the documented form.
    #[error("{call}: the answer is not as documented: {what}")]
    Answer {
        /// The call, as `METHOD path`.
        call: String,
        /// What is missing or malformed.
        what: String,
    },
    /// The address of a cluster or warehouse cannot be used.
    #[error("JDBC URL: {what}")]
    JdbcUrl {
        /// What is wrong with it.
        what: String,
    },
    /// A cluster that cannot run SQL.
    #[error("cluster {cluster}: {what}")]
    Compute {
        /// Its id.
        cluster: String,
        /// Why not, and what to do.
        what: String,
    },
    /// A statement that the server could not run, in its words.
    #[error("the statement failed{}: {message}", state.as_ref().map(|state| format!(" (SQLSTATE {state})")).unwrap_or_default())]
    Statement {
        /// The server's words, redacted, at most 1000 characters.
        message: String,
        /// SQLSTATE, such as `42P01`.
        state: Option<String>,
    },
    /// Rows of a statement that the server cannot give any more: the statement must run again.
    #[error("the result of the statement is lost: {what}")]
    Lost {
        /// What became of it.
        what: String,
    },
    /// A list that does not end.
    #[error("{call}: {what}; the list was given up")]
    Endless {
        /// The call, as `METHOD path`.
        call: String,
        /// Which bound was passed.
        what: String,
    },
}

/// What a refusal means, whichever way the workspace put it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// A parameter is wrong, or the object's state does not allow the call.
    Invalid,
    /// The token is missing, unknown or expired.
    Unauthenticated,
    /// The token's owner lacks a right.
    PermissionDenied,
    /// There is no such object.
    NotFound,
    /// There is no such endpoint (an older or different API).
    NoSuchEndpoint,
    /// Something else happened at the same time.
    Conflict,
    /// Too many requests, or the service is temporarily overloaded.
    Throttled,
    /// The workspace failed.
    Internal,
    /// A status that says nothing known.
    Other,
}

impl DatabricksError {
    /// What the workspace's refusal means; `None` if it did not get that far.
    pub fn refusal(&self) -> Option<RefusalKind> {
        match self {
            Self::Refused { fault, .. } => Some(fault.kind()),
            Self::Login { .. } => Some(RefusalKind::Unauthenticated),
            Self::NotVended { .. } => Some(RefusalKind::PermissionDenied),
            _ => None,
        }
    }

    /// Whether it says nothing of the object asked for: no other call to this workspace would fare better now.
    pub fn is_of_workspace(&self) -> bool {
        match self {
            Self::WorkspaceUrl { .. }
            | Self::NotAnApi { .. }
            | Self::Login { .. }
            | Self::JdbcUrl { .. }
            | Self::Compute { .. } => true,
            Self::Http { source, .. } => matches!(
                source,
                HttpError::Config { .. }
                    | HttpError::RefusedHost { .. }
                    | HttpError::DeniedAddress { .. }
                    | HttpError::PlainHttp { .. }
                    | HttpError::Connect { .. }
                    | HttpError::Tls { .. }
                    | HttpError::Timeout { sent: false, .. }
            ),
            Self::Refused { fault, .. } => fault.kind() == RefusalKind::Unauthenticated,
            Self::Name { .. }
            | Self::NotVended { .. }
            | Self::Answer { .. }
            | Self::Endless { .. }
            | Self::Statement { .. }
            | Self::Lost { .. } => false,
        }
    }

    /// Whether the object asked for does not exist (or may not be seen).
    pub fn is_not_found(&self) -> bool {
        self.refusal() == Some(RefusalKind::NotFound)
    }
}

/// Messages by which the vendor's own SDKs recognise failures that pass.
const PASSING: &[&str] = &[
    "com.databricks.backend.manager.util.UnknownWorkerEnvironmentException",
    "ClusterNotReadyException",
    "does not have any associated worker environments",
    "There is no worker environment with id",
    "Unknown worker environment",
    "UnknownWorkerEnvironmentException",
    "Unexpected error",
    "Please try again later or try a faster operation.",
    "RPC token bucket limit has been exceeded",
];

impl Classify for DatabricksError {
    fn retry_class(&self) -> RetryClass {
        match self {
            Self::Http { source, .. } => source.retry_class(),
            Self::Refused { fault, .. } => match fault.status {
                429 | 503 => {
                    RetryClass::Throttled { retry_after: Some(fault.retry_after.unwrap_or(Duration::from_secs(1))) }
                }
                // A gateway that lost its upstream; the workspace's own 500 and 504 are final, as for the vendor's SDKs.
                502 => RetryClass::Transient,
                _ if PASSING.iter().any(|text| fault.message.contains(text)) => RetryClass::Transient,
                _ => RetryClass::Permanent,
            },
            Self::WorkspaceUrl { .. }
            | Self::Name { .. }
            | Self::Login { .. }
            | Self::NotVended { .. }
            | Self::NotAnApi { .. }
            | Self::Answer { .. }
            | Self::JdbcUrl { .. }
            | Self::Compute { .. }
            | Self::Statement { .. }
            | Self::Lost { .. }
            | Self::Endless { .. } => RetryClass::Permanent,
        }
    }
}

fn code_text(fault: &Fault) -> String {
    fault.code.as_ref().map(|code| format!(" {code}")).unwrap_or_default()
}
