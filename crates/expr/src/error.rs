//! The errors of filters. Each says what is wrong and how to correct it.

use std::fmt;

use crate::check::Kind;

/// Why a filter is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// The text does not follow the grammar.
    #[error("filter: {message} at character {}\n{}", .at.character, .at)]
    Syntax {
        /// What was expected and what was found.
        message: String,
        /// The position in the text.
        at: Place,
    },
    /// The text is longer than [`TEXT_BYTES_MAX`](crate::TEXT_BYTES_MAX).
    #[error("filter: {bytes} bytes long, the limit is {max}: shorten it, or ask in several calls", max = crate::TEXT_BYTES_MAX)]
    TooLong {
        /// The length of the text.
        bytes: usize,
    },
    /// The field cannot be filtered on, or does not exist.
    #[error("filter: there is no field `{field}`; known fields: {known}")]
    UnknownField {
        /// The name in the filter.
        field: String,
        /// The names of all known fields.
        known: String,
    },
    /// The field is compared with a constant of another kind.
    #[error("filter: field `{field}` is {kind}, so it cannot be compared with {literal}{hint}")]
    WrongType {
        /// The name of the field.
        field: String,
        /// The kind of its values.
        kind: Kind,
        /// The constant, as written.
        literal: String,
        /// What to write instead; may be empty.
        hint: &'static str,
    },
    /// The operator does not apply to the field's kind.
    #[error("filter: field `{field}` is {kind}, which {operator} does not apply to")]
    WrongOperator {
        /// The name of the field.
        field: String,
        /// The kind of its values.
        kind: Kind,
        /// The operator, as written.
        operator: &'static str,
    },
}

/// A position in a filter. Its text form is the line around it, with a caret below the position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The offset in bytes from the start of the filter.
    pub byte: usize,
    /// The position in characters, starting at 1.
    pub character: usize,
    line: String,
    column: usize,
}

/// Characters of the line that are shown before and after the position, so that the error of a long filter stays readable.
const SHOWN: usize = 40;

impl Place {
    pub(crate) fn new(text: &str, byte: usize) -> Self {
        let mut byte = byte.min(text.len());
        while !text.is_char_boundary(byte) {
            byte -= 1;
        }
        let (before, after) = text.split_at(byte);
        // Control characters would shift the caret.
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let head: Vec<char> = before.chars().rev().take_while(|c| *c != '\n').take(SHOWN).map(plain).collect();
        let tail = after.chars().take_while(|c| *c != '\n').take(SHOWN).map(plain);
        Self {
            byte,
            character: before.chars().count() + 1,
            column: head.len(),
            line: head.into_iter().rev().chain(tail).collect(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}\n  {:column$}^", self.line, "", column = self.column)
    }
}
