//! Collects everything that is wrong with a configuration, so that it is reported at once.

use std::fmt;

/// The faults of a configuration, each with the key it is about.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Faults(Vec<(String, String)>);

impl Faults {
    /// Adds a fault. The text must not repeat a secret.
    pub fn add(&mut self, key: &str, text: impl Into<String>) {
        self.0.push((key.to_owned(), text.into()));
    }

    /// Whether no fault was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys that have faults, in the order in which they were found.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_str())
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} fault{}", self.0.len(), if self.0.len() == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|(key, text)| write!(f, "\n  {key}: {text}"))
    }
}

impl std::error::Error for Faults {}
