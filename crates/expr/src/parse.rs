//! Parses tokens into a filter, by recursive descent, so that every error says what was expected and where.

use std::str::FromStr;

use crate::ast::{Expr, Literal};
use crate::error::{ExprError, Place};
use crate::lex::{Keyword, Token, Word, words};
use crate::{DEPTH_MAX, TEXT_BYTES_MAX};

impl FromStr for Expr {
    type Err = ExprError;

    fn from_str(text: &str) -> Result<Self, ExprError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ExprError::TooLong { bytes: text.len() });
        }
        let words = words(text).map_err(|e| ExprError::Syntax { message: e.message, at: Place::new(text, e.byte) })?;
        let mut parser = Parser { text, words: &words, next: 0 };
        let expr = parser.any_of(0)?;
        match parser.words.get(parser.next) {
            None => Ok(expr),
            Some(_) => Err(parser.expected("AND, OR or the end")),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    words: &'a [Word],
    next: usize,
}

type Parsed<T> = Result<T, ExprError>;

impl Parser<'_> {
    fn any_of(&mut self, depth: usize) -> Parsed<Expr> {
        let mut parts = vec![self.all_of(depth)?];
        while self.keyword(Keyword::Or) {
            parts.push(self.all_of(depth)?);
        }
        Ok(one_or(parts, Expr::Or))
    }

    fn all_of(&mut self, depth: usize) -> Parsed<Expr> {
        let mut parts = vec![self.unary(depth)?];
        while self.keyword(Keyword::And) {
            parts.push(self.unary(depth)?);
        }
        Ok(one_or(parts, Expr::And))
    }

    fn unary(&mut self, depth: usize) -> Parsed<Expr> {
        if depth >= DEPTH_MAX {
            return Err(self.error(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        if self.keyword(Keyword::Not) {
            return Ok(Expr::Not(Box::new(self.unary(depth + 1)?)));
        }
        if self.token(&Token::Open) {
            let inner = self.any_of(depth + 1)?;
            self.require(&Token::Close, "`)`, AND or OR")?;
            return Ok(inner);
        }
        self.predicate()
    }

    fn predicate(&mut self) -> Parsed<Expr> {
        let Some(Token::Name(field)) = self.peek() else {
            return Err(self.expected("a field name, NOT or `(`"));
        };
        let field = field.clone();
        self.next += 1;
        if let Some(Token::Compare(op)) = self.peek() {
            let op = *op;
            self.next += 1;
            return Ok(Expr::Compare { field, op, value: self.literal()? });
        }
        if self.keyword(Keyword::Is) {
            let negated = self.keyword(Keyword::Not);
            self.require(&Token::Keyword(Keyword::Null), if negated { "NULL" } else { "NULL or NOT NULL" })?;
            return Ok(Expr::IsNull { field, negated });
        }
        let negated = self.keyword(Keyword::Not);
        if self.keyword(Keyword::In) {
            return Ok(Expr::In { field, values: self.list()?, negated });
        }
        if self.keyword(Keyword::Like) {
            return match self.peek() {
                Some(Token::Literal(Literal::Text(pattern))) => {
                    let pattern = pattern.clone();
                    self.next += 1;
                    Ok(Expr::Like { field, pattern, negated })
                }
                _ => Err(self.expected("a pattern in quotes")),
            };
        }
        if self.keyword(Keyword::Between) {
            let low = self.literal()?;
            self.require(&Token::Keyword(Keyword::And), "AND")?;
            return Ok(Expr::Between { field, low, high: self.literal()?, negated });
        }
        Err(self.expected(if negated { "IN, LIKE or BETWEEN" } else { "a comparison, IN, LIKE, BETWEEN or IS" }))
    }

    fn list(&mut self) -> Parsed<Vec<Literal>> {
        self.require(&Token::Open, "`(`")?;
        let mut values = vec![self.literal()?];
        while self.token(&Token::Comma) {
            values.push(self.literal()?);
        }
        self.require(&Token::Close, "`,` or `)`")?;
        Ok(values)
    }

    fn literal(&mut self) -> Parsed<Literal> {
        match self.peek() {
            Some(Token::Literal(value)) => {
                let value = value.clone();
                self.next += 1;
                Ok(value)
            }
            Some(Token::Keyword(Keyword::Null)) => {
                Err(self.error("nothing compares with NULL: write IS NULL".to_owned()))
            }
            Some(Token::Name(name)) => {
                let message = format!("expected a value, found the name `{name}`: put quotes around a text");
                Err(self.error(message))
            }
            _ => Err(self.expected("a value")),
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.words.get(self.next).map(|word| &word.token)
    }

    fn token(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.next += usize::from(found);
        found
    }

    fn keyword(&mut self, keyword: Keyword) -> bool {
        self.token(&Token::Keyword(keyword))
    }

    fn require(&mut self, token: &Token, what: &str) -> Parsed<()> {
        if self.token(token) { Ok(()) } else { Err(self.expected(what)) }
    }

    fn expected(&self, what: &str) -> ExprError {
        let found = match self.words.get(self.next) {
            Some(word) => {
                let shown: String = self.text[word.start..word.end].chars().take(40).collect();
                format!("`{}`", shown.escape_debug())
            }
            None => "the end".to_owned(),
        };
        self.error(format!("expected {what}, found {found}"))
    }

    fn error(&self, message: String) -> ExprError {
        let byte = self.words.get(self.next).map_or(self.text.trim_end().len(), |word| word.start);
        ExprError::Syntax { message, at: Place::new(self.text, byte) }
    }
}

fn one_or(mut parts: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            join(parts)
        }
        None => join(parts),
    }
}
