//! Our own replay: reads the commits from the newest to the oldest, line by line, then the checkpoint, and keeps the newest
//! action of each file. It must never decide what it is not sure of (a line that is written in an unusual way, a file that is
//! live twice, a path that leads elsewhere): the kernel's replay decides, and reports it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, RecordBatch, StructArray};
use delta_kernel::engine::arrow_data::EngineDataArrowExt;
use delta_kernel::schema::{DataType, MapType, SchemaRef, StructField, StructType};
use futures::StreamExt;

use super::action::{Add, Object, Remove, Vector, parse};
use super::keys::{Keys, Said, VectorId, Verdict};
use super::logged::{LoggedFile, rows_left};
use super::rows::{Rows, column};
use super::{Replay, Sink};
use crate::drive::{Stop, io};
use crate::log::commits;
use crate::snapshot::Opened;
use crate::{DeletionVector, DeltaError};

/// Why the replay stopped.
pub(super) enum Halt {
    /// It is not sure: the kernel has to decide.
    Unsure(String),
    Stop(Stop),
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<DeltaError> for Halt {
    fn from(error: DeltaError) -> Self {
        Self::Stop(error.into())
    }
}

fn unsure(why: impl std::fmt::Display) -> Halt {
    Halt::Unsure(why.to_string())
}

/// Replays the log. `keys` has all files that were seen, however the replay ends.
pub(super) fn replay(opened: &Opened, replay: &mut Replay<'_>, keys: &mut Keys, sink: Sink<'_>) -> Result<(), Halt> {
    let io = io()?;
    let files: Vec<_> = opened
        .inner
        .log_segment()
        .listed
        .ascending_commit_files
        .iter()
        .rev()
        .map(|file| file.location.clone())
        .collect();
    let mut own = Own { replay, keys, sink, commit: Commit::default() };
    let mut files = commits(opened.reading.store.clone(), files);
    while let Some((_, lines)) = io.block_on(files.next()) {
        let mut lines = lines.map_err(unsure)?;
        while let Some(some) = lines.next(&io).map_err(unsure)? {
            for line in some.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
                let line = parse(line).map_err(unsure)?;
                line.remove.map_or(Ok(()), |remove| own.remove(&remove.0))?;
                line.add.map_or(Ok(()), |add| own.add(&add.0))?;
            }
        }
        own.commit.end()?;
    }
    own.checkpoint(opened)
}

struct Own<'a, 'b, 'c> {
    replay: &'a mut Replay<'b>,
    keys: &'a mut Keys,
    sink: Sink<'c>,
    commit: Commit,
}

/// Actions of one commit. They have no order, so no two of them may concern the same file.
#[derive(Default)]
struct Commit {
    /// Keys of the actions that were the newest of their file.
    new: Vec<u128>,
    /// Keys of the actions that were not.
    old: HashSet<u128>,
}

impl Commit {
    fn took(&mut self, verdict: Verdict, key: u128) -> Result<(), Halt> {
        match verdict {
            Verdict::New => self.new.push(key),
            Verdict::Old if self.old.insert(key) => {}
            Verdict::Old => return Err(unsure("two actions of one commit are of one file")),
            Verdict::Twice => return Err(unsure("a file is live twice")),
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Halt> {
        if !self.old.is_empty() && self.new.iter().any(|key| self.old.contains(key)) {
            return Err(unsure("two actions of one commit are of one file"));
        }
        self.new.clear();
        self.old.clear();
        Ok(())
    }
}

impl Own<'_, '_, '_> {
    fn place<'p>(&self, path: &'p str) -> Result<Cow<'p, str>, Halt> {
        self.replay.snapshot.shape().place(path).ok_or_else(|| unsure("a path leads out of the table"))
    }

    fn remove(&mut self, remove: &Remove<'_>) -> Result<(), Halt> {
        let path = self.place(remove.path.as_ref())?;
        let vector = remove.deletion_vector.as_ref().map(|Object(vector)| vector.id());
        let key = self.keys.key(&path, vector);
        let verdict = self.keys.say(key, &path, vector, Said::Removed);
        self.commit.took(verdict, key)
    }

    fn add(&mut self, add: &Add<'_>) -> Result<(), Halt> {
        let path = self.place(add.path.as_ref())?;
        let vector = add.deletion_vector.as_ref().map(|Object(vector)| vector);
        let key = self.keys.key(&path, vector.map(Vector::id));
        let verdict = self.keys.say(key, &path, vector.map(Vector::id), Said::Added);
        self.commit.took(verdict, key)?;
        if verdict == Verdict::Old {
            return Ok(());
        }
        let vector = vector.map(Vector::owned).transpose();
        let stats = add.stats.as_ref().map(AsRef::as_ref);
        let given = vector.and_then(|vector| self.give(&path, add.size, &add.partition_values.0, vector, stats));
        given.inspect_err(|_| self.keys.unsay(key, Said::Added))
    }

    /// A file that fails here must not count as passed on.
    fn give<T: AsRef<str> + Hash>(
        &mut self,
        path: &str,
        size: i64,
        entry: &[(T, Option<T>)],
        deletion_vector: Option<DeletionVector>,
        stats: Option<&str>,
    ) -> Result<(), Halt> {
        let size = u64::try_from(size).map_err(unsure)?;
        let rows = rows_left(stats, deletion_vector.as_ref()).map_err(unsure)?;
        let partition = self.replay.partitions.number(entry).map_err(unsure)?;
        let partition_values = self.replay.partitions.get(partition);
        Ok((self.sink)(LoggedFile { path, size, rows, partition, partition_values, deletion_vector, stats })?)
    }

    /// Files of the checkpoint that no commit has an action for are live.
    fn checkpoint(&mut self, opened: &Opened) -> Result<(), Halt> {
        let mut segment = opened.inner.log_segment().clone();
        if segment.listed.checkpoint_parts.is_empty() {
            return Ok(());
        }
        segment.listed.ascending_commit_files.clear();
        let batches = segment.read_actions(opened.engine.as_ref(), CHECKPOINT.clone()).map_err(unsure)?;
        for batch in batches {
            let batch = batch.map_err(unsure)?.actions.try_into_record_batch().map_err(unsure)?;
            self.page(&batch)?;
        }
        Ok(())
    }

    fn page(&mut self, batch: &RecordBatch) -> Result<(), Halt> {
        let adds: &StructArray = column(batch, "add")?;
        let parsed: &StructArray = column(adds, "stats_parsed")?;
        let rows = Rows::of(adds, adds)?;
        for row in (0..adds.len()).filter(|row| adds.is_valid(*row)) {
            let (Some(path), Some(size)) = (rows.path(row), rows.size(row)) else {
                return Err(unsure("an add without a path or a size"));
            };
            let path = self.place(path)?;
            let vector = rows.deletion_vector(row).map_err(|_| unsure("a deletion vector of no size"))?;
            let id = vector.as_ref().map(DeletionVector::id);
            let key = self.keys.key(&path, id);
            match self.keys.say(key, &path, id, Said::Kept) {
                Verdict::New => {}
                Verdict::Old => continue,
                Verdict::Twice => return Err(unsure("a file is live twice")),
            }
            let stats = rows.stats(row);
            let given = match rows.partition_values(row) {
                None => Err(unsure("an add without partition values")),
                Some(_) if stats.is_none() && parsed.is_valid(row) => {
                    Err(unsure("a checkpoint has statistics as columns only"))
                }
                Some(entry) => self.give(&path, size, &entry, vector, stats),
            };
            given.inspect_err(|_| self.keys.unsay(key, Said::Kept))?;
        }
        Ok(())
    }
}

impl Vector<'_> {
    fn id(&self) -> VectorId<'_> {
        (self.storage_type.as_ref(), self.path_or_inline_dv.as_ref(), self.offset)
    }

    fn owned(&self) -> Result<DeletionVector, Halt> {
        Ok(DeletionVector {
            storage_type: self.storage_type.as_ref().to_owned(),
            path_or_inline: self.path_or_inline_dv.as_ref().to_owned(),
            offset: self.offset,
            size_in_bytes: self.size_in_bytes,
            cardinality: u64::try_from(self.cardinality).map_err(unsure)?,
        })
    }
}

/// The columns that are read from a checkpoint. Of statistics in columns only whether they exist, because the kernel turns them
/// into texts.
static CHECKPOINT: LazyLock<SchemaRef> = LazyLock::new(|| {
    let of = |fields: Vec<(&str, DataType)>| {
        StructType::new_unchecked(fields.into_iter().map(|(name, kind)| StructField::nullable(name, kind)))
    };
    let vector = of(vec![
        ("storageType", DataType::STRING),
        ("pathOrInlineDv", DataType::STRING),
        ("offset", DataType::INTEGER),
        ("sizeInBytes", DataType::INTEGER),
        ("cardinality", DataType::LONG),
    ]);
    let add = of(vec![
        ("path", DataType::STRING),
        ("partitionValues", MapType::new(DataType::STRING, DataType::STRING, true).into()),
        ("size", DataType::LONG),
        ("stats", DataType::STRING),
        ("stats_parsed", of(vec![("numRecords", DataType::LONG)]).into()),
        ("deletionVector", vector.into()),
    ]);
    Arc::new(of(vec![("add", add.into())]))
});
