//! Parses Azure's refusals where the response arrives: above that, an object store turns them into unspecific errors, above all
//! those of lists and token requests. No message may contain a credential.

use std::error::Error;
use std::fmt;

use mms_http::redact::redact_text;
use serde::Deserialize;

use crate::Sas;

/// Maximum number of bytes that are read of a refusal's body.
pub(crate) const BODY_BYTES_MAX: usize = 16 << 10;
/// Maximum number of characters of the storage's message.
const WORDS_MAX: usize = 400;

/// Why a folder or file cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unreadable {
    /// The credential has expired.
    Expired,
    /// The credential is not valid yet.
    NotYetValid,
    /// The credential is not accepted: malformed, of another account, or unknown.
    Unauthenticated,
    /// The credential is accepted, but lacks the right to list.
    ListDenied,
    /// The credential may list, but lacks the right to read.
    ReadDenied,
    /// This machine's address is excluded, by the account's firewall or by the address range of the signature.
    AddressDenied,
    /// The account does not accept signatures made with an account key.
    KeysDenied,
    /// The account is disabled.
    AccountDisabled,
    /// The container does not exist, or the folder is empty.
    Missing,
    /// The login endpoint did not answer, or with an error of its own.
    LoginAway,
    /// The storage did not answer, or with an error of its own.
    Unreachable,
}

impl Unreadable {
    /// Whether another credential may be accepted where this one is refused.
    pub fn is_of_credential(self) -> bool {
        match self {
            Self::Expired
            | Self::NotYetValid
            | Self::Unauthenticated
            | Self::ListDenied
            | Self::ReadDenied
            | Self::KeysDenied => true,
            Self::AddressDenied | Self::AccountDisabled | Self::Missing | Self::LoginAway | Self::Unreachable => false,
        }
    }

    /// Whether another credential is needed because this one has expired or is not valid yet.
    pub fn is_of_time(self) -> bool {
        matches!(self, Self::Expired | Self::NotYetValid)
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the credential has expired",
            Self::NotYetValid => "the credential is not valid yet",
            Self::Unauthenticated => "the credential is not accepted",
            Self::ListDenied => "the credential may not list",
            Self::ReadDenied => "the credential may list, but not read",
            Self::AddressDenied => "the storage account does not let this machine in",
            Self::KeysDenied => "the storage account takes no signature made with an account key",
            Self::AccountDisabled => "the storage account is disabled",
            Self::Missing => "there is nothing",
            Self::LoginAway => "the login endpoint does not answer as it should",
            Self::Unreachable => "the storage does not answer as it should",
        })
    }
}

/// The kind of request that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A list of blobs.
    List,
    /// The content of a blob.
    Read,
    /// A token from the login endpoint.
    Token,
}

/// A permanent refusal: the same request will be refused again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the refusal means.
    pub why: Unreadable,
    /// The HTTP status of the response.
    pub status: u16,
    /// Azure's error code; empty if there is none.
    pub code: String,
    /// Azure's own message, redacted.
    pub words: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { why, status, code, words } = self;
        write!(f, "{why} (HTTP {status}")?;
        if !code.is_empty() {
            write!(f, " {code}")?;
        }
        if words.is_empty() { f.write_str(")") } else { write!(f, "): {words}") }
    }
}

impl Error for Refusal {}

/// The refusal that caused an error, however it was wrapped on its way; `None` if there is none.
pub fn refusal<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Refusal> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The parts of Azure's error: XML from the storage, JSON from the login endpoint.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    code: String,
    message: String,
    detail: String,
}

impl Told {
    fn of(body: &str) -> Self {
        #[derive(Deserialize)]
        struct Login {
            error: String,
            #[serde(default)]
            error_description: String,
        }
        if let Ok(login) = serde_json::from_str::<Login>(body) {
            return Self { code: login.error, message: login.error_description, detail: String::new() };
        }
        let part = |name: &str| {
            let after = body.split_once(&format!("<{name}>")).map_or("", |(_, rest)| rest);
            after.split('<').next().unwrap_or_default().trim().to_owned()
        };
        Self { code: part("Code"), message: part("Message"), detail: part("AuthenticationErrorDetail") }
    }
}

/// Parses a response; `None` if it is not a refusal, or one that the object store reads well itself. `query` is the query of the
/// request.
pub(crate) fn read(
    asked: Asked,
    status: u16,
    code: Option<&str>,
    body: &str,
    query: &str,
    now_ms: i64,
) -> Option<Refusal> {
    let mut told = Told::of(body);
    if let Some(code) = code {
        code.clone_into(&mut told.code);
    }
    let why = judge(asked, status, &told)?;
    // Azure uses this code for whatever is not allowed, so the signature's own times may tell more.
    let why = if told.code == "AuthorizationFailure" { by_signature(query, now_ms).unwrap_or(why) } else { why };
    let words = words(&format!("{} {}", told.message, told.detail));
    Some(Refusal { why, status, code: told.code, words })
}

/// What the validity times of the signature in a query say.
fn by_signature(query: &str, now_ms: i64) -> Option<Unreadable> {
    let sas = Sas::read(query);
    match (sas.begins_ms, sas.ends_ms) {
        _ if !sas.signed => None,
        (_, Some(ends)) if ends <= now_ms => Some(Unreadable::Expired),
        (Some(begins), _) if begins > now_ms => Some(Unreadable::NotYetValid),
        _ => None,
    }
}

/// The storage's message on one line, redacted and truncated.
pub(crate) fn words(text: &str) -> String {
    let flat: Vec<&str> = text.split_whitespace().collect();
    redact_text(&flat.join(" ")).chars().take(WORDS_MAX).collect()
}

fn judge(asked: Asked, status: u16, told: &Told) -> Option<Unreadable> {
    let denied = if asked == Asked::List { Unreadable::ListDenied } else { Unreadable::ReadDenied };
    if asked == Asked::Token {
        let says = |code: &str| told.message.contains(code);
        return match status {
            400 | 401 if says("AADSTS7000222") => Some(Unreadable::Expired),
            400 | 401 => Some(Unreadable::Unauthenticated),
            _ => None,
        };
    }
    match (status, told.code.as_str()) {
        (401, _) => Some(Unreadable::Unauthenticated),
        (403, "AuthenticationFailed") if told.detail.contains("specified time frame") => {
            Some(time_frame(&told.detail).unwrap_or(Unreadable::Expired))
        }
        (403, "AuthenticationFailed" | "InvalidAuthenticationInfo") => Some(Unreadable::Unauthenticated),
        (403, "KeyBasedAuthenticationNotPermitted") => Some(Unreadable::KeysDenied),
        (403 | 409, "AccountIsDisabled") => Some(Unreadable::AccountDisabled),
        (403, "AuthorizationSourceIPMismatch" | "IpAuthorizationError") => Some(Unreadable::AddressDenied),
        (403, _) => Some(denied),
        // For lists, the status is not enough: the folder of a table that does not exist is listed as empty.
        (404, "ContainerNotFound" | "FilesystemNotFound" | "AccountNotFound") => Some(Unreadable::Missing),
        _ => None,
    }
}

/// Parses `… Start [a] - Expiry [b] - Current [c]`, with HTTP dates.
fn time_frame(detail: &str) -> Option<Unreadable> {
    let time = |name: &str| {
        let (_, rest) = detail.split_once(&format!("{name} ["))?;
        jiff::fmt::rfc2822::parse(rest.split_once(']')?.0).ok().map(|at| at.timestamp())
    };
    let (start, now) = (time("Start")?, time("Current")?);
    Some(if now < start { Unreadable::NotYetValid } else { Unreadable::Expired })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xml(code: &str, detail: &str) -> String {
        format!(
            "\u{feff}<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>No.\nRequestId:1</Message>\
             <AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail></Error>"
        )
    }

    #[test]
    fn each_refusal_of_azure_is_told_apart() {
        use Unreadable as U;
        let frame = |start, now| {
            format!(
                "Signature not valid in the specified time frame: Start [{start}] - Expiry [Wed, 02 Jan 2030 00:00:00 GMT] - Current [{now}]"
            )
        };
        let early = frame("Tue, 01 Jan 2030 00:00:00 GMT", "Mon, 30 Nov 2026 14:00:00 GMT");
        let late = frame("Tue, 01 Jan 2019 00:00:00 GMT", "Thu, 03 Jan 2030 00:00:00 GMT");
        let rows: &[(Asked, u16, &str, &str, Option<U>)] = &[
            (Asked::List, 403, "AuthenticationFailed", &late, Some(U::Expired)),
            (Asked::Read, 403, "AuthenticationFailed", &early, Some(U::NotYetValid)),
            (Asked::List, 403, "AuthenticationFailed", "Signature did not match.", Some(U::Unauthenticated)),
            (Asked::List, 403, "AuthorizationPermissionMismatch", "", Some(U::ListDenied)),
            (Asked::Read, 403, "AuthorizationPermissionMismatch", "", Some(U::ReadDenied)),
            (Asked::Read, 403, "AuthorizationSourceIPMismatch", "", Some(U::AddressDenied)),
            (Asked::Read, 403, "KeyBasedAuthenticationNotPermitted", "", Some(U::KeysDenied)),
            (Asked::Read, 403, "AccountIsDisabled", "", Some(U::AccountDisabled)),
            (Asked::Read, 403, "SomethingNew", "", Some(U::ReadDenied)),
            (Asked::Read, 401, "NoAuthenticationInformation", "", Some(U::Unauthenticated)),
            (Asked::List, 404, "ContainerNotFound", "", Some(U::Missing)),
            (Asked::Read, 404, "BlobNotFound", "", None),
            (Asked::Read, 412, "ConditionNotMet", "", None),
            (Asked::Read, 503, "ServerBusy", "", None),
        ];
        for (asked, status, code, detail, why) in rows {
            let found = read(*asked, *status, None, &xml(code, detail), "", 0);
            assert_eq!(found.as_ref().map(|refusal| refusal.why), *why, "{status} {code} {detail}");
            assert!(found.is_none_or(|refusal| refusal.code == *code));
        }
    }

    #[test]
    fn where_all_refusals_are_alike_the_signature_tells_its_time() {
        let minute = |minute: i64| 1_735_689_600_000 + minute * 60_000;
        let query = "sv=2023-11-03&st=2025-01-01T00%3A00%3A00Z&se=2025-01-01T01:00Z&sp=rl&sig=x";
        let why = |query: &str, code: &str, now_ms| {
            read(Asked::Read, 403, None, &xml(code, ""), query, now_ms).map(|refusal| refusal.why)
        };
        assert_eq!(why(query, "AuthorizationFailure", minute(60)), Some(Unreadable::Expired));
        assert_eq!(why(query, "AuthorizationFailure", minute(-1)), Some(Unreadable::NotYetValid));
        assert_eq!(why(query, "AuthorizationFailure", minute(1)), Some(Unreadable::ReadDenied));
        assert_eq!(why("se=2024-01-01", "AuthorizationFailure", minute(1)), Some(Unreadable::ReadDenied), "unsigned");
        assert_eq!(why(query, "AuthorizationPermissionMismatch", minute(60)), Some(Unreadable::ReadDenied));
    }

    #[test]
    fn the_login_endpoint_tells_an_expired_secret_from_a_wrong_one() {
        let body =
            |text: &str| format!(r#"{{"error":"invalid_client","error_description":"{text}","error_codes":[1]}}"#);
        let why = |status, text: &str| read(Asked::Token, status, None, &body(text), "", 0).map(|refusal| refusal.why);
        assert_eq!(why(401, "AADSTS7000222: The provided client secret keys are expired."), Some(Unreadable::Expired));
        assert_eq!(why(401, "AADSTS7000215: Invalid client secret."), Some(Unreadable::Unauthenticated));
        assert_eq!(why(400, "AADSTS90002: Tenant 'x' not found."), Some(Unreadable::Unauthenticated));
        assert_eq!(why(503, "later"), None);
    }

    #[test]
    fn the_header_is_believed_before_the_body_and_words_are_flat() {
        let found = read(Asked::Read, 403, Some("AccountIsDisabled"), &xml("X", "a detail"), "", 0).unwrap();
        assert_eq!((found.why, found.code.as_str()), (Unreadable::AccountDisabled, "AccountIsDisabled"));
        assert_eq!(found.words, "No. RequestId:1 a detail");
        assert_eq!(
            found.to_string(),
            "the storage account is disabled (HTTP 403 AccountIsDisabled): No. RequestId:1 a detail"
        );
        assert_eq!(
            read(Asked::Read, 403, None, "", "", 0).unwrap().to_string(),
            "the credential may list, but not read (HTTP 403)"
        );
    }
}
