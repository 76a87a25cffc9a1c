//! Holds sessions and uses: who has which, and until when, on the monotonic clock. Pure: the time is passed in. Sessions exist
//! only here, so they end with the process; which uses exist is in the store, and only their expiry is here.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_lc_rs::digest;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::secrets::Fingerprint;
use crate::store::UseKey;

/// An open session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The id of the data source.
    pub source: String,
    /// Who opened it.
    pub holder: String,
    /// The revision of the network connection that it was opened with; 0 without one.
    pub network: u64,
    /// The fingerprint of the secrets that it handed out.
    pub secrets: Fingerprint,
    /// Whether its purposes include reading tables' files.
    pub reads_files: bool,
    expires: Instant,
}

/// All sessions and uses of this process.
#[derive(Debug)]
pub struct Leases {
    session_term: Duration,
    use_term: Duration,
    most_sessions: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// By the digest of the token, so that the time of a lookup does not depend on the token.
    sessions: HashMap<Vec<u8>, Session>,
    uses: BTreeMap<UseKey, Instant>,
    /// When each data source was last needed.
    touched: HashMap<String, Instant>,
}

fn key(token: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, token.as_bytes()).as_ref().to_vec()
}

impl Leases {
    /// Starts without leases; `most_sessions` limits the sessions open at once.
    pub fn new(session_term: Duration, use_term: Duration, most_sessions: usize) -> Self {
        Self { session_term, use_term, most_sessions, held: Mutex::default() }
    }

    /// How long a session lasts unless it is renewed.
    pub fn session_term(&self) -> Duration {
        self.session_term
    }

    /// How long a use lasts unless it is renewed.
    pub fn use_term(&self) -> Duration {
        self.use_term
    }

    /// Opens a session under a fresh random token; false when the limit of sessions is reached. Takes the revision of the network
    /// connection, the fingerprint of the secrets, and whether the session reads tables' files.
    pub fn open(
        &self,
        token: &str,
        (source, holder): (&str, &str),
        (network, secrets, reads_files): (u64, Fingerprint, bool),
        now: Instant,
    ) -> bool {
        let mut held = self.held.lock();
        if held.sessions.len() >= self.most_sessions {
            return false;
        }
        let expires = now + self.session_term;
        let (source, holder) = (source.to_owned(), holder.to_owned());
        let session = Session { source: source.clone(), holder, network, secrets, reads_files, expires };
        held.sessions.insert(key(token), session);
        held.touched.insert(source, now);
        true
    }

    /// A session that has not expired.
    pub fn session(&self, token: &str, now: Instant) -> Option<Session> {
        self.held.lock().sessions.get(&key(token)).filter(|session| session.expires > now).cloned()
    }

    /// Renews a session for a full term; None when it has expired or was closed.
    pub fn renew(&self, token: &str, now: Instant) -> Option<Session> {
        let mut held = self.held.lock();
        let session = held.sessions.get_mut(&key(token)).filter(|session| session.expires > now)?;
        session.expires = now + self.session_term;
        Some(session.clone())
    }

    /// Closes a session; does nothing if there is none.
    pub fn close(&self, token: &str, now: Instant) {
        let mut held = self.held.lock();
        if let Some(session) = held.sessions.remove(&key(token)) {
            held.touched.insert(session.source, now);
        }
    }

    /// The numbers of sessions and of uses.
    pub fn count(&self) -> (u64, u64) {
        let held = self.held.lock();
        (held.sessions.len() as u64, held.uses.len() as u64)
    }

    /// Ends all sessions and uses of a data source.
    pub fn end_all(&self, source: &str) {
        let mut held = self.held.lock();
        held.sessions.retain(|_, session| session.source != source);
        held.uses.retain(|key, _| key.0 != source);
    }

    /// Starts a use, or gives a stored one a full term.
    pub fn hold(&self, key: UseKey, now: Instant) {
        let mut held = self.held.lock();
        held.touched.insert(key.0.clone(), now);
        held.uses.insert(key, now + self.use_term);
    }

    /// Renews a use for a full term; false when it has expired or does not exist.
    pub fn prolong(&self, key: &UseKey, now: Instant) -> bool {
        let mut held = self.held.lock();
        match held.uses.get_mut(key).filter(|expires| **expires > now) {
            Some(expires) => {
                *expires = now + self.use_term;
                true
            }
            None => false,
        }
    }

    /// Releases a use.
    pub fn release(&self, key: &UseKey, now: Instant) {
        let mut held = self.held.lock();
        if held.uses.remove(key).is_some() {
            held.touched.insert(key.0.clone(), now);
        }
    }

    /// The time until a use expires.
    pub fn use_left(&self, key: &UseKey, now: Instant) -> Option<Duration> {
        self.held.lock().uses.get(key).map(|expires| expires.saturating_duration_since(now))
    }

    /// Ends all expired sessions and uses, and returns the uses.
    pub fn expire(&self, now: Instant) -> Vec<UseKey> {
        let mut held = self.held.lock();
        let ended: Vec<_> = held.sessions.extract_if(|_, session| session.expires <= now).collect();
        let uses: Vec<UseKey> = held.uses.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for (_, session) in ended {
            held.touched.insert(session.source, now);
        }
        for key in &uses {
            held.uses.remove(key);
            held.touched.insert(key.0.clone(), now);
        }
        uses
    }

    /// Whether a use is held.
    pub fn is_held(&self, key: &UseKey) -> bool {
        self.held.lock().uses.contains_key(key)
    }

    /// Records that a data source is needed now.
    pub fn touch(&self, source: &str, now: Instant) {
        self.held.lock().touched.insert(source.to_owned(), now);
    }

    /// For how long a data source has had no use and no session; None while it has one.
    pub fn idle_for(&self, source: &str, now: Instant) -> Option<Duration> {
        let mut held = self.held.lock();
        let busy = held.sessions.values().any(|session| session.source == source)
            || held.uses.range((source.to_owned(), String::new())..).next().is_some_and(|(key, _)| key.0 == source);
        if busy {
            return None;
        }
        // A data source never seen before counts from now: this process may just have started.
        let since = *held.touched.entry(source.to_owned()).or_insert(now);
        Some(now.saturating_duration_since(since))
    }

    /// Drops the record of a data source that is deleted permanently.
    pub fn forget(&self, source: &str) {
        self.held.lock().touched.remove(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(10);

    fn none() -> (u64, Fingerprint, bool) {
        (0, Fingerprint::of([]), false)
    }

    fn leases() -> (Leases, Instant) {
        (Leases::new(TERM, TERM, 2), Instant::now())
    }

    #[test]
    fn a_session_lasts_its_term_from_the_last_renewal() {
        let (leases, start) = leases();
        assert!(leases.open("t", ("lake", "w"), none(), start));
        assert!(leases.renew("t", start + TERM / 2).is_some());
        assert!(leases.session("t", start + TERM).is_some() && leases.session("t", start + TERM * 2).is_none());
        assert!(leases.renew("t", start + TERM).is_some(), "prolonged at half time");
        assert_eq!(leases.renew("t", start + TERM * 3), None);
        assert_eq!(leases.renew("other", start), None);
    }

    #[test]
    fn sessions_are_bounded() {
        let (leases, start) = leases();
        assert!(leases.open("1", ("a", "w"), none(), start) && leases.open("2", ("a", "w"), none(), start));
        assert!(!leases.open("3", ("a", "w"), none(), start));
        leases.close("1", start);
        assert!(leases.open("3", ("a", "w"), none(), start));
    }

    #[test]
    fn idleness_counts_from_the_last_end() {
        let (leases, start) = leases();
        let key: UseKey = ("a".into(), "job".into());
        leases.hold(key.clone(), start);
        assert_eq!(leases.idle_for("a", start), None);
        assert_eq!(leases.idle_for("b", start), Some(Duration::ZERO), "another source's use does not count");
        assert!(leases.prolong(&key, start + TERM / 2));
        assert!(leases.expire(start + TERM).is_empty());
        assert_eq!(leases.expire(start + TERM * 2), std::slice::from_ref(&key));
        assert!(!leases.prolong(&key, start + TERM * 2));
        assert_eq!(leases.idle_for("a", start + TERM * 3), Some(TERM));
    }
}
