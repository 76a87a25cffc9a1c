//! The one filter language: list filters and partition filters are the same text.
//!
//! ```text
//! state IN ('FAILED', 'PAUSED') AND NOT (table LIKE 'tmp\_%' OR rows BETWEEN 0 AND 9) AND error IS NULL
//! ```
//!
//! Comparison is `=` `!=` `<>` `<` `<=` `>` `>=`, and `IN`, `LIKE`, `BETWEEN`, `IS NULL`, each with its `NOT`. AND binds
//! tighter than OR. Keywords ignore case; names do not, and are quoted with backquotes where they are not plain words.
//! Texts stand in single or double quotes and hold any character (`''` and `\'` are a quote, `\\` a backslash).
//! A comparison with a field that has no value is neither true nor false, as in SQL.
//!
//! Beside it stand the lists of names and globs that scopes are written with ([`Patterns`]): the managed service has them, and
//! so do we.
//!
//! This crate never knows which fields exist: it is told by a [`Schema`] and reads from a [`Row`]. It never does I/O, and
//! whatever the text, it neither panics nor takes more than the bounds stated here.

mod ast;
mod check;
mod decimal;
mod error;
mod eval;
mod lex;
mod like;
mod parse;
mod pattern;

pub use ast::{CompareOp, Expr, Literal};
pub use check::{Kind, Schema};
pub use error::ExprError;
pub use eval::{Row, Truth, Value};
pub use pattern::{Patterns, folded};

/// Longest filter, in bytes.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of parentheses and NOT.
pub const DEPTH_MAX: usize = 64;
