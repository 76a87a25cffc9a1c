//! What can be wrong with a filter, said so that its writer can mend it.

use std::fmt;

use crate::check::Kind;

/// Why a filter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// The text does not follow the grammar.
    #[error("filter: {message} at character {}\n{}", .at.character, .at)]
    Syntax {
        /// What was expected and what was found.
        message: String,
        /// Where.
        at: Place,
    },
    /// The text is too long.
    #[error("filter: {bytes} bytes long, the limit is {max}: shorten it, or ask in several calls", max = crate::TEXT_BYTES_MAX)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A field that is not among those that can be filtered on.
    #[error("filter: there is no field `{field}`; known fields: {known}")]
    UnknownField {
        /// The name in the filter.
        field: String,
        /// The fields there are.
        known: String,
    },
    /// A field is compared with something it cannot be compared with.
    #[error("filter: field `{field}` is {kind}, so it cannot be compared with {literal}{hint}")]
    WrongType {
        /// The field.
        field: String,
        /// What it holds.
        kind: Kind,
        /// The literal, as written.
        literal: String,
        /// What to write instead; may be empty.
        hint: &'static str,
    },
    /// An operator that the field's type does not have.
    #[error("filter: field `{field}` is {kind}, which {operator} does not apply to")]
    WrongOperator {
        /// The field.
        field: String,
        /// What it holds.
        kind: Kind,
        /// The operator.
        operator: &'static str,
    },
}

/// A position in the filter, with the line around it. Displays as that line with a caret below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Offset in bytes from the start of the filter.
    pub byte: usize,
    /// The same in characters, from 1.
    pub character: usize,
    line: String,
    column: usize,
}

/// Characters of the line shown before and after the position: an error stays readable however long the filter is.
const SHOWN: usize = 40;

impl Place {
    pub(crate) fn new(text: &str, byte: usize) -> Self {
        let mut byte = byte.min(text.len());
        while !text.is_char_boundary(byte) {
            byte -= 1;
        }
        let (before, after) = text.split_at(byte);
        // Control characters would move the caret away from its place.
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
