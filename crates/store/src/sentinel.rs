//! The record of a store about itself: kind, schema version, incarnation, and the directory that it was last opened in.
//! A database without this record is not ours, or not complete.

use prost::Message;
use uuid::Uuid;

use crate::backend::{Backend, Batch, View};
use crate::error::{Result, StoreError};
use crate::layout::{REVISION_KEY, SENTINEL_KEY};
use crate::value::{self, Frame};

/// Layout of keys and frames written by this crate.
pub(crate) const FORMAT: u32 = 1;

/// The incarnation of a store's data. Greater means later: a scheduler uses `number` as the high half of its fencing
/// epochs.
///
/// A new incarnation begins when the store is restored from an export, and when its directory is a copy and was
/// accepted as one: on every open the store makes an identity file with a new name and remembers its inode and birth
/// time; a copy (`cp -a`, `rsync`, `tar`) of a **stopped** store cannot have both, whether it is used elsewhere or copied
/// back over the original. Moving the directory within one file system changes neither. On a file system that keeps no birth
/// time the inode's change time stands in, so after a `chown` of the file the store has to be accepted as a copy too:
/// harmless, leases are only fenced once more.
///
/// What it cannot notice: a snapshot of the whole file system or disk that is rolled back, and a copy taken while the
/// store was open (which sled does not support anyway) put back over the original before it was opened again. After
/// those, restore from an export instead. Two copies of one store can reach the same number; their `id`s differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation {
    /// Grows by at least one with each incarnation.
    pub number: u64,
    /// Random, drawn when the incarnation began.
    pub id: Uuid,
}

/// The record, as stored under [`SENTINEL_KEY`] and at the head of exports.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Sentinel {
    #[prost(uint32, tag = "1")]
    pub format: u32,
    #[prost(string, tag = "2")]
    pub kind: String,
    #[prost(uint32, tag = "3")]
    pub schema_version: u32,
    #[prost(uint64, tag = "4")]
    pub incarnation: u64,
    #[prost(bytes = "vec", tag = "5")]
    pub incarnation_id: Vec<u8>,
    /// The directory it was last opened in; `None` in a store just created or restored, and in an export.
    #[prost(message, optional, tag = "6")]
    pub identity: Option<Identity>,
    /// Whether a manifest lies beside the database; releases without manifests wrote false.
    #[prost(bool, tag = "7")]
    pub has_manifest: bool,
}

/// The identity file of the directory that a store was last opened in.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Identity {
    #[prost(string, tag = "1")]
    pub nonce: String,
    #[prost(uint64, tag = "2")]
    pub inode: u64,
    /// Nanoseconds since 1970.
    #[prost(uint64, tag = "3")]
    pub born: u64,
}

impl Sentinel {
    pub fn new(kind: &str, schema_version: u32, incarnation: u64, id: Uuid) -> Self {
        Self {
            format: FORMAT,
            kind: kind.to_owned(),
            schema_version,
            incarnation,
            incarnation_id: id.as_bytes().to_vec(),
            identity: None,
            has_manifest: false,
        }
    }

    pub fn read(view: &dyn View) -> Result<Self> {
        let missing = || StoreError::corrupt("the database opens, but the record that says what it holds is missing");
        let stored = view.get(SENTINEL_KEY)?.ok_or_else(missing)?;
        let payload = Frame::parse("sentinel", &stored)?.payload("sentinel", view)?;
        let sentinel = Self::decode(payload.as_ref()).map_err(|e| StoreError::corrupt(format!("sentinel: {e}")))?;
        sentinel.incarnation()?;
        Ok(sentinel)
    }

    pub fn value(&self) -> Result<Vec<u8>> {
        Ok(value::encode("sentinel", 1, &self.encode_to_vec(), [0; 12])?.0)
    }

    pub fn write(&self, backend: &dyn Backend) -> Result<()> {
        backend.apply(Batch::from([(SENTINEL_KEY.to_vec(), Some(self.value()?))]))?;
        backend.flush()
    }

    pub fn incarnation(&self) -> Result<Incarnation> {
        let bad = |_| StoreError::corrupt("sentinel: incarnation id is not a UUID");
        Ok(Incarnation { number: self.incarnation, id: Uuid::from_slice(&self.incarnation_id).map_err(bad)? })
    }
}

pub(crate) fn read_revision(view: &dyn View) -> Result<u64> {
    let Some(stored) = view.get(REVISION_KEY)? else { return Ok(0) };
    let bytes = stored.as_slice().try_into().map_err(|_| StoreError::corrupt("the revision is not eight bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}
