//! Files that only their owner may read: created with mode 0600 from the first moment, and written completely or not at
//! all.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Creates a file with this content unless it exists.
pub fn ensure(file: &Path, content: impl FnOnce() -> String) -> anyhow::Result<()> {
    let failed = || format!("making {}", file.display());
    if file.exists() {
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(failed)?;
    }
    let fresh = fresh(file, &content()).with_context(failed)?;
    // A hard link fails if the file exists: of two processes that start at once one wins, and both use its file.
    let linked = std::fs::hard_link(&fresh, file);
    std::fs::remove_file(&fresh).with_context(failed)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error).with_context(failed),
        _ => Ok(()),
    }
}

/// Writes a file with this content, replacing an existing one.
pub fn write(file: &Path, content: &str) -> anyhow::Result<()> {
    let failed = || format!("writing {}", file.display());
    let fresh = fresh(file, content).with_context(failed)?;
    std::fs::rename(fresh, file).with_context(failed)
}

/// A new file beside `file` with this content, synced to disk.
fn fresh(file: &Path, content: &str) -> std::io::Result<PathBuf> {
    let fresh = file.with_extension(format!("{}.new", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut open = options.open(&fresh)?;
    open.write_all(content.as_bytes()).and_then(|()| open.sync_all())?;
    Ok(fresh)
}

/// A random text of 64 hex digits, of which 244 bits are random.
pub fn random() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_once_and_only_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("deep/token");
        ensure(&file, || "first".into()).unwrap();
        ensure(&file, || "second".into()).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "first");
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_ne!(random(), random());
    }
}
