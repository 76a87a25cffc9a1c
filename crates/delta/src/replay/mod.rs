//! Replays a log to the files of a version. Our own replay reads it in one pass with little memory. Where it is not sure, the
//! kernel's replay takes over, which is slow, but handles more cases and reports what is wrong. Both must give the same files in
//! the same order, and each file once.
//!
//! Protocol, schema and properties are not read here: the kernel judges them when the version is opened.

mod action;
mod changes;
mod kernel;
mod keys;
mod logged;
mod own;
mod rows;

pub use changes::Changes;
pub use logged::LoggedFile;

pub(crate) use keys::Hashes;
use keys::Keys;
use logged::Partitions;
use own::Halt;

use crate::drive::Stop;
use crate::snapshot::{passed_by, unreadable};
use crate::{DeltaError, Snapshot};

/// Receives each live file.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(LoggedFile<'_>) -> Result<(), Stop>;

/// One replay of a snapshot.
struct Replay<'a> {
    snapshot: &'a Snapshot,
    partitions: Partitions,
}

/// Passes each live file of the snapshot to `sink`, once.
pub(crate) fn replay(snapshot: &Snapshot, sink: Sink<'_>) -> Result<(), Stop> {
    let mut replay = Replay { snapshot, partitions: Partitions::of(snapshot.shape()) };
    let mut given = Keys::default();
    match own::replay(snapshot.opened(), &mut replay, &mut given, sink) {
        Ok(()) => return Ok(()),
        Err(Halt::Stop(stop)) => return Err(stop),
        Err(Halt::Unsure(why)) => tracing::debug!(why, root = %snapshot.shape().root(), "replaying by the kernel"),
    }
    // The kernel has to find and report again what stopped our replay.
    drop(snapshot.opened().reading.trouble());
    by_kernel(&mut replay, given, sink)
}

/// The kernel's replay, for files that were not passed on before.
fn by_kernel(replay: &mut Replay<'_>, mut given: Keys, sink: Sink<'_>) -> Result<(), Stop> {
    let snapshot = replay.snapshot;
    let mut opened = snapshot.opened().clone();
    loop {
        let mut live = Keys::like(&given);
        let error = match kernel::replay(&opened, replay, &mut live, &given, sink) {
            Ok(()) if given.live_in(&live) => return Ok(()),
            Ok(()) => {
                return Err(Stop::Failed(DeltaError::InvalidLog {
                    root: snapshot.shape().shown_root(),
                    reason: "its checkpoint and its commits disagree about a file".to_owned(),
                }));
            }
            Err(Stop::Failed(error)) => error,
            Err(gone) => return Err(gone),
        };
        let Some(trouble) = opened.reading.trouble() else { return Err(error.into()) };
        let unreadable = unreadable(snapshot.shape().root(), &trouble);
        let mut without = opened.reading.without.clone();
        // The name of a sidecar has no version: it belongs to the checkpoint that was read.
        let of_sidecar = || if trouble.commit.is_none() { opened.inner.log_segment().checkpoint_version } else { None };
        let version = trouble.checkpoint.or_else(of_sidecar);
        let Some(version) = version.filter(|version| without.checkpoints.insert(*version)) else {
            return Err(unreadable.into());
        };
        // The checkpoint is broken somewhere in the middle; the commits from the beginning have the same content. Files that were
        // passed on already came from commits after it or from its readable part, so that they are live in the commits' replay
        // too.
        tracing::warn!(
            file = trouble.file,
            version,
            reason = trouble.reason,
            "checkpoint unreadable; reading commits instead"
        );
        opened = snapshot.reopened(without).map_err(|_| unreadable)?;
        snapshot.note(passed_by(&trouble));
        given.join(live);
    }
}

#[cfg(test)]
mod tests;
