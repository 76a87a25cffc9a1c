//! Opens a data directory. Owns the order of the steps: lock, finish an interrupted swap, work around sled's defects on
//! opening, check whose data it is and that none is missing, rebuild, notice a copy, migrate. It must never start with
//! less than was acknowledged.
//!
//! ```text
//! lock                      held while the store is open
//! sled/                     the database; sled.new, sled.old, sled.building, sled.suspect: see `build`
//! sled.broken/              the one that was replaced by an export: see `restore`
//! manifest                  what the database holds: see `manifest` and `compare`
//! identity.<number>.<nonce> which directory this is: see `identity`
//! exports/                  whole copies: see `export`
//! reserve                   space to open with when the disk is full: see `space`
//! ```

mod build;
mod compare;
mod export;
mod files;
mod identity;
mod manifest;
mod restore;
mod space;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use self::build::Builder;
pub(crate) use self::compare::Summary;
pub(crate) use self::files::Directory;
pub(crate) use self::manifest::Manifest;
pub(crate) use self::space::Space;
use crate::backend::{Backend, OpenFailure, SledBackend, View, guarded, open_database};
use crate::error::{Result, StoreError};
use crate::layout::{REVISION_KEY, SENTINEL_KEY};
use crate::options::{Options, Recovery};
use crate::schema::Schema;
use crate::sentinel::{FORMAT, Sentinel, read_revision};
use crate::tally::Tally;
use crate::tx::{MAX_MIGRATION_BYTES, Tx};

/// Greater than every key, because table names are ASCII.
pub(crate) const END: &[u8] = &[0xFF];
/// A database that is this many times larger than its live data is rebuilt.
const REBUILD_FACTOR: u64 = 8;

pub(crate) struct Opened {
    pub directory: Directory,
    pub backend: Arc<dyn Backend>,
    pub sentinel: Sentinel,
    /// What the database holds.
    pub summary: Summary,
    pub manifest: Manifest,
    pub space: Space,
    /// Revision of the newest export of this incarnation.
    pub exported: u64,
}

/// A database that could be opened and passed all checks.
struct Found {
    backend: SledBackend,
    sentinel: Sentinel,
    summary: Summary,
    manifest: Option<Manifest>,
    /// Whether a new incarnation is to begin.
    as_copy: bool,
}

pub(crate) fn open(dir: &Path, schema: &Schema, options: &Options) -> Result<Opened> {
    let directory = Directory::lock(dir)?;
    let space = Space::of(directory.path(), options.min_free_bytes);
    directory.clear_partial()?;
    space.release()?;
    directory.finish_swap()?;
    if directory.is_unused()? {
        let first = Sentinel::new(schema.kind, schema.version(), 1, uuid::Uuid::new_v4());
        let mut builder = Builder::start(&directory, options)?;
        builder.put(SENTINEL_KEY.to_vec(), first.value()?)?;
        builder.finish()?;
        directory.finish_swap()?;
    }
    let found = match find(&directory, schema, options) {
        Err(error) if error.is_about_the_database() && options.recovery == Recovery::NewestExport => {
            tracing::warn!(%error, "the database cannot be used; restoring the newest export");
            directory.restore(schema.kind, options)?;
            find(&directory, schema, options)?
        }
        other => other?,
    };
    let Found { mut backend, mut sentinel, mut summary, manifest, as_copy } = found;
    let (suspect, before) = (directory.is_suspect(), backend.size_on_disk()?);
    let bloated = before > options.rebuild_above && before > tally_bytes(&summary) * REBUILD_FACTOR;
    let room = space.room(tally_bytes(&summary));
    if let (true, Err(StoreError::DiskFull { dir, free, needed })) = (suspect, &room) {
        return Err(StoreError::NoRoomToRebuild { dir: dir.clone(), free: *free, needed: *needed });
    }
    if suspect || (bloated && room.is_ok()) {
        backend = rebuild(&directory, backend, options)?;
        directory.trust()?;
        tracing::info!(before, after = backend.size_on_disk()?, suspect, "rebuilt the database");
    }
    // What the database holds is written down before its sentinel says that there is a manifest, and again after a new
    // incarnation began: at no moment is the manifest missing, or newer than the database.
    let mut manifest = match manifest {
        Some(manifest) => manifest,
        None => Manifest::create(&directory, &summary)?,
    };
    directory.adopt(&backend, &mut sentinel, as_copy)?;
    if migrate(&directory, &backend, &mut sentinel, schema, options, &summary)? {
        summary.tally = Some(guarded(|| Tally::of(&backend))?);
        summary.revision = read_revision(&backend)?;
    }
    (summary.incarnation, summary.incarnation_id) = (sentinel.incarnation, sentinel.incarnation_id.clone());
    manifest.write(&summary)?;
    manifest.sync()?;
    space.reserve(backend.size_on_disk()?);
    let exported = directory.newest_export(sentinel.incarnation)?;
    Ok(Opened { directory, backend: Arc::new(backend), sentinel, summary, manifest, space, exported })
}

fn tally_bytes(summary: &Summary) -> u64 {
    summary.tally.as_ref().map_or(0, Tally::bytes)
}

/// Opens the database and compares it with what its manifest and the newest export know of it.
fn find(directory: &Directory, schema: &Schema, options: &Options) -> Result<Found> {
    let (backend, sentinel) = open_live(directory, options)?;
    check(&sentinel, schema)?;
    let (revision, tally) = guarded(|| Ok((read_revision(&backend)?, Tally::of(&backend)?)))?;
    let summary = Summary {
        incarnation: sentinel.incarnation,
        incarnation_id: sentinel.incarnation_id.clone(),
        revision,
        tally: Some(tally),
    };
    let opened = Manifest::open(directory)?;
    let told = opened.as_ref().and_then(|(_, told)| told.clone());
    let export = directory.newest_known()?;
    let export = export.map(|(name, known)| (format!("the export {name}"), known));
    let witnesses = told.clone().map(|known| ("its manifest".to_owned(), known)).into_iter().chain(export);
    for (witness, known) in witnesses {
        if let Some(fault) = compare::fault(&summary, &known, &witness) {
            return Err(StoreError::corrupt(fault));
        }
    }
    let doubt = match &opened {
        None if sentinel.has_manifest => {
            Some("its manifest is missing, so it is unknown whether the database is complete")
        }
        Some((_, None)) => Some("its manifest is damaged, so it is unknown whether the database is complete"),
        _ if !directory.is_home_of(&sentinel) => Some("it is not the one that the database was last opened in"),
        _ => None,
    };
    let as_copy = doubt.is_some();
    if let Some(what) = doubt.filter(|_| options.recovery != Recovery::AcceptCopy) {
        return Err(StoreError::Doubtful { dir: directory.path().to_owned(), what: what.to_owned() });
    }
    // A manifest without a complete slot is created anew.
    let manifest = opened.filter(|(_, told)| told.is_some()).map(|(manifest, _)| manifest);
    Ok(Found { backend, sentinel, summary, manifest, as_copy })
}

/// Opens the live database and reads its sentinel.
fn open_live(directory: &Directory, options: &Options) -> Result<(SledBackend, Sentinel)> {
    let live = directory.live();
    // Without this check, sled would create a new, empty log.
    if !live.join("db").exists() {
        return Err(StoreError::Missing { dir: directory.path().to_owned() });
    }
    // Half-written snapshots: sled would take one for the newest, and report a corrupt database.
    files::remove_matching(&live, |name| name.starts_with("snap.") && name.ends_with(".generating"))?;
    let backend = match open_database(&live, options) {
        Err(OpenFailure::Corrupt(reason)) => {
            // Snapshots only save reading the whole log, so the database is complete without them.
            tracing::warn!(reason, "the database does not open; retrying without its snapshots");
            files::remove_matching(&live, |name| name.starts_with("snap."))?;
            open_database(&live, options)
        }
        other => other,
    };
    let backend = backend.map_err(|failure| match failure {
        OpenFailure::Corrupt(what) => StoreError::corrupt(format!("database in {}: {what}", live.display())),
        OpenFailure::Other(error) => error,
    })?;
    let sentinel = guarded(|| Sentinel::read(&backend))?;
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

fn rebuild(directory: &Directory, backend: SledBackend, options: &Options) -> Result<SledBackend> {
    let mut builder = Builder::start(directory, options)?;
    guarded(|| {
        backend.visit(&[], END, false, &mut |key, value| {
            builder.put(key.to_vec(), value.to_vec())?;
            Ok(ControlFlow::Continue(()))
        })
    })?;
    builder.finish()?;
    drop(backend);
    directory.finish_swap()?;
    Ok(open_live(directory, options)?.0)
}

/// Migrates the data to the version of the schema. Returns whether there was anything to do.
fn migrate(
    directory: &Directory,
    backend: &SledBackend,
    sentinel: &mut Sentinel,
    schema: &Schema,
    options: &Options,
    found: &Summary,
) -> Result<bool> {
    let mut revision = found.revision;
    let done = sentinel.schema_version.max(1) as usize - 1;
    let steps = schema.migrations.get(done..).unwrap_or_default();
    if !steps.is_empty() && revision > 0 {
        // This export is the only way back to the previous release: data is never migrated backwards.
        directory.export(backend, sentinel, found, options.exports_kept.max(1))?;
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
        backend.apply(tx.into_writes().0)?;
        backend.flush()?;
        tracing::info!(kind = schema.kind, version = sentinel.schema_version, "migrated the store");
    }
    Ok(!steps.is_empty())
}
