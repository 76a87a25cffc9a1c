//! Caches vended credentials, so that one answer serves all tasks of a table that ask at about the same time, and the workspace
//! clients that vended them. Sends nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mms_databricks::Workspace;
use mms_proto::registry::v1 as pb;
use mms_proto::time::millis;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::Result;
use crate::secrets::Fingerprint;

/// An answer is shared for at most this long, and at most for a tenth of its life: tasks of one table start together.
const SHARED_MAX: Duration = Duration::from_secs(60);
const SHARED_PART: u32 = 10;
/// Most answers that are cached.
const KEPT_MAX: usize = 10_000;

/// The configuration that an answer was made from.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    /// The etag of the data source.
    pub etag: String,
    /// The revision of the network connection.
    pub network: u64,
    /// The fingerprint of the secrets.
    pub secrets: Fingerprint,
}

struct Kept {
    origin: Origin,
    until: Instant,
    answer: pb::VendCredentialsResponse,
}

/// The cache of vended credentials and workspace clients. Cheap to clone.
#[derive(Clone, Default)]
pub struct Vended(Arc<Mutex<Memory>>);

#[derive(Default)]
struct Memory {
    clients: HashMap<String, (Origin, Workspace)>,
    answers: HashMap<String, Kept>,
}

impl Vended {
    /// The cached answer for a table, if it is of this configuration and may still be shared.
    pub fn answer(&self, table: &str, origin: &Origin, now: Instant) -> Option<pb::VendCredentialsResponse> {
        let memory = self.0.lock();
        let kept = memory.answers.get(table).filter(|kept| kept.origin == *origin && now < kept.until)?;
        Some(kept.answer.clone())
    }

    /// Caches an answer.
    pub fn keep(
        &self,
        table: &str,
        origin: &Origin,
        answer: &pb::VendCredentialsResponse,
        (now, now_ms): (Instant, i64),
    ) {
        let left = u64::try_from(millis(answer.expire_time) - now_ms).unwrap_or(0);
        let until = now + (Duration::from_millis(left) / SHARED_PART).min(SHARED_MAX);
        let mut memory = self.0.lock();
        memory.answers.retain(|_, kept| now < kept.until);
        if memory.answers.len() < KEPT_MAX {
            let kept = Kept { origin: origin.clone(), until, answer: answer.clone() };
            memory.answers.insert(table.to_owned(), kept);
        }
    }

    /// The cached workspace client of a data source, or a new one if the configuration has changed.
    pub fn client(&self, id: &str, origin: &Origin, make: impl FnOnce() -> Result<Workspace>) -> Result<Workspace> {
        if let Some((_, known)) = self.0.lock().clients.get(id).filter(|(of, _)| of == origin) {
            return Ok(known.clone());
        }
        let made = make()?;
        self.0.lock().clients.insert(id.to_owned(), (origin.clone(), made.clone()));
        Ok(made)
    }

    /// Drops the client of a data source that is deleted permanently.
    pub fn forget(&self, id: &str) {
        self.0.lock().clients.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use mms_proto::time::timestamp;

    use super::*;

    #[test]
    fn an_answer_serves_for_a_tenth_of_its_life_and_for_one_configuration() {
        let (vended, now) = (Vended::default(), Instant::now());
        let origin = |etag: &str| Origin { etag: etag.into(), network: 0, secrets: Fingerprint::of([]) };
        let answer = pb::VendCredentialsResponse { expire_time: timestamp(1_000_000 + 100_000), ..Default::default() };
        vended.keep("t", &origin("1"), &answer, (now, 1_000_000));
        let at = |seconds| now + Duration::from_secs(seconds);
        assert!(vended.answer("t", &origin("1"), at(9)).is_some());
        assert!(vended.answer("t", &origin("1"), at(10)).is_none());
        assert!(vended.answer("t", &origin("2"), at(1)).is_none() && vended.answer("u", &origin("1"), at(1)).is_none());
        let long = pb::VendCredentialsResponse { expire_time: timestamp(100_000_000), ..Default::default() };
        vended.keep("t", &origin("1"), &long, (now, 1_000_000));
        assert!(
            vended.answer("t", &origin("1"), at(59)).is_some() && vended.answer("t", &origin("1"), at(60)).is_none()
        );
    }
}
