//! Evaluates a filter on a row, with SQL's three truth values: true, false, unknown.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::ast::{CompareOp, Expr, Literal};
use crate::decimal;
use crate::like::matches;

/// The value of a row's field.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// A text.
    Text(Cow<'a, str>),
    /// An integer of 64 bits.
    Integer(i64),
    /// A floating-point number.
    Number(f64),
    /// A number as decimal digits with an optional `-` and `.`; compared exactly, whatever its length.
    Decimal(Cow<'a, str>),
    /// True or false.
    Boolean(bool),
}

/// A row that can be filtered.
pub trait Row {
    /// The value of a field; [`Value::Null`] if there is none. Called only with fields that the filter names.
    fn value(&self, field: &str) -> Value<'_>;
}

/// The result for one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// The row passes.
    True,
    /// The row does not pass.
    False,
    /// A value that decides is missing: the row passes neither the filter nor its negation.
    Unknown,
}

impl Truth {
    /// Whether the row passes.
    #[must_use]
    pub fn is_true(self) -> bool {
        self == Self::True
    }

    fn negated_if(self, negated: bool) -> Self {
        match self {
            Self::True if negated => Self::False,
            Self::False if negated => Self::True,
            other => other,
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

impl Expr {
    /// Evaluates the filter on one row.
    ///
    /// After [`Expr::check`] against the row's own schema, the result is unknown only where a value is missing. Without that
    /// check, a comparison of values of different kinds is unknown too.
    pub fn eval<R: Row + ?Sized>(&self, row: &R) -> Truth {
        match self {
            Self::And(parts) => first_of(parts, row, Truth::False, Truth::True),
            Self::Or(parts) => first_of(parts, row, Truth::True, Truth::False),
            Self::Not(inner) => inner.eval(row).negated_if(true),
            Self::Compare { field, op, value } => compared(&row.value(field), value, |found| holds(*op, found)),
            Self::In { field, values, negated } => {
                let found = row.value(field);
                let mut answer = Truth::False;
                for value in values {
                    match compared(&found, value, Ordering::is_eq) {
                        Truth::True => return Truth::True.negated_if(*negated),
                        Truth::Unknown => answer = Truth::Unknown,
                        Truth::False => {}
                    }
                }
                answer.negated_if(*negated)
            }
            Self::Like { field, pattern, negated } => match row.value(field) {
                Value::Text(text) => Truth::from(matches(pattern, &text)).negated_if(*negated),
                _ => Truth::Unknown,
            },
            Self::Between { field, low, high, negated } => {
                let found = row.value(field);
                let parts = [compared(&found, low, Ordering::is_ge), compared(&found, high, Ordering::is_le)];
                let both = if parts.contains(&Truth::False) {
                    Truth::False
                } else if parts.contains(&Truth::Unknown) {
                    Truth::Unknown
                } else {
                    Truth::True
                };
                both.negated_if(*negated)
            }
            Self::IsNull { field, negated } => Truth::from(row.value(field) == Value::Null).negated_if(*negated),
        }
    }
}

/// `decides` if any part evaluates to it; else unknown if any part is unknown; else `neutral`.
fn first_of<R: Row + ?Sized>(parts: &[Expr], row: &R, decides: Truth, neutral: Truth) -> Truth {
    let mut answer = neutral;
    for part in parts {
        match part.eval(row) {
            found if found == decides => return decides,
            Truth::Unknown => answer = Truth::Unknown,
            _ => {}
        }
    }
    answer
}

fn holds(op: CompareOp, found: Ordering) -> bool {
    match op {
        CompareOp::Equal => found.is_eq(),
        CompareOp::NotEqual => found.is_ne(),
        CompareOp::Less => found.is_lt(),
        CompareOp::LessOrEqual => found.is_le(),
        CompareOp::Greater => found.is_gt(),
        CompareOp::GreaterOrEqual => found.is_ge(),
    }
}

fn compared(value: &Value<'_>, literal: &Literal, holds: impl Fn(Ordering) -> bool) -> Truth {
    let ordering = match (value, literal) {
        (Value::Text(a), Literal::Text(b)) => Some(a.as_ref().cmp(b.as_str())),
        (Value::Integer(a), Literal::Integer(b)) => Some(a.cmp(b)),
        (Value::Integer(a), Literal::Number(b)) => integer_with_number(*a, *b),
        (Value::Number(a), Literal::Integer(b)) => integer_with_number(*b, *a).map(Ordering::reverse),
        (Value::Number(a), Literal::Number(b)) => a.partial_cmp(b),
        (Value::Decimal(a), Literal::Integer(b)) => decimal::compared(a, &b.to_string()),
        // A number is printed with the fewest digits that identify it: for up to 15 digits, those that were written in the
        // filter.
        (Value::Decimal(a), Literal::Number(b)) => decimal::compared(a, &b.to_string()),
        (Value::Boolean(a), Literal::Boolean(b)) => Some(a.cmp(b)),
        _ => None,
    };
    ordering.map_or(Truth::Unknown, |found| Truth::from(holds(found)))
}

/// Exact: casting the integer would make neighbours above 2^53 equal.
fn integer_with_number(integer: i64, number: f64) -> Option<Ordering> {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if number.is_nan() {
        None
    } else if number >= TWO_TO_63 {
        Some(Ordering::Less)
    } else if number < -TWO_TO_63 {
        Some(Ordering::Greater)
    } else {
        // The integer part fits now; the fraction breaks a tie.
        let whole = number.trunc() as i64;
        Some(integer.cmp(&whole).then_with(|| 0.0_f64.partial_cmp(&number.fract()).unwrap_or(Ordering::Equal)))
    }
}
