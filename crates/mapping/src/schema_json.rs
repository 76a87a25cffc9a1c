//! Parses Delta's schema JSON: `metaData.schemaString` of the log, and a single field of it, as in Unity Catalog's `type_json`.

use serde_json::{Map, Value};

use crate::error::MappingError;
use crate::source::{ColumnExtra, SourceColumn, SparkField, SparkType};
use crate::type_text::simple_type;

const CHAR_VARCHAR: &str = "__CHAR_VARCHAR_TYPE_STRING";
const COLLATIONS: &str = "__COLLATIONS";

/// Parses a whole schema, `{"type":"struct","fields":[…]}`.
///
/// # Errors
/// [`MappingError::Schema`] names the field that cannot be read. A type that is only unknown is no error: it becomes
/// [`SparkType::Other`], so that the plan rejects it by name.
pub fn parse_schema(schema_json: &str) -> Result<Vec<SourceColumn>, MappingError> {
    let root = parse_json(schema_json)?;
    if root.get("type").and_then(Value::as_str) != Some("struct") {
        return Err(error("", "the outermost type must be a struct"));
    }
    fields_of(&root, "")?.iter().map(|field| column(field, "")).collect()
}

/// serde_json rejects nesting beyond 128 levels, which bounds the recursion below.
fn parse_json(text: &str) -> Result<Value, MappingError> {
    serde_json::from_str(text).map_err(|e| error("", format!("it is not JSON: {e}")))
}

fn error(path: &str, problem: impl Into<String>) -> MappingError {
    MappingError::Schema { path: path.to_owned(), problem: problem.into() }
}

fn fields_of<'a>(value: &'a Value, path: &str) -> Result<&'a [Value], MappingError> {
    let fields = value.get("fields").and_then(Value::as_array);
    fields.map(Vec::as_slice).ok_or_else(|| error(path, "`fields` is missing"))
}

fn column(value: &Value, path: &str) -> Result<SourceColumn, MappingError> {
    let field = field(value, path)?;
    let metadata = metadata_of(value);
    let text = |key: &str| metadata.and_then(|m| m.get(key)).and_then(Value::as_str).map(str::to_owned);
    let mut extras = Vec::new();
    extras.extend(text("CURRENT_DEFAULT").map(ColumnExtra::Default));
    extras.extend(text("delta.generationExpression").map(ColumnExtra::Generated));
    if metadata.is_some_and(|m| m.keys().any(|key| key.starts_with("delta.identity."))) {
        extras.push(ColumnExtra::Identity);
    }
    let SparkField { name, data_type, nullable, comment } = field;
    Ok(SourceColumn { name, data_type, nullable, comment, extras })
}

fn metadata_of(field: &Value) -> Option<&Map<String, Value>> {
    field.get("metadata").and_then(Value::as_object)
}

fn field(value: &Value, path: &str) -> Result<SparkField, MappingError> {
    let name = value.get("name").and_then(Value::as_str).ok_or_else(|| error(path, "a field has no `name`"))?;
    let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let type_value = value.get("type").ok_or_else(|| error(&path, "`type` is missing"))?;
    let metadata = metadata_of(value);
    let mut data_type = data_type(type_value, &path)?;
    if let Some(text) = metadata.and_then(|m| m.get(CHAR_VARCHAR)).and_then(Value::as_str) {
        match text.parse() {
            Ok(precise) => bound_lengths(&mut data_type, &precise),
            Err(_) => data_type = SparkType::Other(text.to_owned()),
        }
    }
    if let Some(collations) = metadata.and_then(|m| m.get(COLLATIONS)).and_then(Value::as_object) {
        for (at, collation) in collations {
            if let (Some(steps), Some(collation)) = (at.strip_prefix(name), collation.as_str()) {
                let steps: Vec<&str> = steps.split('.').filter(|step| !step.is_empty()).collect();
                collate(&mut data_type, &steps, collation);
            }
        }
    }
    Ok(SparkField {
        name: name.to_owned(),
        data_type,
        nullable: value.get("nullable").and_then(Value::as_bool).unwrap_or(true),
        comment: metadata.and_then(|m| m.get("comment")).and_then(Value::as_str).map(str::to_owned),
    })
}

fn data_type(value: &Value, path: &str) -> Result<SparkType, MappingError> {
    if let Some(name) = value.as_str() {
        let parsed = || name.parse().unwrap_or_else(|_| SparkType::Other(name.to_owned()));
        return Ok(simple_type(name).unwrap_or_else(parsed));
    }
    let part = |key: &str, step: &str| match value.get(key) {
        Some(part) => data_type(part, &format!("{path}.{step}")).map(Box::new),
        None => Err(error(path, format!("`{key}` is missing"))),
    };
    let flag = |key: &str| value.get(key).and_then(Value::as_bool).unwrap_or(true);
    match value.get("type").and_then(Value::as_str) {
        Some("array") => {
            Ok(SparkType::Array { element: part("elementType", "element")?, contains_null: flag("containsNull") })
        }
        Some("map") => Ok(SparkType::Map {
            key: part("keyType", "key")?,
            value: part("valueType", "value")?,
            value_contains_null: flag("valueContainsNull"),
        }),
        Some("struct") => {
            let fields = fields_of(value, path)?.iter().map(|f| field(f, path));
            Ok(SparkType::Struct(fields.collect::<Result<_, _>>()?))
        }
        Some(other) => Ok(SparkType::Other(other.to_owned())),
        None => Err(error(path, "a type is neither a name nor an object with `type`")),
    }
}

/// Takes the lengths of CHAR and VARCHAR from the precise form; nullability and comments stay those of the JSON.
fn bound_lengths(found: &mut SparkType, precise: &SparkType) {
    match (found, precise) {
        (found @ SparkType::String, SparkType::Char(_) | SparkType::Varchar(_)) => *found = precise.clone(),
        (SparkType::Array { element: a, .. }, SparkType::Array { element: b, .. }) => bound_lengths(a, b),
        (SparkType::Map { key: ak, value: av, .. }, SparkType::Map { key: bk, value: bv, .. }) => {
            bound_lengths(ak, bk);
            bound_lengths(av, bv);
        }
        (SparkType::Struct(a), SparkType::Struct(b)) => {
            a.iter_mut().zip(b).for_each(|(a, b)| bound_lengths(&mut a.data_type, &b.data_type));
        }
        _ => {}
    }
}

/// Follows the steps `element`, `key` and `value` down to the text that has the collation.
fn collate(found: &mut SparkType, steps: &[&str], collation: &str) {
    match (steps, found) {
        ([], found @ SparkType::String) => *found = SparkType::CollatedString(collation.to_owned()),
        (["element", rest @ ..], SparkType::Array { element: inner, .. })
        | (["key", rest @ ..], SparkType::Map { key: inner, .. })
        | (["value", rest @ ..], SparkType::Map { value: inner, .. }) => collate(inner, rest, collation),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(field: &str) -> SourceColumn {
        let schema = format!(r#"{{"type":"struct","fields":[{field}]}}"#);
        parse_schema(&schema).expect("reads").remove(0)
    }

    #[test]
    fn metadata_makes_the_type_precise() {
        let plain = one(
            r#"{"name":"c","type":"string","nullable":false,"metadata":{"__CHAR_VARCHAR_TYPE_STRING":"varchar(9)","comment":"x"}}"#,
        );
        assert_eq!(
            (plain.data_type, plain.nullable, plain.comment.as_deref()),
            (SparkType::Varchar(9), false, Some("x"))
        );
        let nested = one(
            r#"{"name":"c","type":{"type":"array","elementType":{"type":"struct","fields":[{"name":"a b","type":"string","nullable":false}]},"containsNull":false},
               "nullable":true,"metadata":{"__CHAR_VARCHAR_TYPE_STRING":"array<struct<a b:char(2)>>"}}"#,
        );
        assert_eq!(nested.data_type.to_string(), "ARRAY<STRUCT<`a b`: CHAR(2) NOT NULL>>");
        let collated = one(
            r#"{"name":"m","type":{"type":"map","keyType":"string","valueType":"string","valueContainsNull":true},"nullable":true,
               "metadata":{"__COLLATIONS":{"m.key":"spark.UTF8_LCASE"}}}"#,
        );
        assert_eq!(collated.data_type.to_string(), "MAP<STRING COLLATE spark.UTF8_LCASE, STRING>");
    }

    #[test]
    fn extras_are_kept() {
        let column = one(
            r#"{"name":"c","type":"long","nullable":true,"metadata":{"CURRENT_DEFAULT":"1","delta.generationExpression":"a+1","delta.identity.start":1}}"#,
        );
        let expected = [ColumnExtra::Default("1".into()), ColumnExtra::Generated("a+1".into()), ColumnExtra::Identity];
        assert_eq!(column.extras, expected);
    }

    #[test]
    fn unknown_types_are_named_and_broken_schemas_are_refused() {
        assert_eq!(one(r#"{"name":"c","type":"geography(4326)"}"#).data_type, SparkType::Other("geography".into()));
        assert_eq!(one(r#"{"name":"c","type":{"type":"udt","class":"x"}}"#).data_type, SparkType::Other("udt".into()));
        assert_eq!(
            one(r#"{"name":"c","type":"interval day to second"}"#).data_type.to_string(),
            "INTERVAL DAY TO SECOND"
        );
        for text in ["", "{}", r#"{"type":"struct"}"#, r#"{"type":"struct","fields":[{"name":"a"}]}"#, "[1]"] {
            assert!(parse_schema(text).is_err(), "{text}");
        }
        let inner = parse_schema(r#"{"type":"struct","fields":[{"name":"a","type":{"type":"array"}}]}"#);
        assert_eq!(
            inner.map_err(|e| e.to_string()),
            Err("the schema of the table cannot be read at `a`: `elementType` is missing".into())
        );
    }
}
