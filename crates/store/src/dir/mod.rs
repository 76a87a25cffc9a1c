//! Opening a data directory. Owns the order of precautions: lock, finish an interrupted swap, open around sled's
//! defects, check whose data it is, rebuild, notice a copy, migrate. It must never start empty where data was before.
//!
//! ```text
//! lock                      held while the store is open
//! sled/                     the database; sled.new, sled.old, sled.building, sled.suspect: see `build`
//! sled.broken/              the one that was replaced by an export: see `restore`
//! identity.<number>.<nonce> which directory this is: see `identity`
//! exports/                  whole copies: see `export`
//! ```

mod build;
mod export;
mod files;
mod identity;
mod restore;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use self::build::Builder;
pub(crate) use self::files::Directory;
use crate::backend::{Backend, OpenFailure, SledBackend, View, open_database};
use crate::error::{Result, StoreError};
use crate::layout::{REVISION_KEY, SENTINEL_KEY};
use crate::options::{Options, Recovery};
use crate::schema::Schema;
use crate::sentinel::{FORMAT, Sentinel, read_revision};
use crate::tx::{MAX_MIGRATION_BYTES, Tx};

/// Above every key: table names are ASCII.
const END: &[u8] = &[0xFF];
/// A database this many times larger than its live data is rebuilt.
const REBUILD_FACTOR: u64 = 8;

pub(crate) struct Opened {
    pub directory: Directory,
    pub backend: Arc<dyn Backend>,
    pub sentinel: Sentinel,
    /// Revision of the newest export of this incarnation.
    pub exported: u64,
}

pub(crate) fn open(dir: &Path, schema: &Schema, options: &Options) -> Result<Opened> {
    let directory = Directory::lock(dir)?;
    directory.finish_swap()?;
    if directory.is_unused()? {
        let first = Sentinel::new(schema.kind, schema.version(), 1, uuid::Uuid::new_v4());
        let mut builder = Builder::start(&directory, options)?;
        builder.put(SENTINEL_KEY.to_vec(), first.value()?)?;
        builder.finish()?;
        directory.finish_swap()?;
    }
    let (mut backend, mut sentinel) = match open_live(&directory, options) {
        Err(error @ (StoreError::Corrupt { .. } | StoreError::Missing { .. }))
            if options.recovery == Recovery::NewestExport =>
        {
            tracing::warn!(%error, "the database cannot be used, restoring the newest export");
            directory.restore(schema.kind, options)?;
            open_live(&directory, options)?
        }
        other => other?,
    };
    check(&sentinel, schema)?;
    let suspect = directory.is_suspect();
    if suspect || needs_rebuild(&backend, options)? {
        let before = backend.size_on_disk()?;
        backend = rebuild(&directory, backend, options)?;
        directory.trust()?;
        tracing::info!(before, after = backend.size_on_disk()?, suspect, "rebuilt the database");
    }
    directory.adopt(&backend, &mut sentinel)?;
    migrate(&directory, &backend, &mut sentinel, schema, options)?;
    let exported = directory.newest_export(sentinel.incarnation)?;
    Ok(Opened { directory, backend: Arc::new(backend), sentinel, exported })
}

/// Opens the database that is there.
fn open_live(directory: &Directory, options: &Options) -> Result<(SledBackend, Sentinel)> {
    let live = directory.live();
    // sled would make a new, empty log where it finds none.
    if !live.join("db").exists() {
        return Err(StoreError::Missing { dir: directory.path().to_owned() });
    }
    // A half-written snapshot: sled would read it as the newest one and call the database corrupt.
    files::remove_matching(&live, |name| name.starts_with("snap.") && name.ends_with(".generating"))?;
    let backend = match open_database(&live, options) {
        Err(OpenFailure::Corrupt(reason)) => {
            // Snapshots only spare reading the whole log.
            tracing::warn!(reason, "the database does not open, trying once more without its snapshots");
            files::remove_matching(&live, |name| name.starts_with("snap."))?;
            open_database(&live, options)
        }
        other => other,
    };
    let backend = backend.map_err(|failure| match failure {
        OpenFailure::Corrupt(what) => StoreError::corrupt(format!("database in {}: {what}", live.display())),
        OpenFailure::Other(error) => error,
    })?;
    let sentinel = Sentinel::read(&backend)?;
    // sled cuts its log at the first thing it cannot read and opens with what is left.
    let (revision, exported) = (read_revision(&backend)?, directory.newest_export(sentinel.incarnation)?);
    if revision < exported && directory.is_home_of(&sentinel) {
        let what =
            format!("it is at revision {revision}, but revision {exported} was exported before: its log lost its end");
        return Err(StoreError::corrupt(what));
    }
    Ok((backend, sentinel))
}

fn check(sentinel: &Sentinel, schema: &Schema) -> Result<()> {
    if sentinel.format != FORMAT {
        return Err(StoreError::UnknownFormat { found: sentinel.format, known: FORMAT });
    }
    if sentinel.kind != schema.kind {
        return Err(StoreError::WrongKind { expected: schema.kind.into(), found: sentinel.kind.clone() });
    }
    if sentinel.schema_version > schema.version() {
        return Err(StoreError::NewerSchema { found: sentinel.schema_version, known: schema.version() });
    }
    Ok(())
}

fn needs_rebuild(backend: &SledBackend, options: &Options) -> Result<bool> {
    let size = backend.size_on_disk()?;
    if size <= options.rebuild_above {
        return Ok(false);
    }
    let mut live = 0;
    backend.visit(&[], END, false, &mut |key, value| {
        live += (key.len() + value.len()) as u64;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(size > live * REBUILD_FACTOR)
}

fn rebuild(directory: &Directory, backend: SledBackend, options: &Options) -> Result<SledBackend> {
    let mut builder = Builder::start(directory, options)?;
    backend.visit(&[], END, false, &mut |key, value| {
        builder.put(key.to_vec(), value.to_vec())?;
        Ok(ControlFlow::Continue(()))
    })?;
    builder.finish()?;
    drop(backend);
    directory.finish_swap()?;
    Ok(open_live(directory, options)?.0)
}

fn migrate(
    directory: &Directory,
    backend: &SledBackend,
    sentinel: &mut Sentinel,
    schema: &Schema,
    options: &Options,
) -> Result<()> {
    let mut revision = read_revision(backend)?;
    let done = sentinel.schema_version.max(1) as usize - 1;
    let steps = schema.migrations.get(done..).unwrap_or_default();
    if !steps.is_empty() && revision > 0 {
        // The way back to the release before is this export: data never migrates backwards.
        directory.export(backend, sentinel, revision, options.exports_kept.max(1))?;
    }
    for step in steps {
        let from = sentinel.schema_version;
        let failed = |detail| StoreError::Migration { kind: schema.kind.into(), from, detail };
        let mut tx = Tx::new(backend, revision + 1, MAX_MIGRATION_BYTES);
        step(&mut tx).map_err(|error| failed(error.to_string()))?;
        sentinel.schema_version = from + 1;
        tx.set(SENTINEL_KEY.to_vec(), Some(sentinel.value()?))?;
        revision += 1;
        tx.set(REVISION_KEY.to_vec(), Some(revision.to_be_bytes().to_vec()))?;
        backend.apply(tx.into_writes())?;
        backend.flush()?;
        tracing::info!(kind = schema.kind, version = sentinel.schema_version, "migrated the store");
    }
    Ok(())
}
