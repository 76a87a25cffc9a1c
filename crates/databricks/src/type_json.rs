//! Parses `type_json`: Spark's own JSON of a column, unambiguous where the text is not. Pure and bounded in depth.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::spark_type::MAX_DEPTH;
use crate::type_text::parse_type_text;
use crate::{SparkField, SparkType, TypeError};

/// Where Spark keeps the declared type of a VARCHAR or CHAR column, whose JSON type is `string`.
const DECLARED_TYPE: &str = "__CHAR_VARCHAR_TYPE_STRING";

/// The raw `type_json` of a column: one Spark `StructField`, or (older metastores) only its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataTypeJson(String);

impl DataTypeJson {
    /// Takes the source's text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The source's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The column as a field. A bare type has no name (empty here) and counts as nullable.
    pub fn parse(&self) -> Result<SparkField, TypeError> {
        let value: Value = serde_json::from_str(&self.0).map_err(|error| TypeError::new(&self.0, error.to_string()))?;
        let parsed = if value.get("name").is_some() && value.get("type").is_some() {
            field(&value, 0)
        } else {
            data_type(&value, 0).map(|data_type| SparkField {
                name: String::new(),
                data_type,
                nullable: true,
                comment: None,
                metadata: BTreeMap::new(),
            })
        };
        parsed.map_err(|what| TypeError::new(&self.0, what))
    }

    /// A whole schema (`{"type":"struct","fields":[…]}`), as Delta logs hold it.
    pub fn parse_schema(&self) -> Result<Vec<SparkField>, TypeError> {
        let value: Value = serde_json::from_str(&self.0).map_err(|error| TypeError::new(&self.0, error.to_string()))?;
        match data_type(&value, 0).map_err(|what| TypeError::new(&self.0, what))? {
            SparkType::Struct(fields) => Ok(fields),
            other => Err(TypeError::new(&self.0, format!("a schema is a struct, this is {other}"))),
        }
    }
}

fn field(value: &Value, depth: usize) -> Result<SparkField, String> {
    let name = value.get("name").and_then(Value::as_str).ok_or("a field has no name")?;
    let metadata: BTreeMap<String, Value> = match value.get("metadata") {
        Some(Value::Object(entries)) => entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        _ => BTreeMap::new(),
    };
    let json_type = value.get("type").ok_or_else(|| format!("field {name:?} has no type"))?;
    let mut data_type = data_type(json_type, depth)?;
    if let Some(declared) = metadata.get(DECLARED_TYPE).and_then(Value::as_str) {
        let declared = parse_type_text(declared).map_err(|error| error.to_string())?;
        data_type = with_lengths(data_type, declared);
    }
    Ok(SparkField {
        name: name.to_owned(),
        data_type,
        nullable: value.get("nullable").and_then(Value::as_bool).unwrap_or(true),
        comment: metadata.get("comment").and_then(Value::as_str).map(str::to_owned),
        metadata,
    })
}

/// `json` with the lengths of `declared`, where the two agree otherwise: only the JSON knows what may be NULL.
fn with_lengths(json: SparkType, declared: SparkType) -> SparkType {
    match (json, declared) {
        (SparkType::String, declared @ (SparkType::Varchar(_) | SparkType::Char(_))) => declared,
        (SparkType::Array { element, contains_null }, SparkType::Array { element: declared, .. }) => {
            SparkType::Array { element: Box::new(with_lengths(*element, *declared)), contains_null }
        }
        (SparkType::Map { key, value, value_contains_null }, SparkType::Map { key: k, value: v, .. }) => {
            SparkType::Map {
                key: Box::new(with_lengths(*key, *k)),
                value: Box::new(with_lengths(*value, *v)),
                value_contains_null,
            }
        }
        (SparkType::Struct(fields), SparkType::Struct(declared)) if fields.len() == declared.len() => {
            let pairs = fields.into_iter().zip(declared);
            SparkType::Struct(
                pairs.map(|(f, d)| SparkField { data_type: with_lengths(f.data_type, d.data_type), ..f }).collect(),
            )
        }
        (json, _) => json,
    }
}

fn data_type(value: &Value, depth: usize) -> Result<SparkType, String> {
    if depth > MAX_DEPTH {
        return Err("nested too deeply".to_owned());
    }
    match value {
        Value::String(name) => simple(name),
        Value::Object(object) => {
            let part = |name: &str| object.get(name).ok_or_else(|| format!("{name:?} is missing"));
            let flag = |name: &str| object.get(name).and_then(Value::as_bool).unwrap_or(true);
            match object.get("type").and_then(Value::as_str) {
                Some("struct") => {
                    let fields = part("fields")?.as_array().ok_or("\"fields\" is no list")?;
                    Ok(SparkType::Struct(fields.iter().map(|f| field(f, depth + 1)).collect::<Result<_, _>>()?))
                }
                Some("array") => Ok(SparkType::Array {
                    element: Box::new(data_type(part("elementType")?, depth + 1)?),
                    contains_null: flag("containsNull"),
                }),
                Some("map") => Ok(SparkType::Map {
                    key: Box::new(data_type(part("keyType")?, depth + 1)?),
                    value: Box::new(data_type(part("valueType")?, depth + 1)?),
                    value_contains_null: flag("valueContainsNull"),
                }),
                Some(other) => Ok(SparkType::Other(other.to_owned())),
                None => Err("a type object has no \"type\"".to_owned()),
            }
        }
        _ => Err("a type is neither a name nor an object".to_owned()),
    }
}

/// The names that JSON gives to types without parts.
fn simple(name: &str) -> Result<SparkType, String> {
    Ok(match name {
        "boolean" => SparkType::Boolean,
        "byte" => SparkType::Byte,
        "short" => SparkType::Short,
        "integer" => SparkType::Integer,
        "long" => SparkType::Long,
        "float" => SparkType::Float,
        "double" => SparkType::Double,
        "string" => SparkType::String,
        "binary" => SparkType::Binary,
        "date" => SparkType::Date,
        "timestamp" => SparkType::Timestamp,
        "timestamp_ntz" => SparkType::TimestampNtz,
        "variant" => SparkType::Variant,
        "void" | "null" => SparkType::Null,
        "decimal" => SparkType::Decimal { precision: 10, scale: 0 },
        _ if name.starts_with("interval") => SparkType::Interval(name.to_owned()),
        // decimal(p,s), varchar(n), char(n), `string collate x`, geometry(…): written as in DDL. What DDL would read as a
        // container is no simple type.
        _ => match parse_type_text(name).map_err(|error| error.to_string())? {
            SparkType::Array { .. } | SparkType::Map { .. } | SparkType::Struct(_) => SparkType::Other(name.to_owned()),
            parsed => parsed,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> SparkField {
        DataTypeJson::new(text).parse().unwrap()
    }

    #[test]
    fn a_field_with_everything() {
        let field = parse(
            r#"{"name":"p 1","nullable":false,"metadata":{"comment":"why"},"type":{"type":"struct","fields":[
            {"name":"a","type":"decimal(10,2)","nullable":true,"metadata":{}},
            {"name":"b","type":{"type":"map","keyType":"string","valueType":{"type":"array","elementType":"timestamp_ntz",
             "containsNull":false},"valueContainsNull":true},"nullable":true,"metadata":{}}]}}"#,
        );
        assert_eq!((field.name.as_str(), field.nullable, field.comment.as_deref()), ("p 1", false, Some("why")));
        assert_eq!(field.data_type.to_string(), "struct<a:decimal(10,2),b:map<string,array<timestamp_ntz>>>");
    }

    #[test]
    fn declared_lengths_hide_in_metadata() {
        let field = parse(
            r#"{"name":"c","type":"string","nullable":true,"metadata":{"__CHAR_VARCHAR_TYPE_STRING":"varchar(10)"}}"#,
        );
        assert_eq!(field.data_type, SparkType::Varchar(10));
        let field = parse(
            r#"{"name":"c","type":{"type":"array","elementType":"string","containsNull":false},"nullable":true,
            "metadata":{"__CHAR_VARCHAR_TYPE_STRING":"array<char(3)>"}}"#,
        );
        let element = Box::new(SparkType::Char(3));
        assert_eq!(field.data_type, SparkType::Array { element, contains_null: false });
    }

    #[test]
    fn bare_types_and_unknown_types() {
        assert_eq!(parse("\"long\"").data_type, SparkType::Long);
        assert_eq!(
            parse("\"interval day to second\"").data_type,
            SparkType::Interval("interval day to second".to_owned())
        );
        assert_eq!(parse("\"geometry(OGC:CRS84)\"").data_type, SparkType::Other("geometry(OGC:CRS84)".to_owned()));
        assert_eq!(parse(r#"{"type":"udt","class":"x"}"#).data_type, SparkType::Other("udt".to_owned()));
    }

    #[test]
    fn nonsense_is_an_error_and_never_a_panic() {
        for text in
            ["", "{", "5", "[]", r#"{"name":"a"}"#, r#""decimal(99,2)""#, r#"{"type":"array"}"#, "\"array<int\""]
        {
            assert!(DataTypeJson::new(text).parse().is_err(), "{text}");
        }
        let deep = format!("{}\"int\"{}", r#"{"type":"array","elementType":"#.repeat(100), "}".repeat(100));
        assert!(DataTypeJson::new(deep).parse().is_err());
    }
}
