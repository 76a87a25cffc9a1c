//! Checks whether a folder can be read with a credential: asks the storage for the first file in it and for one byte of that
//! file. Reads nothing else. No message may contain a credential.

use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::login::is_of_login;
use crate::refusal::{Unreadable, refusal, words};

/// Why a folder cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {words}")]
pub struct ProbeError {
    /// The reason.
    pub why: Unreadable,
    /// The folder, without a credential.
    pub place: String,
    /// The storage's own message, redacted.
    pub words: String,
}

/// Reads the first byte, if any, of the first file in `folder`, and returns the name of that file.
///
/// # Errors
/// The reason why this is not possible.
pub async fn probe(store: &dyn ObjectStore, folder: &Path) -> Result<String, ProbeError> {
    let fail = |why: Unreadable, words: String| ProbeError { why, place: folder.to_string(), words };
    let judged = |error: object_store::Error| match refusal(&error) {
        Some(refusal) => fail(refusal.why, refusal.to_string()),
        None if is_of_login(&error) => fail(Unreadable::LoginAway, words(&error.to_string())),
        None if matches!(error, object_store::Error::NotFound { .. }) => {
            fail(Unreadable::Missing, words(&error.to_string()))
        }
        None => fail(Unreadable::Unreachable, words(&error.to_string())),
    };
    let found = match store.list(Some(folder)).next().await {
        Some(Ok(found)) => found,
        Some(Err(error)) => return Err(judged(error)),
        None => return Err(fail(Unreadable::Missing, "the folder is empty".to_owned())),
    };
    // A range request for an empty file would fail, so the whole file is requested.
    let read = match found.size {
        0 => store.get(&found.location).await.map(drop),
        _ => store.get_range(&found.location, 0..1).await.map(drop),
    };
    match read {
        Ok(()) => Ok(found.location.to_string()),
        Err(error) => Err(judged(error)),
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
