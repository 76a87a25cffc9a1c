//! Checks once, before any row is read, that a filter fits the fields: every field exists and is compared with constants of its
//! kind.

use std::fmt;

use crate::ast::{CompareOp, Expr, Literal};
use crate::error::ExprError;

/// The kind of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text, compared by code points. Times in a fixed UTC format sort correctly as text.
    Text,
    /// An integer of 64 bits.
    Integer,
    /// Any number.
    Number,
    /// True or false; has no order.
    Boolean,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a text",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "true or false",
        })
    }
}

/// The fields that can be filtered on.
pub trait Schema {
    /// The kind of a field; None if there is no such field.
    fn kind(&self, field: &str) -> Option<Kind>;
    /// The names of all fields, for the error about an unknown one.
    fn names(&self) -> Vec<String>;
}

/// A fixed list of fields.
impl Schema for [(&str, Kind)] {
    fn kind(&self, field: &str) -> Option<Kind> {
        self.iter().find(|(name, _)| *name == field).map(|(_, kind)| *kind)
    }

    fn names(&self) -> Vec<String> {
        self.iter().map(|(name, _)| (*name).to_owned()).collect()
    }
}

impl Expr {
    /// Checks that every field exists and is compared with constants of its kind.
    ///
    /// # Errors
    /// The first field that is unknown or compared wrongly.
    pub fn check<S: Schema + ?Sized>(&self, schema: &S) -> Result<(), ExprError> {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().try_for_each(|part| part.check(schema)),
            Self::Not(inner) => inner.check(schema),
            Self::Compare { field, op, value } => {
                let kind = kind_of(schema, field)?;
                comparable(field, kind, value)?;
                let ordered = !matches!(op, CompareOp::Equal | CompareOp::NotEqual);
                if ordered { orders(field, kind, op.text()) } else { Ok(()) }
            }
            Self::In { field, values, .. } => {
                let kind = kind_of(schema, field)?;
                values.iter().try_for_each(|value| comparable(field, kind, value))
            }
            Self::Like { field, .. } => match kind_of(schema, field)? {
                Kind::Text => Ok(()),
                kind => Err(ExprError::WrongOperator { field: field.clone(), kind, operator: "LIKE" }),
            },
            Self::Between { field, low, high, .. } => {
                let kind = kind_of(schema, field)?;
                comparable(field, kind, low)?;
                comparable(field, kind, high)?;
                orders(field, kind, "BETWEEN")
            }
            Self::IsNull { field, .. } => kind_of(schema, field).map(|_| ()),
        }
    }
}

fn kind_of<S: Schema + ?Sized>(schema: &S, field: &str) -> Result<Kind, ExprError> {
    schema
        .kind(field)
        .ok_or_else(|| ExprError::UnknownField { field: field.to_owned(), known: schema.names().join(", ") })
}

fn orders(field: &str, kind: Kind, operator: &'static str) -> Result<(), ExprError> {
    match kind {
        Kind::Boolean => Err(ExprError::WrongOperator { field: field.to_owned(), kind, operator }),
        _ => Ok(()),
    }
}

fn comparable(field: &str, kind: Kind, literal: &Literal) -> Result<(), ExprError> {
    let hint = match (kind, literal) {
        (Kind::Text, Literal::Text(_))
        | (Kind::Integer | Kind::Number, Literal::Integer(_) | Literal::Number(_))
        | (Kind::Boolean, Literal::Boolean(_)) => return Ok(()),
        (Kind::Text, _) => ": put quotes around it",
        (Kind::Integer | Kind::Number, Literal::Text(_)) => ": write it without quotes",
        (Kind::Boolean, _) => ": write TRUE or FALSE",
        _ => "",
    };
    Err(ExprError::WrongType { field: field.to_owned(), kind, literal: literal.to_string(), hint })
}
