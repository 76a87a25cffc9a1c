//! Reads the newest metadata of a Delta table from its log: from JSON commits, or else from checkpoints. It reads
//! nothing else and replays no file list.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde::Deserialize;
use serde_json::Value;

/// The metadata of a table in its log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub id: String,
    pub name: Option<String>,
    pub description: Option<String>,
    pub schema_string: String,
    #[serde(default)]
    pub partition_columns: Vec<String>,
    #[serde(default)]
    pub configuration: BTreeMap<String, String>,
    pub created_time: Option<i64>,
}

/// What the log of a table says about the table itself.
#[derive(Debug, Default)]
pub struct TableLog {
    /// The version of the newest commit or checkpoint.
    pub version: Option<u64>,
    /// When that was written, in milliseconds since the epoch.
    pub changed: Option<i64>,
    /// The newest metadata; `None` if the log is broken or has none.
    pub metadata: Option<Metadata>,
}

#[derive(Debug)]
enum LogFile {
    Commit(PathBuf),
    Checkpoint(PathBuf),
}

/// Reads the log of the table at `table`. What cannot be read is left out with a warning, so that the table is still
/// listed.
pub fn read(table: &Path) -> TableLog {
    let mut log = TableLog::default();
    let files = match log_files(&table.join("_delta_log")) {
        Ok(files) => files,
        Err(error) => {
            tracing::warn!(table = %table.display(), %error, "cannot list the log; serving the table without metadata");
            return log;
        }
    };
    for (version, file) in files {
        let (LogFile::Commit(path) | LogFile::Checkpoint(path)) = &file;
        if log.version.is_none() {
            log.version = Some(version);
            log.changed = modified(path);
        }
        let found = match &file {
            LogFile::Commit(path) => in_json(path),
            LogFile::Checkpoint(path) if path.extension().is_some_and(|kind| kind == "json") => in_json(path),
            LogFile::Checkpoint(path) => in_parquet(path),
        };
        match found {
            Ok(Some(metadata)) => {
                log.metadata = Some(metadata);
                return log;
            }
            Ok(None) => {}
            Err(error) => {
                // The broken file may hold newer metadata, so older metadata must not be returned.
                tracing::warn!(file = %path.display(), %error, "cannot read the log; serving the table without metadata");
                return log;
            }
        }
    }
    log
}

/// Commits and checkpoints, newest first; for the same version the commit first.
fn log_files(dir: &Path) -> io::Result<Vec<(u64, LogFile)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Some((number, rest)) =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('.'))
        else {
            continue;
        };
        let Ok(version) = number.parse::<u64>() else { continue };
        if number.len() != 20 {
            continue;
        }
        if rest == "json" {
            files.push((version, LogFile::Commit(path)));
        } else if rest.starts_with("checkpoint.") && (rest.ends_with(".parquet") || rest.ends_with(".json")) {
            files.push((version, LogFile::Checkpoint(path)));
        }
    }
    files.sort_by_key(|(version, file)| (std::cmp::Reverse(*version), matches!(file, LogFile::Checkpoint(_))));
    Ok(files)
}

fn modified(path: &Path) -> Option<i64> {
    let since = fs::metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

fn in_json(path: &Path) -> io::Result<Option<Metadata>> {
    for line in BufReader::new(File::open(path)?).lines() {
        let line = line?;
        // Most lines are added files: only lines that can hold metadata are parsed.
        if !line.contains("\"metaData\"") {
            continue;
        }
        let mut action: Value = serde_json::from_str(&line)?;
        if let Some(metadata) = action.get_mut("metaData") {
            return Ok(Some(serde_json::from_value(metadata.take())?));
        }
    }
    Ok(None)
}

fn in_parquet(path: &Path) -> io::Result<Option<Metadata>> {
    let reader = SerializedFileReader::new(File::open(path)?).map_err(io::Error::other)?;
    let root = reader.metadata().file_metadata().schema();
    let Some(column) = root.get_fields().iter().find(|field| field.name() == "metaData") else { return Ok(None) };
    let only = Type::group_type_builder(root.name())
        .with_fields(vec![Arc::clone(column)])
        .build()
        .map_err(io::Error::other)?;
    for row in reader.get_row_iter(Some(only)).map_err(io::Error::other)? {
        let row = row.map_err(io::Error::other)?;
        if let Some((_, Field::Group(metadata))) = row.get_column_iter().next() {
            let metadata = serde_json::from_value(as_json(metadata))?;
            return Ok(Some(metadata));
        }
    }
    Ok(None)
}

/// The metadata of a checkpoint in the JSON form of commits.
fn as_json(row: &Row) -> Value {
    row.get_column_iter().filter_map(|(name, field)| Some((name.clone(), value(field)?))).collect()
}

fn value(field: &Field) -> Option<Value> {
    match field {
        Field::Str(text) => Some(Value::from(text.as_str())),
        Field::Long(number) => Some(Value::from(*number)),
        Field::Group(row) => Some(as_json(row)),
        Field::ListInternal(list) => Some(list.elements().iter().filter_map(value).collect()),
        Field::MapInternal(map) => {
            let pairs = map.entries().iter();
            Some(pairs.filter_map(|(key, entry)| Some((value(key)?.as_str()?.to_owned(), value(entry)?))).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "delta_log_tests.rs"]
mod tests;
