//! Character mappings: replace characters of source names and values that the target does not allow, or that the operator does
//! not want there.

use std::collections::BTreeMap;

use crate::error::MappingError;
use crate::partition::stands_in_value;

/// Replaces texts, usually single characters, in one pass from left to right, so that a replacement is never replaced again. If
/// several entries match at one position, the longest is used.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct CharacterMap {
    entries: BTreeMap<String, String>,
    fallback: Option<Fallback>,
}

/// The replacement for characters that no entry replaces.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Fallback {
    text: String,
    of: Others,
}

/// Which of the characters that no entry replaces are replaced by the fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Others {
    /// All characters outside `[A-Za-z0-9_]`, so that names can be written without quotes in any program.
    OutsideWords,
    /// Characters that a partition value of the target cannot contain, blanks at its ends included; other values stay unchanged.
    OutsidePartitionValues,
}

impl Others {
    /// Whether a character is among these. `at_end`: whether only blanks lie between it and an end of the text.
    fn have(self, c: char, at_end: bool) -> bool {
        match self {
            Self::OutsideWords => !(c.is_ascii_alphanumeric() || c == '_'),
            Self::OutsidePartitionValues => !stands_in_value(c) || (at_end && c == ' '),
        }
    }
}

/// The stored form, which is validated again when it is read.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Parts {
    entries: BTreeMap<String, String>,
    fallback: Option<Fallback>,
}

/// Maximum length of a key or a replacement, in bytes.
const ENTRY_BYTES_MAX: usize = 128;
/// Maximum number of entries.
const ENTRIES_MAX: usize = 1_000;

impl CharacterMap {
    /// A mapping with these entries.
    ///
    /// # Errors
    /// [`MappingError::CharacterMap`] for an empty key, for a text that is too long, or for too many entries.
    pub fn new(entries: BTreeMap<String, String>) -> Result<Self, MappingError> {
        let refuse = |key: &str, value: &str, problem| {
            Err(MappingError::CharacterMap { key: key.to_owned(), value: value.to_owned(), problem })
        };
        for (key, value) in &entries {
            if key.is_empty() {
                return refuse(key, value, "replaces nothing: name the character to replace");
            }
            if key.len() > ENTRY_BYTES_MAX || value.len() > ENTRY_BYTES_MAX {
                return refuse(key, value, "is longer than 128 bytes");
            }
        }
        match entries.iter().nth(ENTRIES_MAX) {
            Some((key, value)) => refuse(key, value, "is one entry too many: the limit is 1000"),
            None => Ok(Self { entries, fallback: None }),
        }
    }

    /// The same mapping, with `text` as the replacement for those characters that no entry replaces.
    ///
    /// # Errors
    /// [`MappingError::CharacterMap`] if `text` is too long.
    pub fn with_fallback(self, of: Others, text: impl Into<String>) -> Result<Self, MappingError> {
        let text = text.into();
        if text.len() > ENTRY_BYTES_MAX {
            let problem = "is longer than 128 bytes";
            return Err(MappingError::CharacterMap { key: "any other".to_owned(), value: text, problem });
        }
        Ok(Self { fallback: Some(Fallback { text, of }), ..self })
    }

    /// Maps a text; characters without a replacement are unchanged.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        let mut mapped = String::with_capacity(text.len());
        let (begin, end) = (text.len() - text.trim_start_matches(' ').len(), text.trim_end_matches(' ').len());
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let at = text.len() - rest.len();
            let at_end = at < begin || at >= end;
            let (taken, put) = match (self.longest_at(rest), &self.fallback) {
                (Some((key, value)), _) => (key.len(), value.as_str()),
                (None, Some(fallback)) if fallback.of.have(c, at_end) => (c.len_utf8(), fallback.text.as_str()),
                _ => (c.len_utf8(), &rest[..c.len_utf8()]),
            };
            mapped.push_str(put);
            rest = &rest[taken..];
        }
        mapped
    }

    fn longest_at(&self, rest: &str) -> Option<(&String, &String)> {
        self.entries.iter().filter(|(key, _)| rest.starts_with(key.as_str())).max_by_key(|(key, _)| key.len())
    }
}

impl TryFrom<Parts> for CharacterMap {
    type Error = MappingError;

    fn try_from(parts: Parts) -> Result<Self, MappingError> {
        let map = Self::new(parts.entries)?;
        match parts.fallback {
            Some(fallback) => map.with_fallback(fallback.of, fallback.text),
            None => Ok(map),
        }
    }
}

impl From<CharacterMap> for Parts {
    fn from(map: CharacterMap) -> Self {
        Self { entries: map.entries, fallback: map.fallback }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> CharacterMap {
        CharacterMap::new(entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()).expect("legal")
    }

    #[test]
    fn one_pass_and_the_longest_wins() {
        assert_eq!(map(&[("a", "b"), ("b", "a")]).apply("abc"), "bac");
        assert_eq!(map(&[("-", "_"), ("->", "to")]).apply("a->b-c"), "atob_c");
        let demo = map(&[("é", "e")]).with_fallback(Others::OutsideWords, "_").expect("legal");
        assert_eq!(demo.apply("café-au.lait_1 ü中"), "cafe_au_lait_1___");
    }

    #[test]
    fn a_value_keeps_what_the_target_can_hold() {
        let values = map(&[("é", "e")]).with_fallback(Others::OutsidePartitionValues, "_").expect("legal");
        for kept in ["0.0", "1994-01-01", "REG AIR", "a:b", "2020-01-01 12:00:00"] {
            assert_eq!(values.apply(kept), kept);
        }
        assert_eq!(values.apply("a/b,c=d'é中\t"), "a_b_c_d_e__");
        assert_eq!(values.apply("  a b "), "__a b_", "blanks at the ends would be lost");
        assert_eq!(values.apply("  "), "__");
        assert_eq!(values.apply("中 a"), "_ a", "what was an inner blank stays one");
    }

    #[test]
    fn senseless_mappings_are_refused_when_made_and_when_read() {
        assert!(CharacterMap::new(BTreeMap::from([(String::new(), "x".to_owned())])).is_err());
        assert!(serde_json::from_str::<CharacterMap>(r#"{"entries":{"":"x"},"fallback":null}"#).is_err());
        assert!(CharacterMap::default().with_fallback(Others::OutsideWords, "x".repeat(129)).is_err());
    }
}
