//! Names that are legal in MaxCompute. A text is parsed here once; every other module trusts the type.

use std::fmt;

/// Maximum length of a table or column name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Why a text is not a legal MaxCompute name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a {what} name must not be empty")]
    Empty {
        /// The kind of name, such as `table`.
        what: &'static str,
    },
    /// The text is longer than the limit.
    #[error("{what} name `{name}` has {bytes} bytes, the limit is {max}: map it to a shorter name", max = NAME_BYTES_MAX)]
    TooLong {
        /// The kind of name, such as `table`.
        what: &'static str,
        /// The rejected name.
        name: String,
        /// Length of the name in bytes.
        bytes: usize,
    },
    /// The text contains a character that MaxCompute does not accept.
    #[error("{what} name `{name}` contains `{found}`, which MaxCompute does not accept: map that character to another")]
    Character {
        /// The kind of name, such as `table`.
        what: &'static str,
        /// The rejected name.
        name: String,
        /// The first character that is not accepted.
        found: char,
    },
    /// The first character is not a letter.
    #[error("{what} name `{name}` must start with a letter: map it to another name")]
    Start {
        /// The kind of name, such as `table`.
        what: &'static str,
        /// The rejected name.
        name: String,
    },
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $what:literal, $start_letter:literal, $char_ok:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Parses a text as this kind of name.
            ///
            /// # Errors
            /// [`NameError`] names the rule that the text breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                let ok: fn(char) -> bool = $char_ok;
                if text.is_empty() {
                    return Err(NameError::Empty { what: $what });
                }
                if text.len() > NAME_BYTES_MAX {
                    return Err(NameError::TooLong { what: $what, bytes: text.len(), name: text });
                }
                if let Some(found) = text.chars().find(|c| !ok(*c)) {
                    return Err(NameError::Character { what: $what, name: text, found });
                }
                if $start_letter && !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
                    return Err(NameError::Start { what: $what, name: text });
                }
                Ok(Self(text))
            }

            /// The name, with the case that it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The lower-case form, which is equal for names that MaxCompute, which ignores case, takes for the same.
            #[must_use]
            pub fn key(&self) -> String {
                self.0.to_lowercase()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
    };
}

fn word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Column names may also hold Chinese characters.
fn column_word(c: char) -> bool {
    word(c) || ('\u{4e00}'..='\u{9fff}').contains(&c)
}

name_type!(
    /// The name of a MaxCompute project.
    ProjectName, "project", true, word
);
name_type!(
    /// The name of a schema in a three-tier project.
    SchemaName, "schema", false, word
);
name_type!(
    /// The name of a table.
    TableName, "table", true, word
);
name_type!(
    /// The name of a column or partition column.
    ColumnName, "column", false, column_word
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names_follow_the_rules() {
        assert!(TableName::new("t_1").is_ok());
        assert_eq!(TableName::new(""), Err(NameError::Empty { what: "table" }));
        assert!(matches!(TableName::new("1t"), Err(NameError::Start { .. })));
        assert!(matches!(TableName::new("a-b"), Err(NameError::Character { found: '-', .. })));
        assert!(matches!(TableName::new("x".repeat(129)), Err(NameError::TooLong { bytes: 129, .. })));
    }

    #[test]
    fn columns_may_be_chinese_and_compare_without_case() {
        let column = ColumnName::new("订单Id").expect("legal");
        assert_eq!(column.key(), "订单id");
    }
}
