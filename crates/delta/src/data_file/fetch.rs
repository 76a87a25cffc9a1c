//! Requests parts of one file from a store, and always of the same version of it: if the file has changed since it was first
//! opened, a request fails. Holds nothing of what it fetches.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path as ObjectPath;
use object_store::{Error, GetOptions, GetRange, ObjectStore};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Bytes at the end of a file that are fetched first; most footers are smaller.
const TAIL_BYTES: u64 = 64 << 10;
/// Parallel requests while row groups are fetched.
const REQUESTS: usize = 8;
/// Files whose tags are remembered: the last opened ones, because those may be read again.
const PINS_MAX: usize = 10_000;

/// Remembers which version of each file was opened first, by its entity tag. Clones share the memory.
#[derive(Clone, Default)]
pub struct FilePins(Arc<Mutex<Pins>>);

#[derive(Default)]
struct Pins {
    tags: HashMap<ObjectPath, String>,
    order: VecDeque<ObjectPath>,
}

impl FilePins {
    fn get(&self, object: &ObjectPath) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).tags.get(object).cloned()
    }

    fn set(&self, object: &ObjectPath, tag: &str) {
        let mut pins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pins.tags.insert(object.clone(), tag.to_owned()).is_none() {
            pins.order.push_back(object.clone());
        }
        if pins.order.len() > PINS_MAX
            && let Some(oldest) = pins.order.pop_front()
        {
            pins.tags.remove(&oldest);
        }
    }
}

impl fmt::Debug for FilePins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FilePins")
    }
}

/// One file of a store, in the version that was opened first.
pub(super) struct Pinned {
    store: Arc<dyn ObjectStore>,
    object: ObjectPath,
    tag: Option<String>,
}

/// Parts of the file, by where they begin.
pub(super) type Parts = Vec<(u64, Bytes)>;

impl Pinned {
    /// Opens the file; `told` is its size by the log, which may be wrong. Returns its real size and its end.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        object: ObjectPath,
        told: u64,
        pins: &FilePins,
    ) -> Result<(Self, u64, (u64, Bytes)), Error> {
        let mut file = Self { tag: pins.get(&object), store, object };
        let first = if told == 0 { None } else { file.tail(told, told).await.transpose()? };
        if let Some((tag, start, tail)) = first {
            file.pin(tag, pins);
            return Ok((file, told, (start, tail)));
        }
        // The size is not as told: ask the store.
        let options = GetOptions { head: true, if_match: file.tag.clone(), ..GetOptions::default() };
        let meta = file.store.get_opts(&file.object, options).await?.meta;
        file.pin(meta.e_tag, pins);
        let start = meta.size.saturating_sub(TAIL_BYTES);
        let tail = if meta.size == 0 { Bytes::new() } else { file.get(start..meta.size).await? };
        Ok((file, meta.size, (start, tail)))
    }

    /// The end of a file of this size, with its entity tag. None if the file has another size, or the request failed for a
    /// reason that the next one will show.
    async fn tail(&self, size: u64, told: u64) -> Option<Result<(Option<String>, u64, Bytes), Error>> {
        let start = size.saturating_sub(TAIL_BYTES);
        match self.ask(start..size).await {
            Ok(found) if found.meta.size == told => {
                let tag = found.meta.e_tag.clone();
                Some(found.bytes().await.map(|bytes| (tag, start, bytes)))
            }
            // A refusal comes again, and the next one would say less.
            Err(error) if matches!(error, Error::Precondition { .. }) || mms_storage::refusal(&error).is_some() => {
                Some(Err(error))
            }
            Ok(_) | Err(_) => None,
        }
    }

    fn pin(&mut self, tag: Option<String>, pins: &FilePins) {
        if let (None, Some(tag)) = (&self.tag, &tag) {
            pins.set(&self.object, tag);
        }
        self.tag = self.tag.take().or(tag);
    }

    async fn ask(&self, range: Range<u64>) -> Result<object_store::GetResult, Error> {
        let range = Some(GetRange::Bounded(range));
        let options = GetOptions { range, if_match: self.tag.clone(), ..GetOptions::default() };
        self.store.get_opts(&self.object, options).await
    }

    /// Fetches one part.
    pub async fn get(&self, range: Range<u64>) -> Result<Bytes, Error> {
        self.ask(range).await?.bytes().await
    }

    /// Fetches several parts; returns them in their order.
    async fn all(&self, requests: Vec<Range<u64>>) -> Result<Parts, Error> {
        let requests = stream::iter(requests).map(|range| async move { Ok((range.start, self.get(range).await?)) });
        requests.buffered(REQUESTS).try_collect().await
    }
}

/// Work that runs in the background. It is aborted when this is dropped, since nobody can wait for it any more.
pub(crate) struct Coming<T>(JoinHandle<T>);

impl<T: Send + 'static> Coming<T> {
    pub(crate) fn begin(io: &Handle, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(io.spawn(work))
    }

    /// Waits for the result, on a thread that may block. None if the work panicked.
    pub(crate) fn wait(mut self, io: &Handle) -> Option<T> {
        io.block_on(&mut self.0).ok()
    }
}

impl<T> Drop for Coming<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts to fetch parts of a file.
pub(super) fn begin(io: &Handle, file: &Arc<Pinned>, requests: Vec<Range<u64>>) -> Coming<Result<Parts, Error>> {
    let file = Arc::clone(file);
    Coming::begin(io, async move { file.all(requests).await })
}
