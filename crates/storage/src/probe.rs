//! Whether a folder can be read with a credential: asks the storage itself, for the first thing in it and one byte of that.
//! Reads nothing else, and no message carries a credential.

use std::fmt;

use futures::StreamExt;
use mms_http::redact::redact_text;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

/// Most characters of the storage's words.
const WORDS_MAX: usize = 400;

/// Why a folder cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unreadable {
    /// The credential has ended, or has not begun.
    Expired,
    /// The credential is not accepted: broken, of another account, or of nobody.
    Unauthenticated,
    /// It is accepted, and lacks the right to list.
    ListDenied,
    /// It may list, and lacks the right to read.
    ReadDenied,
    /// There is no such container, or nothing in the folder.
    Missing,
    /// The storage did not answer as it should.
    Unreachable,
}

/// A folder that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {words}")]
pub struct ProbeError {
    /// Why.
    pub why: Unreadable,
    /// The folder, without a credential.
    pub place: String,
    /// The storage's own words, redacted.
    pub words: String,
}

/// Reads one byte of the first file in `folder`; what that file is called.
///
/// # Errors
/// Why that cannot be done.
pub async fn probe(store: &dyn ObjectStore, folder: &Path) -> Result<String, ProbeError> {
    let fail = |why: Unreadable, words: String| ProbeError { why, place: folder.to_string(), words };
    let judged = |error: object_store::Error, denied: Unreadable| {
        let text = error.to_string();
        fail(judge(&text, denied), words(&text))
    };
    let found = match store.list(Some(folder)).next().await {
        Some(Ok(found)) => found,
        Some(Err(error)) => return Err(judged(error, Unreadable::ListDenied)),
        None => return Err(fail(Unreadable::Missing, "nothing is in it".to_owned())),
    };
    match store.get_range(&found.location, 0..found.size.min(1)).await {
        Ok(_) => Ok(found.location.to_string()),
        Err(error) => Err(judged(error, Unreadable::ReadDenied)),
    }
}

/// The storage's answer comes as a text only: its status, and the code in its body.
fn judge(text: &str, denied: Unreadable) -> Unreadable {
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let status = text.split_once("status code: ").and_then(|(_, rest)| rest.get(..3));
    match status {
        // So it answers a signature whose time is over; its words alone tell that from a broken one.
        _ if has(&["Signature not valid in the specified time frame", "AADSTS7000222"]) => Unreadable::Expired,
        _ if has(&["AuthenticationFailed", "InvalidAuthenticationInfo", "invalid_client", "AADSTS"]) => {
            Unreadable::Unauthenticated
        }
        Some("401") => Unreadable::Unauthenticated,
        Some("403") => denied,
        Some("404") => Unreadable::Missing,
        _ => Unreadable::Unreachable,
    }
}

fn words(text: &str) -> String {
    let flat: Vec<&str> = text.split_whitespace().collect();
    redact_text(&flat.join(" ")).chars().take(WORDS_MAX).collect()
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the credential has expired",
            Self::Unauthenticated => "the credential is not accepted",
            Self::ListDenied => "the credential may not list",
            Self::ReadDenied => "the credential may list, but not read",
            Self::Missing => "there is nothing",
            Self::Unreachable => "the storage does not answer as it should",
        })
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
