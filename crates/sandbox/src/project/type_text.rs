//! Types as text, parsed and printed. The code is separate from our client's, so that the client is tested against
//! another parser and printer.

use mms_maxcompute::types::{DataType, StructField};
use sqlparser::tokenizer::Token;

use super::sql::tokens::{Cursor, SqlError};

fn plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A type as the service writes it in answers: in lower case, with field names as declared.
pub fn type_text(data_type: &DataType) -> String {
    match data_type {
        DataType::TinyInt => "tinyint".into(),
        DataType::SmallInt => "smallint".into(),
        DataType::Int => "int".into(),
        DataType::BigInt => "bigint".into(),
        DataType::Float => "float".into(),
        DataType::Double => "double".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
        DataType::String => "string".into(),
        DataType::Varchar(n) => format!("varchar({n})"),
        DataType::Char(n) => format!("char({n})"),
        DataType::Binary => "binary".into(),
        DataType::Date => "date".into(),
        DataType::Datetime => "datetime".into(),
        DataType::Timestamp => "timestamp".into(),
        DataType::TimestampNtz => "timestamp_ntz".into(),
        DataType::Json => "json".into(),
        DataType::Array(item) => format!("array<{}>", type_text(item)),
        DataType::Map(key, value) => format!("map<{},{}>", type_text(key), type_text(value)),
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|f| {
                    let name = if plain(&f.name) { f.name.clone() } else { format!("`{}`", f.name.replace('`', "``")) };
                    format!("{name}:{}", type_text(&f.data_type))
                })
                .collect();
            format!("struct<{}>", fields.join(","))
        }
    }
}

fn number(cursor: &mut Cursor, min: u32, max: u32, what: &str) -> Result<u32, SqlError> {
    let value = cursor.number()?;
    if (i64::from(min)..=i64::from(max)).contains(&value) {
        u32::try_from(value).map_err(|_| cursor.error(format!("{what} {value}")))
    } else {
        Err(cursor.error(format!("{what} {value} is not within {min}..{max}")))
    }
}

fn decimal(cursor: &mut Cursor) -> Result<DataType, SqlError> {
    let (mut precision, mut scale) = (38, 18);
    if cursor.take(&Token::LParen) {
        precision = number(cursor, 1, 38, "decimal precision")?;
        scale = 0;
        if cursor.take(&Token::Comma) {
            scale = number(cursor, 0, 18, "decimal scale")?;
        }
        cursor.expect(&Token::RParen)?;
    }
    if scale > precision {
        return Err(cursor.error(format!("decimal({precision},{scale}): the scale is above the precision")));
    }
    let small = |n: u32| u8::try_from(n).unwrap_or(u8::MAX);
    Ok(DataType::Decimal { precision: small(precision), scale: small(scale) })
}

fn length(cursor: &mut Cursor, max: u32) -> Result<u32, SqlError> {
    cursor.expect(&Token::LParen)?;
    let n = number(cursor, 1, max, "length")?;
    cursor.expect(&Token::RParen)?;
    Ok(n)
}

fn fields(cursor: &mut Cursor, depth: u8) -> Result<DataType, SqlError> {
    let mut fields: Vec<StructField> = Vec::new();
    loop {
        let name = cursor.name()?;
        if fields.iter().any(|f| f.name.eq_ignore_ascii_case(&name)) {
            return Err(cursor.error(format!("struct field `{name}` is declared twice")));
        }
        cursor.expect(&Token::Colon)?;
        fields.push(StructField { name, data_type: parse(cursor, depth)? });
        // The comment of a field is accepted and not kept, as by the service.
        if cursor.take_word("COMMENT") {
            cursor.text()?;
        }
        if !cursor.take(&Token::Comma) {
            break;
        }
    }
    Ok(DataType::Struct(fields))
}

/// Parses a type from SQL.
pub fn parse_type(cursor: &mut Cursor) -> Result<DataType, SqlError> {
    parse(cursor, 0)
}

fn parse(cursor: &mut Cursor, depth: u8) -> Result<DataType, SqlError> {
    if depth > 20 {
        return Err(cursor.error("types are nested more than 20 deep".to_owned()));
    }
    let word = cursor.name()?.to_ascii_uppercase();
    Ok(match word.as_str() {
        "TINYINT" => DataType::TinyInt,
        "SMALLINT" => DataType::SmallInt,
        "INT" => DataType::Int,
        "BIGINT" => DataType::BigInt,
        "FLOAT" => DataType::Float,
        "DOUBLE" => DataType::Double,
        "BOOLEAN" => DataType::Boolean,
        "DECIMAL" => decimal(cursor)?,
        "STRING" => DataType::String,
        "VARCHAR" => DataType::Varchar(length(cursor, 65_535)?),
        "CHAR" => DataType::Char(length(cursor, 255)?),
        "BINARY" => DataType::Binary,
        "DATE" => DataType::Date,
        "DATETIME" => DataType::Datetime,
        "TIMESTAMP" => DataType::Timestamp,
        "TIMESTAMP_NTZ" => DataType::TimestampNtz,
        "JSON" => DataType::Json,
        "ARRAY" | "MAP" | "STRUCT" => {
            cursor.expect(&Token::Lt)?;
            let data_type = match word.as_str() {
                "ARRAY" => DataType::Array(Box::new(parse(cursor, depth + 1)?)),
                "MAP" => {
                    let key = Box::new(parse(cursor, depth + 1)?);
                    cursor.expect(&Token::Comma)?;
                    DataType::Map(key, Box::new(parse(cursor, depth + 1)?))
                }
                _ => fields(cursor, depth + 1)?,
            };
            cursor.expect(&Token::Gt)?;
            data_type
        }
        other => return Err(cursor.error(format!("unknown type {other}"))),
    })
}
