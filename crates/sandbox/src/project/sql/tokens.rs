//! The tokens of MaxCompute SQL, and a cursor over them.

use sqlparser::dialect::Dialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

/// The start of a statement.
pub const START: Location = Location { line: 1, column: 1 };

/// Why a statement failed, in the words of the service: `ODPS-0130161:[1,8] Parse exception - …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError(pub String);

impl SqlError {
    /// A parse error.
    pub fn parse(line: u64, column: u64, message: &str) -> Self {
        Self(format!("ODPS-0130161:[{line},{column}] Parse exception - {message}"))
    }

    /// The same error with a position, unless it has one.
    pub fn at(self, place: Location) -> Self {
        let placed = match self.0.split_once(':') {
            Some((code, rest)) if code.starts_with("ODPS-") => {
                let rest = rest.strip_prefix("[0,0] ").unwrap_or(rest);
                (!rest.starts_with('[')).then(|| format!("{code}:[{},{}] {rest}", place.line, place.column))
            }
            _ => None,
        };
        placed.map_or(self, Self)
    }

    /// A semantic error: the statement is well formed but contradicts the tables.
    pub fn semantic(message: &str) -> Self {
        Self(format!("ODPS-0130071:[0,0] Semantic analysis exception - {message}"))
    }
}

/// MaxCompute's lexical rules: back-quoted names, both kinds of quotes for text, backslash escapes.
#[derive(Debug, Default)]
pub struct MaxCompute;

impl Dialect for MaxCompute {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_ascii_alphabetic() || ch == '_' || ('\u{4e00}'..='\u{9fff}').contains(&ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_ascii_alphanumeric() || ch == '_' || ('\u{4e00}'..='\u{9fff}').contains(&ch)
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        true
    }

    fn supports_numeric_prefix(&self) -> bool {
        true
    }
}

/// A position in the tokens of one statement.
pub struct Cursor {
    tokens: Vec<TokenWithSpan>,
    at: usize,
    /// The position of the first name of a schema or table.
    named: Option<Location>,
}

impl Cursor {
    /// Tokenizes one statement, which must end with a semicolon, as the service requires.
    pub fn new(sql: &str) -> Result<Self, SqlError> {
        let tokens = Tokenizer::new(&MaxCompute, sql)
            .tokenize_with_location()
            .map_err(|e| SqlError::parse(e.location.line, e.location.column, &e.message))?;
        let mut kept: Vec<TokenWithSpan> = Vec::new();
        for token in tokens {
            match token.token {
                Token::Whitespace(_) | Token::EOF => {}
                // The tokenizer reads the end of `array<array<int>>` as one token.
                Token::ShiftRight => {
                    kept.push(TokenWithSpan { token: Token::Gt, span: token.span });
                    kept.push(TokenWithSpan { token: Token::Gt, span: token.span });
                }
                _ => kept.push(token),
            }
        }
        let mut cursor = Self { tokens: kept, at: 0, named: None };
        match cursor.tokens.pop() {
            Some(TokenWithSpan { token: Token::SemiColon, .. }) => Ok(cursor),
            _ => Err(SqlError::parse(1, 1, "a statement ends with ';'")),
        }
    }

    /// The position of the first name of a schema or table; the start if there is none.
    pub fn named(&self) -> Location {
        self.named.unwrap_or(START)
    }

    fn place(&self) -> Location {
        let last = self.tokens.last();
        self.tokens.get(self.at).or(last).map_or(START, |t| t.span.start)
    }

    /// A parse error at the current position.
    pub fn error(&self, message: String) -> SqlError {
        let place = self.place();
        SqlError::parse(place.line, place.column, &message)
    }

    fn unexpected(&self, wanted: &str) -> SqlError {
        match self.tokens.get(self.at) {
            Some(found) => self.error(format!("expected {wanted}, found `{}`", found.token)),
            None => self.error(format!("expected {wanted}, found the end")),
        }
    }

    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|t| &t.token)
    }

    /// Takes this token if it is next.
    pub fn take(&mut self, token: &Token) -> bool {
        let found = self.peek(0) == Some(token);
        self.at += usize::from(found);
        found
    }

    /// Takes this token or fails.
    pub fn expect(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.take(token) { Ok(()) } else { Err(self.unexpected(&format!("`{token}`"))) }
    }

    fn is_word(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek(ahead), Some(Token::Word(w)) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
    }

    /// Takes this unquoted word if it is next.
    pub fn take_word(&mut self, word: &str) -> bool {
        self.take_words(&[word])
    }

    /// Takes these unquoted words if all of them are next.
    pub fn take_words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(i, word)| self.is_word(i, word));
        self.at += if found { words.len() } else { 0 };
        found
    }

    /// Takes these words or fails.
    pub fn expect_words(&mut self, words: &[&str]) -> Result<(), SqlError> {
        if self.take_words(words) { Ok(()) } else { Err(self.unexpected(&words.join(" "))) }
    }

    /// Takes a name, back-quoted or not. A few keywords, such as SELECT and TABLE, must be quoted to be names.
    pub fn name(&mut self) -> Result<String, SqlError> {
        let skeleton = |keyword: Keyword| {
            matches!(keyword, Keyword::SELECT | Keyword::FROM | Keyword::TABLE | Keyword::CREATE | Keyword::NOT)
        };
        match self.peek(0) {
            Some(Token::Word(word)) if word.quote_style.is_some() || !skeleton(word.keyword) => {
                let name = word.value.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    /// Takes a name of up to three parts.
    pub fn path(&mut self) -> Result<Vec<String>, SqlError> {
        self.named.get_or_insert(self.place());
        let mut parts = vec![self.name()?];
        while self.take(&Token::Period) {
            parts.push(self.name()?);
        }
        if parts.len() > 3 { Err(self.unexpected("a name of at most three parts")) } else { Ok(parts) }
    }

    /// Takes a text literal in either kind of quotes.
    pub fn text(&mut self) -> Result<String, SqlError> {
        match self.peek(0) {
            Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.unexpected("a text")),
        }
    }

    /// Takes a whole number.
    pub fn number(&mut self) -> Result<i64, SqlError> {
        let negative = self.take(&Token::Minus);
        match self.peek(0) {
            Some(Token::Number(digits, _)) => {
                let value = format!("{}{digits}", if negative { "-" } else { "" })
                    .parse()
                    .map_err(|_| self.unexpected("a whole number"))?;
                self.at += 1;
                Ok(value)
            }
            _ => Err(self.unexpected("a number")),
        }
    }

    /// Takes a partition value: a text or a whole number.
    pub fn value(&mut self) -> Result<String, SqlError> {
        match self.peek(0) {
            Some(Token::Number(..) | Token::Minus) => self.number().map(|n| n.to_string()),
            _ => self.text(),
        }
    }

    /// Whether all tokens were taken.
    pub fn at_end(&self) -> bool {
        self.at == self.tokens.len()
    }

    /// Fails unless all tokens were taken.
    pub fn end(&self) -> Result<(), SqlError> {
        if self.at_end() { Ok(()) } else { Err(self.unexpected("the end of the statement")) }
    }
}
