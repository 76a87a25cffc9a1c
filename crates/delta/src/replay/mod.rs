//! The files of a version: the log, replayed. Our own replay reads it in one pass with little held; where it is not sure, the
//! kernel's replay goes on, which knows more, says what is wrong, and is slow. Both give the same files in the same order.
//!
//! Nothing here is of what a version is: protocol, schema and properties are the kernel's to judge, at the opening.

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

/// Where files go.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(LoggedFile<'_>) -> Result<(), Stop>;

/// One replay of a snapshot.
struct Replay<'a> {
    snapshot: &'a Snapshot,
    partitions: Partitions,
}

/// Gives each live file of the snapshot once.
pub(crate) fn replay(snapshot: &Snapshot, sink: Sink<'_>) -> Result<(), Stop> {
    let mut replay = Replay { snapshot, partitions: Partitions::of(snapshot.shape()) };
    let mut given = Keys::default();
    match own::replay(snapshot.opened(), &mut replay, &mut given, sink) {
        Ok(()) => return Ok(()),
        Err(Halt::Stop(stop)) => return Err(stop),
        Err(Halt::Unsure(why)) => tracing::debug!(why, root = %snapshot.shape().root(), "the kernel reads this log"),
    }
    // What it came by is the kernel's to find again, and to tell.
    drop(snapshot.opened().reading.trouble());
    by_kernel(&mut replay, given, sink)
}

/// The kernel's replay, of files that were not given before.
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
                    reason: "its checkpoint and its commits say different things of a file".to_owned(),
                }));
            }
            Err(Stop::Failed(error)) => error,
            Err(gone) => return Err(gone),
        };
        let Some(trouble) = opened.reading.trouble() else { return Err(error.into()) };
        let unreadable = unreadable(snapshot.shape().root(), &trouble);
        let mut without = opened.reading.without.clone();
        // A sidecar has no version in its name: it is of the checkpoint that was read.
        let of_sidecar = || if trouble.commit.is_none() { opened.inner.log_segment().checkpoint_version } else { None };
        let version = trouble.checkpoint.or_else(of_sidecar);
        let Some(version) = version.filter(|version| without.checkpoints.insert(*version)) else {
            return Err(unreadable.into());
        };
        // A checkpoint that breaks off somewhere in the middle: the commits say the same from the beginning. What was given
        // already came from commits after it, or from its whole part, and is live there too.
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
