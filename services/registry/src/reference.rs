//! Resolves secrets given as `env:NAME` or `file:PATH`, in the environment of this process. Owns their syntax and the limits of
//! where they may refer to. The resolved secret must never be in an error.

use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

/// Largest file that is read for a secret.
const MAX_BYTES: u64 = 64 << 10;
/// Variables of our own configuration, which may hold keys and tokens.
const OWN_VARIABLES: &str = "MMS_REGISTRY__";

/// The form of a secret's text.
#[derive(Debug, PartialEq, Eq)]
enum Kind<'a> {
    Literal,
    Variable(&'a str),
    File(&'a Path),
}

/// Why a reference cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The reference is malformed or not allowed.
    #[error("{field}: {what}")]
    Syntax {
        /// The path of the secret's field.
        field: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The variable is not set or empty.
    #[error("{field}: the environment variable {name} is not set, or empty, where the registry runs")]
    Variable {
        /// The path of the secret's field.
        field: String,
        /// The name of the variable.
        name: String,
    },
    /// The file cannot be read or is not allowed.
    #[error("{field}: {} cannot be read where the registry runs: {what}", .file.display())]
    File {
        /// The path of the secret's field.
        field: String,
        /// The path of the file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Several references cannot be resolved.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<ReferenceError>),
}

/// Limits where references may refer to: only to what an operator provides for that purpose, and to nothing else of this process.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Folders that must contain the files.
    pub roots: Vec<PathBuf>,
    /// Allowed prefixes of variables' names.
    pub prefixes: Vec<String>,
    /// Folders and files with our own secrets, which are never allowed, even inside the roots.
    pub files: Vec<PathBuf>,
    /// A variable that holds a key of our own, which is never allowed.
    pub variable: Option<String>,
}

/// Whether the text is the secret itself and not a reference.
pub fn is_literal(secret: &SecretString) -> bool {
    kind(secret.expose_secret()) == Ok(Kind::Literal)
}

fn kind(text: &str) -> Result<Kind<'_>, &'static str> {
    if let Some(name) = text.strip_prefix("env:") {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        return if name.is_empty() || !name.chars().all(legal) || name.starts_with(|c: char| c.is_ascii_digit()) {
            Err("is no reference: env: must be followed by the name of an environment variable")
        } else if name.starts_with(OWN_VARIABLES) {
            Err("refers to a variable of the registry's own configuration")
        } else {
            Ok(Kind::Variable(name))
        };
    }
    if let Some(path) = text.strip_prefix("file:") {
        let path = Path::new(path);
        let steps_up = path.components().any(|step| matches!(step, std::path::Component::ParentDir));
        return if path.is_absolute() && !steps_up {
            Ok(Kind::File(path))
        } else {
            Err("is no reference: file: must be followed by an absolute path without \"..\"")
        };
    }
    Ok(Kind::Literal)
}

impl Guard {
    /// What is wrong with the syntax or the target of a secret that was sent, if anything. Resolves nothing.
    pub fn fault(&self, secret: &SecretString) -> Option<&'static str> {
        match kind(secret.expose_secret()) {
            Err(fault) => Some(fault),
            Ok(kind) => self.strays(&kind),
        }
    }

    fn strays(&self, kind: &Kind<'_>) -> Option<&'static str> {
        match kind {
            Kind::Variable(name) if !self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())) => {
                Some("refers to a variable whose name begins with none of registry.secret_variable_prefixes")
            }
            Kind::File(path) if !self.roots.iter().any(|root| path.starts_with(root)) => {
                Some("refers to a file that lies under none of registry.secret_file_roots")
            }
            _ => None,
        }
    }

    /// The secret itself: the text, or what it refers to.
    pub fn resolve(&self, field: &str, secret: &SecretString) -> Result<SecretString, ReferenceError> {
        let syntax = |what| ReferenceError::Syntax { field: field.to_owned(), what };
        let kind = kind(secret.expose_secret()).map_err(syntax)?;
        if let Some(what) = self.strays(&kind) {
            return Err(syntax(what));
        }
        match kind {
            Kind::Literal => Ok(secret.clone()),
            Kind::Variable(name) if self.variable.as_deref() == Some(name) => {
                Err(syntax("refers to a variable that holds a key of the registry"))
            }
            Kind::Variable(name) => match std::env::var(name) {
                Ok(text) if !text.is_empty() => Ok(SecretString::from(text)),
                _ => Err(ReferenceError::Variable { field: field.to_owned(), name: name.to_owned() }),
            },
            Kind::File(path) => self.read(path).map_err(|what| ReferenceError::File {
                field: field.to_owned(),
                file: path.to_owned(),
                what,
            }),
        }
    }

    fn read(&self, path: &Path) -> Result<SecretString, String> {
        // Resolve symbolic links, so that none circumvents the limits.
        let real = path.canonicalize().map_err(|error| error.to_string())?;
        let own = |file: &PathBuf| file.canonicalize().is_ok_and(|own| real.starts_with(own));
        if !self.roots.iter().any(own) {
            return Err("it leads out of registry.secret_file_roots".into());
        }
        if self.files.iter().any(own) {
            return Err("it belongs to the registry itself".into());
        }
        let size = real.metadata().map_err(|error| error.to_string())?;
        if !size.is_file() || size.len() > MAX_BYTES {
            return Err(format!("it is no file of at most {MAX_BYTES} bytes"));
        }
        let text = Zeroizing::new(std::fs::read_to_string(&real).map_err(|error| error.to_string())?);
        match text.trim() {
            "" => Err("it is empty".into()),
            text => Ok(SecretString::from(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(roots: &[&Path], prefixes: &[&str]) -> Guard {
        Guard {
            roots: roots.iter().map(|root| (*root).to_owned()).collect(),
            prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
            ..Guard::default()
        }
    }

    fn resolve(guard: &Guard, text: &str) -> Result<String, String> {
        let secret = SecretString::from(text);
        let resolved = guard.resolve("token", &secret).map_err(|error| error.to_string())?;
        Ok(resolved.expose_secret().to_owned())
    }

    #[test]
    fn a_literal_is_itself_and_a_file_is_read_without_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "dapi-from-file\n").unwrap();
        let guard = guard(&[folder.path()], &["PA"]);
        assert_eq!(resolve(&guard, "dapi1").unwrap(), "dapi1");
        assert_eq!(resolve(&guard, &format!("file:{}", file.display())).unwrap(), "dapi-from-file");
        assert_eq!(resolve(&guard, "env:PATH").unwrap(), std::env::var("PATH").unwrap());
    }

    #[test]
    fn references_stay_within_what_is_kept_for_them() {
        let (kept, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let stray = outside.path().join("token");
        std::fs::write(&stray, "not for this").unwrap();
        let link = kept.path().join("link");
        std::os::unix::fs::symlink(&stray, &link).unwrap();
        let guard = guard(&[kept.path()], &["MMS_SECRET_"]);
        for text in [format!("file:{}", stray.display()), "env:PATH".into(), "env:XMMS_SECRET_".into()] {
            assert!(guard.fault(&SecretString::from(text.clone())).is_some(), "{text}");
            assert!(resolve(&guard, &text).is_err(), "{text}");
        }
        let refused = resolve(&guard, &format!("file:{}", link.display())).unwrap_err();
        assert!(refused.contains("leads out of"), "{refused}");
        assert!(guard.fault(&SecretString::from("dapi1")).is_none());
    }

    #[test]
    fn our_own_files_are_not_handed_out() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("main.key"), "k").unwrap();
        let guard = Guard {
            files: vec![folder.path().join("main.key")],
            variable: Some("PATH".into()),
            ..guard(&[folder.path()], &[""])
        };
        let key = format!("file:{}", folder.path().join("main.key").display());
        for text in [key, "env:PATH".into(), "env:MMS_REGISTRY__X".into()] {
            assert!(resolve(&guard, &text).is_err(), "{text}");
        }
    }

    #[test]
    fn broken_references_are_found_without_resolving() {
        let guard = guard(&[Path::new("/")], &[""]);
        for text in ["env:", "env:A B", "env:1A", "file:", "file:token", "file:/a/../b"] {
            assert!(guard.fault(&SecretString::from(text)).is_some(), "{text}");
        }
        assert!(guard.fault(&SecretString::from("env:ABSENT_VARIABLE")).is_none());
        assert!(resolve(&guard, "env:ABSENT_VARIABLE_OF_MMS").unwrap_err().contains("ABSENT_VARIABLE_OF_MMS"));
    }
}
