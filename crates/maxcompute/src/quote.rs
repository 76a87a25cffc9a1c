//! The one place where text becomes SQL: identifiers, types and string literals. No other module may quote by itself.

use crate::name::{ColumnName, SchemaName};
use crate::table::TableRef;
use crate::types::{DataType, StructField};

/// A name as an identifier, always in back quotes, so that reserved words are legal too.
#[must_use]
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A column as an identifier.
#[must_use]
pub fn column(name: &ColumnName) -> String {
    identifier(name.as_str())
}

/// A type as a statement writes it. Unlike in the type's own text, every field of a STRUCT is in back quotes, so that a field may
/// have any name, keywords included.
#[must_use]
pub fn data_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Array(item) => format!("ARRAY<{}>", self::data_type(item)),
        DataType::Map(key, value) => format!("MAP<{},{}>", self::data_type(key), self::data_type(value)),
        DataType::Struct(fields) => {
            let field =
                |field: &StructField| format!("{}:{}", identifier(&field.name), self::data_type(&field.data_type));
            format!("STRUCT<{}>", fields.iter().map(field).collect::<Vec<_>>().join(","))
        }
        plain => plain.to_string(),
    }
}

/// The full address of a table, each part quoted.
#[must_use]
pub fn table(target: &TableRef) -> String {
    let schema = target.schema.as_ref().map(SchemaName::as_str);
    [Some(target.project.as_str()), schema, Some(target.table.as_str())]
        .into_iter()
        .flatten()
        .map(identifier)
        .collect::<Vec<_>>()
        .join(".")
}

/// A text as a string literal in single quotes.
#[must_use]
pub fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0' => out.push_str("\\0"),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a literal, by the rules of the manual and independently of [`literal`].
    fn read(sql: &str) -> (String, &str) {
        let mut chars = sql.char_indices();
        assert_eq!(chars.next(), Some((0, '\'')));
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                '\'' => return (text, &sql[at + 1..]),
                '\\' => match chars.next().unwrap().1 {
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    '0' => text.push('\0'),
                    other => text.push(other),
                },
                c => text.push(c),
            }
        }
        panic!("no closing quote in {sql}");
    }

    proptest! {
        #[test]
        fn a_literal_reads_back_and_ends_where_it_should(text in any::<String>(), tail in "[ -~]{0,5}") {
            let sql = format!("{}{tail}", literal(&text));
            prop_assert_eq!(read(&sql), (text, tail.as_str()));
        }
    }

    #[test]
    fn the_fields_of_a_type_are_quoted_and_the_type_is_the_same() {
        for text in ["BIGINT", "ARRAY<STRUCT<select:STRING,`a``b`:MAP<STRING,STRUCT<x:DECIMAL(10,2)>>>>"] {
            let parsed: DataType = text.parse().unwrap();
            assert_eq!(data_type(&parsed).parse::<DataType>().unwrap(), parsed, "{text}");
        }
        let nested: DataType = "MAP<STRING,ARRAY<STRUCT<order:INT>>>".parse().unwrap();
        assert_eq!(data_type(&nested), "MAP<STRING,ARRAY<STRUCT<`order`:INT>>>");
    }

    #[test]
    fn identifiers_cannot_break_out() {
        assert_eq!(identifier("select"), "`select`");
        assert_eq!(identifier("a`; DROP"), "`a``; DROP`");
    }
}
