//! Splits the text of a filter into tokens, each with its position.

use winnow::ascii::{digit1, multispace0};
use winnow::combinator::{alt, opt};
use winnow::error::ContextError;
use winnow::prelude::*;
use winnow::token::{any, one_of, take_while};

use crate::ast::{CompareOp, Literal};

/// A token of the language.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// A field name, plain or in backquotes.
    Name(String),
    /// A keyword other than TRUE and FALSE.
    Keyword(Keyword),
    /// A constant.
    Literal(Literal),
    /// A comparison operator.
    Compare(CompareOp),
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
}

/// A token with its start and end, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Word {
    pub(crate) token: Token,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// What is wrong with the text, and where.
#[derive(Debug)]
pub(crate) struct LexError {
    pub(crate) message: String,
    pub(crate) byte: usize,
}

macro_rules! keywords {
    ($($name:ident = $text:literal),+) => {
        /// The reserved words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Keyword { $($name),+ }

        fn keyword(word: &str) -> Option<Keyword> {
            $(if word.eq_ignore_ascii_case($text) { return Some(Keyword::$name); })+
            None
        }
    };
}

keywords!(
    And = "AND",
    Or = "OR",
    Not = "NOT",
    In = "IN",
    Like = "LIKE",
    Between = "BETWEEN",
    Is = "IS",
    Null = "NULL",
    True = "TRUE",
    False = "FALSE"
);

pub(crate) fn is_keyword(word: &str) -> bool {
    keyword(word).is_some()
}

fn starts_name(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn continues_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '.'
}

/// Whether a field name can be written without backquotes.
pub(crate) fn is_plain_name(name: &str) -> bool {
    name.starts_with(starts_name) && name.chars().all(continues_name)
}

type Lexed<T> = Result<T, ContextError>;

fn operator(input: &mut &str) -> Lexed<Token> {
    let symbol = alt(("!=", "<>", "<=", ">=", one_of(['<', '>', '=', '(', ')', ',']).take())).parse_next(input)?;
    Ok(match symbol {
        "!=" | "<>" => Token::Compare(CompareOp::NotEqual),
        "<=" => Token::Compare(CompareOp::LessOrEqual),
        ">=" => Token::Compare(CompareOp::GreaterOrEqual),
        "<" => Token::Compare(CompareOp::Less),
        ">" => Token::Compare(CompareOp::Greater),
        "=" => Token::Compare(CompareOp::Equal),
        "(" => Token::Open,
        ")" => Token::Close,
        _ => Token::Comma,
    })
}

fn bare_word(input: &mut &str) -> Lexed<Token> {
    let word: &str = (take_while(1, starts_name), take_while(0.., continues_name)).take().parse_next(input)?;
    Ok(match keyword(word) {
        Some(Keyword::True) => Token::Literal(Literal::Boolean(true)),
        Some(Keyword::False) => Token::Literal(Literal::Boolean(false)),
        Some(keyword) => Token::Keyword(keyword),
        None => Token::Name(word.to_owned()),
    })
}

fn number_text<'a>(input: &mut &'a str) -> Lexed<&'a str> {
    let exponent = (alt(('e', 'E')), opt(alt(('+', '-'))), digit1);
    (opt('-'), digit1, opt(('.', digit1)), opt(exponent)).take().parse_next(input)
}

fn number(text: &str) -> Result<Literal, String> {
    if text.contains(['.', 'e', 'E']) {
        let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
        if value.is_finite() { Ok(Literal::Number(value)) } else { Err(format!("`{text}` is too large a number")) }
    } else {
        text.parse().map(Literal::Integer).map_err(|_| format!("`{text}` does not fit into 64 bits"))
    }
}

/// The text up to the closing quote. A doubled quote is a quote; with `backslash`, so is a quote after a backslash, and a doubled
/// backslash is one. Before any other character a backslash is kept, for the patterns of LIKE.
fn quoted(input: &mut &str, quote: char, backslash: bool) -> Result<String, &'static str> {
    let mut text = String::new();
    let next = |input: &mut &str| -> Option<char> { any::<_, ContextError>.parse_next(input).ok() };
    while let Some(c) = next(input) {
        if c == quote {
            if !input.starts_with(quote) {
                return Ok(text);
            }
            next(input);
        } else if c == '\\' && backslash && input.starts_with(['\\', '\'', '"']) {
            text.extend(next(input));
            continue;
        }
        text.push(c);
    }
    Err("this quote is never closed")
}

/// Splits a filter into tokens.
pub(crate) fn words(text: &str) -> Result<Vec<Word>, LexError> {
    let mut rest = text;
    let mut words = Vec::new();
    loop {
        multispace0::<_, ContextError>.parse_next(&mut rest).ok();
        let start = text.len() - rest.len();
        let fail = |message: String| LexError { message, byte: start };
        let Some(first) = rest.chars().next() else { return Ok(words) };
        let token = match first {
            '\'' | '"' | '`' => {
                rest = &rest[1..];
                let inner = quoted(&mut rest, first, first != '`').map_err(|message| fail(message.to_owned()))?;
                match first {
                    '`' if inner.is_empty() => return Err(fail("a field name must not be empty".to_owned())),
                    '`' => Token::Name(inner),
                    _ => Token::Literal(Literal::Text(inner)),
                }
            }
            '-' | '0'..='9' => {
                let text = number_text(&mut rest).map_err(|_| fail("`-` is not followed by a number".to_owned()))?;
                if rest.starts_with(continues_name) {
                    return Err(fail(format!("`{text}` runs into what follows it: put quotes around a text")));
                }
                Token::Literal(number(text).map_err(fail)?)
            }
            _ => alt((operator, bare_word))
                .parse_next(&mut rest)
                .map_err(|_| fail(format!("`{}` has no meaning here", first.escape_debug())))?,
        };
        words.push(Word { token, start, end: text.len() - rest.len() });
    }
}
