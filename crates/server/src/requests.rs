//! Request ids: what a call with one created, so that a repeated call creates nothing more. Owns their table and how
//! long an id is remembered; removing old ids reads only those. The caller supplies the digest of a request's content,
//! and only the digest is kept: for a request that may hold secrets it must be a keyed one.

use mms_store::{Index, Read, Scope, StoreError, Table, Tx};

/// How long a request id is remembered.
const TTL_MS: i64 = 24 * 3600 * 1000;
/// Most ids removed in one commit.
const FORGET_AT_ONCE: usize = 1000;

/// The result of the first call with a request id.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Request {
    /// Digest of the request's content; the caller computes it.
    #[prost(bytes = "vec", tag = "1")]
    pub digest: Vec<u8>,
    /// Name of the resource that the call created or started.
    #[prost(string, tag = "2")]
    pub resource: String,
    /// When the call was made, in milliseconds since 1970.
    #[prost(int64, tag = "3")]
    pub time_ms: i64,
    /// Uid of the resource: its name may be used again later.
    #[prost(string, tag = "4")]
    pub uid: String,
    /// Id of the key that the digest was made with; empty if it is not keyed.
    #[prost(string, tag = "5")]
    pub key_id: String,
}

/// Method and request id.
pub type RequestKey = (String, String);

/// Calls by method and request id.
pub static REQUESTS: Table<RequestKey, Request> = Table::new("requests", 1).indexed(&[&REQUESTS_BY_TIME]);
static REQUESTS_BY_TIME: Index<i64, RequestKey, Request> = Index::new("by_time", |_, request| vec![request.time_ms]);

/// A request id was used before, for a request with other content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("request_id `{0}` was used with other content: use a new one")]
pub struct Reused(pub String);

/// A call that may be a repeated one. Without a request id every call is a new one.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// The name of the method; ids of different methods are independent.
    pub method: &'static str,
    /// The request id; empty if the request has none.
    pub id: String,
}

impl Call {
    fn key(&self) -> RequestKey {
        (self.method.to_owned(), self.id.clone())
    }

    /// The result of an earlier call with the same request id; `None` if there was none within a day. The error is
    /// [`Reused`] if `same` says that its content was another.
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

    /// Stores the result of the call, in the transaction that creates it.
    pub fn remember(&self, tx: &mut Tx<'_>, request: &Request) -> Result<(), StoreError> {
        if self.id.is_empty() { Ok(()) } else { tx.put(&REQUESTS, &self.key(), request) }
    }
}

/// Removes some request ids older than a day, and says whether there are more.
pub fn forget(tx: &mut Tx<'_>, now_ms: i64) -> Result<bool, StoreError> {
    let old = Scope::range(..now_ms.saturating_sub(TTL_MS));
    let page = tx.index_keys(&REQUESTS, &REQUESTS_BY_TIME, &old, None, FORGET_AT_ONCE)?;
    for key in &page.items {
        tx.delete(&REQUESTS, key)?;
    }
    Ok(page.next.is_some())
}

/// Builds the index by time over records that an older version wrote without it. For migrations.
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
