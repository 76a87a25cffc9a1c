//! Typed durable tables over the embedded store.
//!
//! This crate owns how a service keeps its state: tables of prost records with order-preserving keys and secondary
//! indexes, atomic commits over several tables, and the promise that **an acknowledged commit is on the disk**. It must
//! never know what a record means, never do I/O on behalf of a closure, and never start empty where data was before.
//!
//! ```
//! use mms_store::{Index, Read, Schema, Scope, Store, StoreError, Table};
//!
//! #[derive(Clone, PartialEq, prost::Message)]
//! struct Job {
//!     #[prost(string, tag = "1")]
//!     state: String,
//!     #[prost(uint64, tag = "2")]
//!     attempts: u64,
//! }
//!
//! // Keys are tuples, strings and integers; an index is a function of key and record.
//! type JobKey = (String, String); // (data source, job)
//! static JOBS: Table<JobKey, Job> = Table::new("jobs", 1).indexed(&[&BY_STATE]);
//! static BY_STATE: Index<String, JobKey, Job> = Index::new("by_state", |_key, job| vec![job.state.clone()]);
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), StoreError> {
//! let store = Store::in_memory(Schema::new("scheduler"))?; // or Store::open(dir, schema, Options::default())
//!
//! // The closure runs on the committer: nothing changes between its reads and its writes, an Err writes nothing,
//! // and the Ok comes back once the disk has it.
//! let key = ("lake".to_owned(), "job-1".to_owned());
//! let attempts = store
//!     .commit(move |tx| {
//!         let mut job = tx.get(&JOBS, &key)?.unwrap_or_default();
//!         job.state = "RUNNING".into();
//!         job.attempts += 1;
//!         tx.put(&JOBS, &key, &job)?;
//!         Ok::<_, StoreError>(job.attempts)
//!     })
//!     .await?;
//! assert_eq!(attempts, 1);
//!
//! // Reads see one consistent state. Pages continue after the last key.
//! let page = store.read(|r| r.page(&JOBS, &Scope::prefix(&("lake".to_owned(),)), None, 100))?;
//! assert_eq!(page.items.len(), 1);
//! let running = store.read(|r| r.index_page(&JOBS, &BY_STATE, &Scope::exactly(&"RUNNING".to_owned()), None, 100))?;
//! assert_eq!(running.items[0].0.1, "job-1");
//!
//! // A watch of committed revisions, so that a stream can wait for a change instead of polling.
//! let mut revisions = store.subscribe();
//! assert_eq!(*revisions.borrow_and_update(), store.durable_revision());
//! # Ok(()) }
//! ```
//!
//! # What "durable" means here, and what it costs
//!
//! One committer thread owns all writes. It takes every request that is queued, runs each as one atomic batch, in
//! order, then asks the disk once for the whole group and only then answers. sled's own `flush` ends in
//! `sync_file_range`, which survives the death of the process but not a power cut, so each flush is followed by
//! `fdatasync` of sled's file ([`Fdatasync`]). Measured by `examples/group_commit.rs` (200-byte records, 2 busy cores
//! at load 8, a virtual disk): with 1, 32 and 256 concurrent writers 1,560, 3,700 and 4,350 durable commits a second,
//! against 3,300, 5,350 and 5,720 without the `fdatasync`. It halves what one lone writer gets and takes a quarter from
//! many, because they share it; a disk that takes long to sync costs a lone writer more and many writers little.
//!
//! When a write fails, nobody knows what the disk has: from then on the store refuses commits and reads,
//! [`Store::keep`] returns the cause so that the process ends, and the next open writes the database anew. A full disk is
//! no failed write: a commit is refused ([`StoreError::DiskFull`]) before anything is written, and reading goes on.
//!
//! # What a start compares
//!
//! Beside the database lies a manifest, written after every flush: revision, incarnation, counts and a digest per table. It
//! and the newest export are compared with the database at every start, whatever the identity says, so a database that
//! has less than was acknowledged is refused and never served. What this costs: one walk over all data at the start, and a
//! look at the old value of each key that is written.
//!
//! # Copies and restored backups
//!
//! A directory that is not the one the store was last opened in (a copy, a moved backup) is refused until it is accepted
//! as a copy ([`Recovery::AcceptCopy`]). [`Incarnation`] grows then, and whenever the store is restored from an export, so
//! that fencing epochs handed out by the other copy never beat the ones from this copy. See [`Incarnation`] for what this
//! can and cannot notice.

mod backend;
mod commit;
mod dir;
mod error;
mod key;
mod known;
mod layout;
mod observe;
mod options;
mod pages;
mod position;
mod read;
mod schema;
mod scope;
mod sentinel;
mod store;
mod table;
mod tally;
mod tx;
mod value;

pub use backend::{Backend, Batch, DiskSync, Fdatasync, MemoryBackend, SledBackend, View, Visit};
pub use commit::{SOON, TOGETHER};
pub use error::StoreError;
pub use key::{Key, KeyPrefix};
pub use known::{Known, Numbered, Unknown, known};
pub use layout::{MAX_INDEX_KEY_BYTES, MAX_KEY_BYTES};
pub use observe::{Census, Counted, Flush, Observer};
pub use options::{Options, Recovery, WrapSync};
pub use pages::Pages;
pub use read::{MAX_PAGE_BYTES, MAX_PAGE_ITEMS, Page, Read};
pub use schema::{Migration, Schema};
pub use scope::Scope;
pub use sentinel::Incarnation;
pub use store::{Reader, Revision, Store};
pub use table::{AnyIndex, Index, Table};
pub use tx::{MAX_MIGRATION_BYTES, MAX_TX_BYTES, Tx};
pub use value::MAX_VALUE_BYTES;
