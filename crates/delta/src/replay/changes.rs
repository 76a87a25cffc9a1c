//! Which partitions changed between a version and a later one, by the commits between them. Owns what a commit says of that: a file
//! that is added or removed with `dataChange` changes its partition, and one that only moves rows to other files (OPTIMIZE) does not.
//! Never guesses: where a commit is gone or does not say, the answer is that all may have changed.

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

/// Most commits that are read for this, and most partitions that are kept of them.
const COMMITS_MAX: u64 = 10_000;
const PARTITIONS_MAX: usize = 200_000;

/// What changed since a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// The partitions whose rows may differ, each with the newest version that changed it. Of an unpartitioned table: the one without
    /// values.
    Of(BTreeMap<PartitionValues, u64>),
    /// Any may differ, for this reason.
    Unknown(String),
}

impl Snapshot {
    /// What changed after `version`, up to this one.
    ///
    /// # Errors
    /// The store of the log does not answer.
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

/// Whether a file is not there; the kernel has a word of its own for that.
fn is_gone(error: &KernelError) -> bool {
    matches!(error, KernelError::FileNotFound(_))
        || matches!(store_error(error), Some(object_store::Error::NotFound { .. }))
}

fn commit(root: &Url, version: u64) -> Result<Url, DeltaError> {
    let name = format!("_delta_log/{version:020}.json");
    root.join(&name).map_err(|error| DeltaError::Internal(format!("{name} below {root}: {error}")))
}

/// What was found so far.
struct Found {
    partitions: Partitions,
    /// By the number of a partition.
    newest: HashMap<usize, u64>,
}

impl Found {
    /// Takes lines of the commit of this version. Err: what they do not say.
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

/// One line, as far as it is of files.
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
    /// What does not say changes rows.
    #[serde(default = "changes_rows")]
    data_change: bool,
}

fn changes_rows() -> bool {
    true
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
