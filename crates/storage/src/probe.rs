//! Whether a folder can be read with a credential: asks the storage itself, for the first thing in it and one byte of that.
//! Reads nothing else, and no message carries a credential.

use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::login::is_of_login;
use crate::refusal::{Unreadable, refusal, words};

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

/// Reads the first byte, if it has one, of the first file in `folder`; what that file is called.
///
/// # Errors
/// Why that cannot be done.
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
        None => return Err(fail(Unreadable::Missing, "nothing is in it".to_owned())),
    };
    // No byte can be asked of a file that has none.
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
