//! Reads and creates files of key-encryption keys: 32 bytes, or their base64. Must never accept a file that others can read, nor
//! replace an existing one.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;

use crate::vault::KEY_BYTES;

/// Why a key could not be read or created.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read or created.
    #[error("key file {}: {source}", .file.display())]
    Io {
        /// The path of the key file.
        file: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// Other users can read the file.
    #[error("key file {} has mode {mode:03o}: others can read it; run chmod 600 {}", .file.display(), .file.display())]
    Mode {
        /// The path of the key file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The content is not a key.
    #[error("{at} holds no key: 32 bytes, or their base64, as `openssl rand -base64 32` makes them")]
    Form {
        /// The key file or environment variable.
        at: String,
    },
    /// The environment variable is not set.
    #[error("the environment variable {0} is not set: it must hold the base64 of a 32-byte key")]
    NoVariable(String),
    /// The system's random number generator failed.
    #[error("the system gives no random numbers")]
    Random,
}

/// Reads a key file, which must be readable by its owner only.
pub fn read_key_file(file: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyError> {
    let io = |source| KeyError::Io { file: file.to_owned(), source };
    // Check the mode of the same open file that is read.
    let mut open = std::fs::File::open(file).map_err(io)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = open.metadata().map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Mode { file: file.to_owned(), mode });
        }
    }
    let mut content = Zeroizing::new(Vec::with_capacity(256));
    Read::by_ref(&mut open).take(256).read_to_end(&mut content).map_err(io)?;
    parse(&content).ok_or_else(|| KeyError::Form { at: format!("key file {}", file.display()) })
}

/// Reads a key in base64 from an environment variable.
pub fn read_key_variable(name: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyError> {
    let text = Zeroizing::new(std::env::var(name).map_err(|_| KeyError::NoVariable(name.to_owned()))?);
    parse(text.as_bytes()).ok_or_else(|| KeyError::Form { at: format!("the environment variable {name}") })
}

/// Creates a key file with a random key, mode 0600, and its folder. An existing file is left as it is.
pub fn ensure_key_file(file: &Path) -> Result<(), KeyError> {
    let io = |source| KeyError::Io { file: file.to_owned(), source };
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    rand::fill(key.as_mut()).map_err(|_| KeyError::Random)?;
    let text = Zeroizing::new(STANDARD.encode(key.as_ref()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(file) {
        Ok(mut made) => made
            .write_all(text.as_bytes())
            .and_then(|()| made.write_all(b"\n"))
            .and_then(|()| made.sync_all())
            .map_err(io),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io(error)),
    }
}

fn parse(content: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    if let Ok(key) = <[u8; KEY_BYTES]>::try_from(content) {
        return Some(Zeroizing::new(key));
    }
    let decoded = Zeroizing::new(STANDARD.decode(content.trim_ascii()).ok()?);
    <[u8; KEY_BYTES]>::try_from(decoded.as_slice()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_is_private_kept_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys/main.key");
        ensure_key_file(&file).unwrap();
        let first = read_key_file(&file).unwrap();
        ensure_key_file(&file).unwrap();
        assert_eq!(*first, *read_key_file(&file).unwrap());
        assert_ne!(*first, [0; KEY_BYTES]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
            assert!(matches!(read_key_file(&file), Err(KeyError::Mode { mode: 0o640, .. })));
        }
    }

    #[test]
    fn raw_and_base64_are_keys_and_nothing_else() {
        assert_eq!(*parse(&[5; 32]).unwrap(), [5; 32]);
        assert_eq!(*parse(format!(" {}\n", STANDARD.encode([6; 32])).as_bytes()).unwrap(), [6; 32]);
        assert!(
            parse(b"").is_none() && parse(&[1; 31]).is_none() && parse(STANDARD.encode([6; 31]).as_bytes()).is_none()
        );
    }
}
