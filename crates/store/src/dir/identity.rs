//! Tells whether this directory is the one that the store was last opened in. Owns the identity file; see
//! [`Incarnation`](crate::Incarnation) for what it can and cannot notice.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use uuid::Uuid;

use super::files::{Directory, names, remove_matching, sync_dir};
use crate::backend::Backend;
use crate::error::{Result, StoreError};
use crate::sentinel::{Identity, Sentinel};

fn file_name(incarnation: u64, nonce: &str) -> String {
    format!("identity.{incarnation}.{nonce}")
}

/// The properties of the file that a copy cannot keep. The device number is not one of them: a reboot may change it.
fn observe(path: &Path, nonce: String) -> std::io::Result<Identity> {
    let metadata = fs::metadata(path)?;
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    let changed =
        || metadata.ctime().cast_unsigned().wrapping_mul(1_000_000_000) + metadata.ctime_nsec().cast_unsigned();
    let born = born.map_or_else(changed, |born| born.as_nanos() as u64);
    Ok(Identity { nonce, inode: metadata.ino(), born })
}

impl Directory {
    /// Whether the store was last opened in this directory, or was never opened at all.
    pub fn is_home_of(&self, sentinel: &Sentinel) -> bool {
        sentinel.identity.as_ref().is_none_or(|known| {
            let file = self.path().join(file_name(sentinel.incarnation, &known.nonce));
            observe(&file, known.nonce.clone()).is_ok_and(|found| found == *known)
        })
    }

    /// Marks the directory as this store's. For a copy, it also begins a new incarnation.
    pub fn adopt(&self, backend: &dyn Backend, sentinel: &mut Sentinel, as_copy: bool) -> Result<()> {
        if as_copy {
            sentinel.incarnation = self.known_incarnation()?.max(sentinel.incarnation) + 1;
            sentinel.incarnation_id = Uuid::new_v4().as_bytes().to_vec();
            tracing::warn!(
                dir = %self.path().display(),
                incarnation = sentinel.incarnation,
                "the directory was accepted as a copy: a new incarnation begins"
            );
        }
        // A new name on every open: a copy that is put back later brings a file with an older name, and so with another
        // inode.
        let nonce = Uuid::new_v4().simple().to_string();
        let name = file_name(sentinel.incarnation, &nonce);
        let file = self.path().join(&name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&file)
            .and_then(|file| file.sync_all())
            .map_err(StoreError::io("create", &file))?;
        sync_dir(self.path())?;
        sentinel.identity = Some(observe(&file, nonce).map_err(StoreError::io("inspect", &file))?);
        sentinel.has_manifest = true;
        sentinel.write(backend)?;
        remove_matching(self.path(), |other| other.starts_with("identity.") && other != name)
    }

    /// The greatest incarnation that the name of any file in the directory has.
    pub fn known_incarnation(&self) -> Result<u64> {
        let identities = names(self.path())?;
        let exports = names(&self.exports())?;
        let identities = identities.iter().filter_map(|name| name.strip_prefix("identity.")?.split('.').next());
        let exports = exports.iter().filter_map(|name| name.split('-').next());
        Ok(identities.chain(exports).filter_map(|number| number.parse().ok()).max().unwrap_or(0))
    }
}
