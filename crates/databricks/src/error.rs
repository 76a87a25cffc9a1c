//! Owns [`DatabricksError`]: why a call to a workspace failed. Texts of the workspace are redacted and bounded in length.

use std::time::Duration;

use mms_http::HttpError;
use mms_http::retry::{Classify, RetryClass};

use crate::NotVended;
use crate::fault::Fault;

/// Why a call to a workspace failed.
#[derive(Debug, thiserror::Error)]
pub enum DatabricksError {
    /// The workspace URL cannot be used.
    #[error("workspace URL: {what}; write https://adb-<id>.<n>.azuredatabricks.net")]
    WorkspaceUrl {
        /// What is wrong with the URL.
        what: String,
    },
    /// A name that cannot be sent in a request.
    #[error("{name:?} cannot be a {kind} name: {what}")]
    Name {
        /// Kind of the object: catalog, schema or table.
        kind: &'static str,
        /// The name as it was given.
        name: String,
        /// What is wrong with the name.
        what: &'static str,
    },
    /// The exchange itself failed.
    #[error("{call}: {source}")]
    Http {
        /// The call, as `METHOD path`.
        call: String,
        /// What failed in the exchange.
        #[source]
        source: HttpError,
    },
    /// The workspace answered with an error.
    #[error("{call}: workspace answered {}{}: {}", fault.status, code_text(fault), fault.message)]
    Refused {
        /// The call, as `METHOD path`.
        call: String,
        /// Its answer.
        fault: Box<Fault>,
    },
    /// The workspace's token endpoint rejected the OAuth client's id or secret.
    #[error("the workspace gave no token to OAuth client {client}: {}{}: {}", fault.status, code_text(fault), fault.message)]
    Login {
        /// Id of the OAuth client.
        client: String,
        /// The endpoint's answer.
        fault: Box<Fault>,
    },
    /// The workspace vends no credential for a table.
    #[error("the workspace vends no credential for this table ({}): {}; {}", fault.status, fault.message, why.remedy())]
    NotVended {
        /// What is missing, with its remedy.
        why: NotVended,
        /// The workspace's answer.
        fault: Box<Fault>,
    },
    /// A web page came instead of an answer: the host or the token is wrong, or a private link stands in between.
    #[error(
        "{call}: a web page or redirect came instead of an answer ({what}); check the workspace URL and the access token"
    )]
    NotAnApi {
        /// The call, as `METHOD path`.
        call: String,
        /// Title of the page, or target of the redirect.
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
        /// What is wrong with the URL or path.
        what: String,
    },
    /// A cluster that cannot run SQL.
    #[error("cluster {cluster}: {what}")]
    Compute {
        /// Id of the cluster.
        cluster: String,
        /// Why it cannot, and what to do.
        what: String,
    },
    /// The server could not run a statement.
    #[error("the statement failed{}: {message}", state.as_ref().map(|state| format!(" (SQLSTATE {state})")).unwrap_or_default())]
    Statement {
        /// The server's words, redacted, at most 1000 characters.
        message: String,
        /// SQLSTATE, such as `42P01`.
        state: Option<String>,
    },
    /// The server cannot send the rows of a statement any more: run the statement again.
    #[error("the result of the statement is lost: {what}")]
    Lost {
        /// How they were lost.
        what: String,
    },
    /// A list that passed its bounds.
    #[error("{call}: {what}; reading the list was stopped")]
    Endless {
        /// The call, as `METHOD path`.
        call: String,
        /// Which bound.
        what: String,
    },
}

/// What a refusal means, in whichever form the workspace wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// A parameter is wrong, or the object's state does not allow the call.
    Invalid,
    /// The token is missing, unknown or expired.
    Unauthenticated,
    /// The token's owner lacks a privilege.
    PermissionDenied,
    /// There is no such object.
    NotFound,
    /// There is no such endpoint: the API is an older or a different one.
    NoSuchEndpoint,
    /// The call conflicts with another one.
    Conflict,
    /// Too many requests, or the service is temporarily overloaded.
    Throttled,
    /// The workspace failed.
    Internal,
    /// A status that is not known here.
    Other,
}

impl DatabricksError {
    /// What the workspace's refusal means; `None` if the call failed in another way.
    pub fn refusal(&self) -> Option<RefusalKind> {
        match self {
            Self::Refused { fault, .. } => Some(fault.kind()),
            Self::Login { .. } => Some(RefusalKind::Unauthenticated),
            Self::NotVended { .. } => Some(RefusalKind::PermissionDenied),
            _ => None,
        }
    }

    /// Whether the error is about the workspace rather than the requested object: no other call would succeed now either.
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

    /// Whether the requested object does not exist, or may not be seen.
    pub fn is_not_found(&self) -> bool {
        self.refusal() == Some(RefusalKind::NotFound)
    }
}

/// Texts by which the vendor's own SDKs recognise transient failures.
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
                // A gateway lost its upstream. The workspace's own 500 and 504 are final, as in the vendor's SDKs.
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
