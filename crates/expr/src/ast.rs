//! A parsed filter, and its text form. Printing and parsing again gives the same filter.

use std::fmt;

use crate::lex::{is_keyword, is_plain_name};

/// A filter.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// All of them; at least two.
    And(Vec<Expr>),
    /// Any of them; at least two.
    Or(Vec<Expr>),
    /// The opposite.
    Not(Box<Expr>),
    /// `field = literal` and its like.
    Compare {
        /// The field's name.
        field: String,
        /// The comparison.
        op: CompareOp,
        /// What it is compared with.
        value: Literal,
    },
    /// `field [NOT] IN (…)`.
    In {
        /// The field's name.
        field: String,
        /// At least one.
        values: Vec<Literal>,
        /// Whether NOT stands before it.
        negated: bool,
    },
    /// `field [NOT] LIKE 'pattern'`: `%` is any text, `_` any character, `\` takes the next one as it is.
    Like {
        /// The field's name.
        field: String,
        /// The pattern.
        pattern: String,
        /// Whether NOT stands before it.
        negated: bool,
    },
    /// `field [NOT] BETWEEN low AND high`, both ends included.
    Between {
        /// The field's name.
        field: String,
        /// The lower end.
        low: Literal,
        /// The upper end.
        high: Literal,
        /// Whether NOT stands before it.
        negated: bool,
    },
    /// `field IS [NOT] NULL`.
    IsNull {
        /// The field's name.
        field: String,
        /// Whether it is IS NOT NULL.
        negated: bool,
    },
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    /// `=`
    Equal,
    /// `!=` or `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A constant in a filter.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// A quoted text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a point or an exponent; finite.
    Number(f64),
    /// TRUE or FALSE.
    Boolean(bool),
}

impl Expr {
    /// Calls `visit` with every field the filter names, in order, repeated where it is.
    pub fn fields(&self, visit: &mut impl FnMut(&str)) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.fields(visit)),
            Self::Not(inner) => inner.fields(visit),
            Self::Compare { field, .. }
            | Self::In { field, .. }
            | Self::Like { field, .. }
            | Self::Between { field, .. }
            | Self::IsNull { field, .. } => visit(field),
        }
    }

    /// Calls `visit` with every literal that a field is compared with, its field, and whether the comparison asks for an order
    /// (`<`, BETWEEN) rather than for equality; patterns of LIKE are no literals. Stops at the first error.
    ///
    /// # Errors
    /// Those of `visit`.
    pub fn try_each_literal<E>(
        &mut self,
        visit: &mut impl FnMut(&str, bool, &mut Literal) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter_mut().try_for_each(|part| part.try_each_literal(visit)),
            Self::Not(inner) => inner.try_each_literal(visit),
            Self::Compare { field, op, value } => {
                visit(field, !matches!(op, CompareOp::Equal | CompareOp::NotEqual), value)
            }
            Self::In { field, values, .. } => values.iter_mut().try_for_each(|value| visit(field, false, value)),
            Self::Between { field, low, high, .. } => {
                visit(field, true, low)?;
                visit(field, true, high)
            }
            Self::Like { .. } | Self::IsNull { .. } => Ok(()),
        }
    }

    /// How tightly the outermost operator binds.
    fn rank(&self) -> u8 {
        match self {
            Self::Or(_) => 0,
            Self::And(_) => 1,
            Self::Not(_) => 2,
            _ => 3,
        }
    }

    fn write_inside(&self, f: &mut fmt::Formatter<'_>, least_rank: u8) -> fmt::Result {
        if self.rank() < least_rank { write!(f, "({self})") } else { write!(f, "{self}") }
    }
}

fn write_joined(f: &mut fmt::Formatter<'_>, parts: &[Expr], word: &str, least_rank: u8) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            write!(f, " {word} ")?;
        }
        part.write_inside(f, least_rank)?;
    }
    Ok(())
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = |negated: &bool| if *negated { "NOT " } else { "" };
        match self {
            // A nested AND keeps its parentheses, so that the tree comes back as it was.
            Self::And(parts) => write_joined(f, parts, "AND", 2),
            Self::Or(parts) => write_joined(f, parts, "OR", 1),
            Self::Not(inner) => {
                f.write_str("NOT ")?;
                inner.write_inside(f, 2)
            }
            Self::Compare { field, op, value } => write!(f, "{} {op} {value}", Name(field)),
            Self::In { field, values, negated } => {
                write!(f, "{} {}IN (", Name(field), not(negated))?;
                for (i, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Self::Like { field, pattern, negated } => {
                write!(f, "{} {}LIKE {}", Name(field), not(negated), Quoted(pattern))
            }
            Self::Between { field, low, high, negated } => {
                write!(f, "{} {}BETWEEN {low} AND {high}", Name(field), not(negated))
            }
            Self::IsNull { field, negated } => write!(f, "{} IS {}NULL", Name(field), not(negated)),
        }
    }
}

impl CompareOp {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl fmt::Display for CompareOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{}", Quoted(text)),
            Self::Integer(value) => write!(f, "{value}"),
            // Debug writes the point or exponent that makes it a number again.
            Self::Number(value) => write!(f, "{value:?}"),
            Self::Boolean(value) => f.write_str(if *value { "TRUE" } else { "FALSE" }),
        }
    }
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.replace('\\', "\\\\").replace('\'', "''"))
    }
}

struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain_name(self.0) && !is_keyword(self.0) {
            f.write_str(self.0)
        } else {
            write!(f, "`{}`", self.0.replace('`', "``"))
        }
    }
}
