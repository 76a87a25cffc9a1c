//! Durable files: written whole or not at all, and on disk when a function here returns.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ProjectError;

/// Makes a rename or a removal in `dir` durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Writes `value` under `path` in one atomic, durable step.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    write_json_unsynced_dir(path, value)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// As [`write_json`]; the caller syncs the directory, once for many files.
pub fn write_json_unsynced_dir<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", uuid::Uuid::new_v4().simple()));
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

/// Reads what [`write_json`] wrote.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ProjectError> {
    let bytes = fs::read(path).map_err(io_error(format!("reading {}", path.display())))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ProjectError::Damaged { path: path.display().to_string(), reason: error.to_string() })
}

/// Adds to an I/O error what was being done.
pub fn io_error(doing: String) -> impl FnOnce(io::Error) -> ProjectError {
    move |source| ProjectError::Io { doing, source }
}

/// Creates a directory with its parents, durably.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    dir.parent().map_or(Ok(()), sync_dir)
}
