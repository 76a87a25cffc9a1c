//! The filter language of all services: filters of List methods and of partitions have the same syntax.
//!
//! ```text
//! state IN ('FAILED', 'PAUSED') AND NOT (table LIKE 'tmp\_%' OR rows BETWEEN 0 AND 9) AND error IS NULL
//! ```
//!
//! Comparisons are `=` `!=` `<>` `<` `<=` `>` `>=`, and `IN`, `LIKE`, `BETWEEN`, `IS NULL`, each with its `NOT`. AND binds
//! tighter than OR. Keywords ignore case; field names do not, and are written in backquotes unless they are plain words. Texts
//! are in single or double quotes and may contain any character (`''` and `\'` are a quote, `\\` a backslash). A comparison with
//! a field that has no value is neither true nor false, as in SQL.
//!
//! Lists of names and globs ([`Patterns`]), which scopes are written with, are here too, because the managed service has them as
//! well.
//!
//! This crate must not know which fields exist: a [`Schema`] lists them, and a [`Row`] has their values. It does no I/O. Whatever
//! the text, it must neither panic nor exceed the bounds stated here.

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
