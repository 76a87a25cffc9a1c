//! Finds the partitions that changed between a version and a later one, from the commits between them. A file that is added or
//! removed with `dataChange` changes its partition; a commit that only moves rows to other files (OPTIMIZE) does not. It must
//! never guess: where a commit does not exist any more or cannot be interpreted, the answer is that every partition may have
//! changed.

use std::collections::{BTreeMap, HashMap};

use delta_kernel::{FileMeta, KernelError};
use futures::StreamExt;
use serde::Deserialize;
use url::Url;

use super::action::{Object, Texts};
use super::logged::Partitions;
use crate::drive::{ask, io};
use crate::error::store_error;
use crate::log::commits;
use crate::{DeltaError, PartitionValues, Snapshot};

/// The most commits that are read, and the most changed partitions that are kept.
const COMMITS_MAX: u64 = 10_000;
const PARTITIONS_MAX: usize = 200_000;

/// What changed since a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// The partitions whose rows may differ, each with the newest version that changed it. An unpartitioned table is one
    /// partition without values.
    Of(BTreeMap<PartitionValues, u64>),
    /// Every partition may differ, for this reason.
    Unknown(String),
}

impl Snapshot {
    /// Returns what changed after `version`, up to this snapshot's version. [`Changes::Unknown`] if commits are missing, cannot
    /// be interpreted or are more than 10,000.
    ///
    /// # Errors
    /// The log cannot be read from its store.
    pub async fn changes_since(&self, version: u64) -> Result<Changes, DeltaError> {
        let snapshot = self.clone();
        ask(move |gone| changes(&snapshot, version, gone)).await
    }
}

fn changes(snapshot: &Snapshot, since: u64, gone: &dyn Fn() -> bool) -> Result<Changes, DeltaError> {
    let newest = snapshot.version();
    if since > newest {
        return Ok(Changes::Unknown(format!("version {since} was moved, which is newer than {newest}")));
    }
    if newest - since > COMMITS_MAX {
        let text = format!(
            "{} commits lie between version {since} and {newest}, and at most {COMMITS_MAX} are read",
            newest - since
        );
        return Ok(Changes::Unknown(text));
    }
    let root = snapshot.shape().root();
    let mut files = Vec::new();
    for version in since + 1..=newest {
        files.push(FileMeta::new(commit(root, version)?, 0, u64::MAX));
    }
    let io = io()?;
    let mut files = commits(snapshot.opened().reading.store.clone(), files);
    let mut found = Found { partitions: Partitions::of(snapshot.shape()), newest: HashMap::new() };
    let mut version = since;
    while let Some((_, lines)) = io.block_on(files.next()) {
        version += 1;
        if gone() {
            break;
        }
        let read = lines.and_then(|mut lines| {
            while let Some(some) = lines.next(&io)? {
                if let Err(why) = found.take(&some, version) {
                    return Ok(Some(why));
                }
            }
            Ok(None)
        });
        match read {
            Ok(None) => {}
            Ok(Some(why)) => return Ok(Changes::Unknown(format!("commit {version} of the log {why}"))),
            Err(error) if is_gone(&error) => {
                let text = format!("commit {version} is no longer in the log: its retention has ended");
                return Ok(Changes::Unknown(text));
            }
            Err(error) => return Err(DeltaError::of_log(error, root, Some(newest))),
        }
    }
    let of = |(number, version): (&usize, &u64)| (found.partitions.get(*number).to_vec(), *version);
    Ok(Changes::Of(found.newest.iter().map(of).collect()))
}

/// Whether the error says that a file does not exist; the kernel has its own error for that beside the store's.
fn is_gone(error: &KernelError) -> bool {
    matches!(error, KernelError::FileNotFound(_))
        || matches!(store_error(error), Some(object_store::Error::NotFound { .. }))
}

fn commit(root: &Url, version: u64) -> Result<Url, DeltaError> {
    let name = format!("_delta_log/{version:020}.json");
    root.join(&name).map_err(|error| DeltaError::Internal(format!("{name} below {root}: {error}")))
}

/// The changes found so far.
struct Found {
    partitions: Partitions,
    /// The newest version that changed a partition, by the partition's number.
    newest: HashMap<usize, u64>,
}

impl Found {
    /// Adds lines of the commit of this version. The error completes the sentence "commit N of the log …".
    fn take(&mut self, lines: &[u8], version: u64) -> Result<(), String> {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let Object(line) = serde_json::from_slice::<Object<Line<'_>>>(line)
                .map_err(|error| format!("has a line that cannot be understood: {error}"))?;
            for Object(file) in [line.add, line.remove].into_iter().flatten().filter(|Object(file)| file.data_change) {
                let number = match file.partition_values {
                    Some(values) => self.partitions.number(&values.0).map_err(|why| format!("has {why}"))?,
                    None if self.partitions.has_columns() => {
                        return Err("does not say of which partition a removed file was".to_owned());
                    }
                    None => self.partitions.number::<&str>(&[]).map_err(|why| format!("has {why}"))?,
                };
                self.newest.insert(number, version);
            }
        }
        if self.newest.len() > PARTITIONS_MAX {
            return Err(format!("changes the partition after the first {PARTITIONS_MAX}"));
        }
        Ok(())
    }
}

/// One line of a commit; only its file actions are parsed.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    add: Option<Object<File<'a>>>,
    #[serde(borrow, default)]
    remove: Option<Object<File<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    #[serde(borrow, default)]
    partition_values: Option<Texts<'a>>,
    /// True if absent: an action that does not say counts as a change.
    #[serde(default = "changes_rows")]
    data_change: bool,
}

fn changes_rows() -> bool {
    true
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
