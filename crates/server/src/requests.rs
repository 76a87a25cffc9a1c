//! Request ids: what a call with one made, so that its repeat makes nothing more. Owns their table, for how long they are
//! remembered, and that forgetting reads only what is to be forgotten. What tells the content of a request from any other is the
//! caller's: only its digest is kept, which for a request that may hold secrets must be a keyed one.

use mms_store::{Index, Read, Scope, StoreError, Table, Tx};

/// How long a request id is remembered.
const TTL_MS: i64 = 24 * 3600 * 1000;
/// Most ids forgotten in one commit.
const FORGET_AT_ONCE: usize = 1000;

/// What a request id did.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Request {
    /// Digest of the request's content.
    #[prost(bytes = "vec", tag = "1")]
    pub digest: Vec<u8>,
    /// The resource it made or started.
    #[prost(string, tag = "2")]
    pub resource: String,
    /// When.
    #[prost(int64, tag = "3")]
    pub time_ms: i64,
    /// The uid of the resource: its name may be used again.
    #[prost(string, tag = "4")]
    pub uid: String,
    /// The key that the digest was made with, if one was.
    #[prost(string, tag = "5")]
    pub key_id: String,
}

/// (method, request id)
pub type RequestKey = (String, String);

/// What request ids did.
pub static REQUESTS: Table<RequestKey, Request> = Table::new("requests", 1).indexed(&[&REQUESTS_BY_TIME]);
static REQUESTS_BY_TIME: Index<i64, RequestKey, Request> = Index::new("by_time", |_, request| vec![request.time_ms]);

/// A request id was used for something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("request_id `{0}` was used with other content: use a new one")]
pub struct Reused(pub String);

/// A call that can be repeated. Without a request id each is another.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// The method.
    pub method: &'static str,
    /// The request id; empty: none.
    pub id: String,
}

impl Call {
    fn key(&self) -> RequestKey {
        (self.method.to_owned(), self.id.clone())
    }

    /// What an earlier call with the same request id did, if its content was the same.
    pub fn replayed<E: From<StoreError> + From<Reused>>(
        &self,
        read: &impl Read,
        now_ms: i64,
        same: impl FnOnce(&Request) -> bool,
    ) -> Result<Option<Request>, E> {
        if self.id.is_empty() {
            return Ok(None);
        }
        match read.get(&REQUESTS, &self.key())? {
            Some(seen) if now_ms.saturating_sub(seen.time_ms) > TTL_MS => Ok(None),
            Some(seen) if same(&seen) => Ok(Some(seen)),
            Some(_) => Err(Reused(self.id.clone()).into()),
            None => Ok(None),
        }
    }

    /// Remembers what the call did.
    pub fn remember(&self, tx: &mut Tx<'_>, request: &Request) -> Result<(), StoreError> {
        if self.id.is_empty() { Ok(()) } else { tx.put(&REQUESTS, &self.key(), request) }
    }
}

/// Forgets some request ids whose time is up; whether there are more.
pub fn forget(tx: &mut Tx<'_>, now_ms: i64) -> Result<bool, StoreError> {
    let old = Scope::range(..now_ms.saturating_sub(TTL_MS));
    let page = tx.index_keys(&REQUESTS, &REQUESTS_BY_TIME, &old, None, FORGET_AT_ONCE)?;
    for key in &page.items {
        tx.delete(&REQUESTS, key)?;
    }
    Ok(page.next.is_some())
}

/// Files what a version without an index by time wrote. For migrations.
pub fn file(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    tx.reindex(&REQUESTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_store::{Schema, Store};

    const DAY_MS: i64 = TTL_MS;

    fn request(time_ms: i64) -> Request {
        Request { digest: vec![1], resource: "r".to_owned(), time_ms, ..Request::default() }
    }

    fn call(id: &str) -> Call {
        Call { method: "Create", id: id.to_owned() }
    }

    #[derive(Debug, thiserror::Error)]
    enum Error {
        #[error(transparent)]
        Store(#[from] StoreError),
        #[error(transparent)]
        Reused(#[from] Reused),
    }

    #[tokio::test]
    async fn a_repeat_gets_what_the_first_call_did_for_a_day() {
        let store = Store::in_memory(Schema::new("test")).expect("opened");
        store.commit(|tx| call("once").remember(tx, &request(5))).await.expect("stored");
        store.commit(|tx| call("").remember(tx, &request(5))).await.expect("nothing to store");
        let replayed =
            |id: &str, now_ms: i64, same: bool| store.read(|read| call(id).replayed::<Error>(read, now_ms, |_| same));
        assert_eq!(replayed("once", DAY_MS, true).expect("the same"), Some(request(5)));
        assert!(matches!(replayed("once", DAY_MS, false), Err(Error::Reused(id)) if id.0 == "once"));
        assert_eq!(replayed("once", DAY_MS + 6, true).expect("too old"), None);
        assert_eq!(replayed("other", 5, true).expect("another"), None);
        assert_eq!(replayed("", 5, true).expect("none"), None);
    }

    #[tokio::test]
    async fn what_is_old_is_forgotten_piece_by_piece_and_nothing_else() {
        let store = Store::in_memory(Schema::new("test")).expect("opened");
        let put = |tx: &mut Tx<'_>| {
            (0..2_500).try_for_each(|n| call(&format!("old{n}")).remember(tx, &request(n)))?;
            call("new").remember(tx, &request(DAY_MS))
        };
        store.commit(put).await.expect("stored");
        let mut pieces = 1;
        while store.commit(|tx| forget(tx, 2 * DAY_MS - 1)).await.expect("forgotten") {
            pieces += 1;
        }
        let left = store.pages(&REQUESTS, Scope::all(), 10).map(|page| page.expect("readable")).collect::<Vec<_>>();
        assert_eq!((pieces, left.len(), left[0][0].0.1.as_str()), (3, 1, "new"));
    }

    #[tokio::test]
    async fn what_was_stored_without_the_index_is_filed() {
        static BEFORE: Table<RequestKey, Request> = Table::new("requests", 1);
        let store = Store::in_memory(Schema::new("test")).expect("opened");
        let key = call("old").key();
        store.commit(move |tx| tx.put(&BEFORE, &key, &request(1))).await.expect("stored");
        store.commit(file).await.expect("filed");
        assert!(!store.commit(|tx| forget(tx, 3 * DAY_MS)).await.expect("forgotten"));
        assert!(store.pages(&REQUESTS, Scope::all(), 10).next().is_none());
    }
}
