//! The tokens of callers, read from files that only their owner may read. Only their SHA-256 stays in memory, and they
//! are compared in constant time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::{constant_time, digest};
use jiff::Timestamp;
use mms_proto::Role;
use serde::Deserialize;

use crate::Secret;
use crate::rights::Caller;

/// Fewest characters of a token: 16 characters of base64 are 96 bits.
pub const MIN_TOKEN: usize = 16;

/// Why a file of tokens was rejected.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file does not exist or cannot be read.
    #[error("tokens file {}: {source}", .file.display())]
    Read {
        /// The file as configured.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others than the owner can read the file.
    #[error("tokens file {} has mode {mode:03o}: others can read it; run chmod 600 {}", .file.display(), .file.display())]
    Mode {
        /// The file as configured.
        file: PathBuf,
        /// The permission bits of the file.
        mode: u32,
    },
    /// The content is not valid. The text never repeats a token.
    #[error("tokens file {}: {text}", .file.display())]
    Form {
        /// The file as configured.
        file: PathBuf,
        /// What is wrong, and in which entry.
        text: String,
    },
}

/// The tokens that a process accepts.
#[derive(Default)]
pub struct Tokens(Vec<Known>);

struct Known {
    digest: digest::Digest,
    caller: Caller,
    /// From when on it is not accepted any more; `None` if it never expires.
    expires: Option<Timestamp>,
}

/// The files that tokens are read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file with `[[tokens]]` entries.
    pub entries: Option<PathBuf>,
    /// The file with the token of the suite's own services.
    pub service: Option<PathBuf>,
}

impl Sources {
    /// Reads the tokens that the files have now.
    pub fn read(&self) -> Result<Tokens, TokensError> {
        let mut tokens = Tokens::default();
        if let Some(file) = &self.entries {
            tokens.add_file(file)?;
        }
        if let Some(file) = &self.service {
            tokens.add_service(file)?;
        }
        Ok(tokens)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    tokens: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    token: Secret,
    role: String,
    subject: String,
    /// Tells the tokens of one subject apart in the log.
    #[serde(default)]
    name: String,
    /// RFC 3339.
    #[serde(default)]
    expires: Option<String>,
}

impl Tokens {
    /// Adds the entries of a file: `[[tokens]]` with `token`, `role` (VIEWER, OPERATOR, EDITOR, ADMIN or SERVICE),
    /// `subject`, and optionally `name` and `expires` (as "2027-01-31T00:00:00Z").
    pub fn add_file(&mut self, file: &Path) -> Result<(), TokensError> {
        let form = |text: String| TokensError::Form { file: file.to_owned(), text };
        // The parser's own text would repeat the line and with it a token: the position is enough.
        let read: File = toml::from_str(&read_private(file)?).map_err(|error| {
            let at = error.span().map(|span| format!(" at byte {}", span.start)).unwrap_or_default();
            form(format!("not the TOML of a tokens file{at}: [[tokens]] with token, role and subject"))
        })?;
        for (at, entry) in read.tokens.iter().enumerate() {
            let Some(role) = crate::config::role_of(&entry.role) else {
                let text = "is not one of VIEWER, OPERATOR, EDITOR, ADMIN, SERVICE";
                return Err(form(format!("entry {}: role {:?} {text}", at + 1, entry.role)));
            };
            let expires = entry.expires.as_deref().map(str::parse::<Timestamp>).transpose();
            let Ok(expires) = expires else {
                return Err(form(format!("entry {}: expires is not a time such as \"2027-01-31T00:00:00Z\"", at + 1)));
            };
            if expires.is_some_and(|expires| expires <= Timestamp::now()) {
                let (subject, name) = (&entry.subject, &entry.name);
                tracing::warn!(subject, name, "a token has expired: remove it from the tokens file, or renew it");
            }
            self.add(entry.token.expose(), role, &entry.subject, expires)
                .map_err(|text| form(format!("entry {}: {text}", at + 1)))?;
        }
        Ok(())
    }

    /// Adds the token of the suite's own services, read by [`read_token`].
    pub fn add_service(&mut self, file: &Path) -> Result<(), TokensError> {
        let token = read_token(file)?;
        // While the token is being replaced, the entries may have it as well.
        if self.find(token.expose(), Timestamp::MIN).is_some_and(|known| known.role == Role::Service) {
            return Ok(());
        }
        self.add(token.expose(), Role::Service, "suite", None)
            .map_err(|text| TokensError::Form { file: file.to_owned(), text })
    }

    fn add(&mut self, token: &str, role: Role, subject: &str, expires: Option<Timestamp>) -> Result<(), String> {
        if token.chars().count() < MIN_TOKEN || !token.bytes().all(|c| c.is_ascii_graphic()) {
            return Err(format!("a token has at least {MIN_TOKEN} characters, printable ASCII without spaces"));
        }
        if self.find(token, Timestamp::MIN).is_some() {
            return Err("another entry has the same token".into());
        }
        let caller = Caller { subject: subject.to_owned(), role };
        self.0.push(Known { digest: sha256(token), caller, expires });
        Ok(())
    }

    /// The highest role that the valid tokens of a person give; SERVICE is not a person's role.
    pub fn role_of(&self, subject: &str, now: Timestamp) -> Role {
        let valid = |known: &&Known| known.expires.is_none_or(|expires| now < expires);
        let own = self.0.iter().filter(|known| known.caller.subject == subject).filter(valid);
        let roles = own.map(|known| known.caller.role).filter(|role| *role != Role::Service);
        roles.max().unwrap_or(Role::Unspecified)
    }

    /// The caller with this token, if it has not expired. Compares with every token, so that the time taken tells
    /// nothing.
    pub fn find(&self, token: &str, now: Timestamp) -> Option<Caller> {
        let digest = sha256(token);
        let mut found = None;
        for known in &self.0 {
            if constant_time::verify_slices_are_equal(known.digest.as_ref(), digest.as_ref()).is_ok() {
                found = Some(known);
            }
        }
        found.filter(|known| known.expires.is_none_or(|expires| now < expires)).map(|known| known.caller.clone())
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|known| &known.caller)).finish()
    }
}

/// The token of the suite's own services, with which this process calls them. When it is renewed, all clones have the
/// new one.
#[derive(Debug, Clone)]
pub struct SuiteToken(Arc<RwLock<Secret>>);

impl SuiteToken {
    /// Wraps a token.
    pub fn new(token: impl Into<String>) -> Self {
        Self(Arc::new(RwLock::new(Secret::new(token))))
    }

    pub(crate) fn current(&self) -> Secret {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn replace(&self, token: Secret) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

/// Reads a file that holds one token and nothing else.
pub fn read_token(file: &Path) -> Result<Secret, TokensError> {
    let text = read_private(file)?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        let text = "it must hold one token and nothing else".into();
        return Err(TokensError::Form { file: file.to_owned(), text });
    }
    Ok(Secret::new(token))
}

fn read_private(file: &Path) -> Result<String, TokensError> {
    use std::io::Read;
    let read = |source| TokensError::Read { file: file.to_owned(), source };
    // The mode and the content are those of the same open file.
    let mut open = std::fs::File::open(file).map_err(read)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = open.metadata().map_err(read)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(TokensError::Mode { file: file.to_owned(), mode });
        }
    }
    let mut text = String::new();
    open.read_to_string(&mut text).map_err(read)?;
    Ok(text)
}

fn sha256(token: &str) -> digest::Digest {
    digest::digest(&digest::SHA256, token.as_bytes())
}
