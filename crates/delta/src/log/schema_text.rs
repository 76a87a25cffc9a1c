//! The schema of a table as the log has it, and a copy without what the kernel cannot parse. One column of a type that is
//! newer than this program, or nested too deep for a parser, must not make the other columns unreadable: it is named and the
//! rest is read. Pure.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::Map;

/// Most levels of JSON that the kernel's parser is given; serde_json stops at 128.
const DEPTH_MAX: usize = 100;
/// Replaces a type that cannot be parsed. No value is ever read as it: the plan blocks the column.
const STAND_IN: &str = "string";

/// Levels that replace a deeper nesting. No target accepts as many, so the plan blocks the column.
const LEVELS_KEPT: usize = 30;

/// A column whose values cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableColumn {
    /// Name of the column in the table.
    pub name: String,
    /// Its type as the log names it, or what is wrong with it.
    pub what: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SchemaText {
    /// The schema that the kernel parses.
    pub readable: String,
    /// The schema as the log has it, except that columns nested too deep have [`LEVELS_KEPT`] levels.
    pub whole: String,
    pub unreadable: Vec<UnreadableColumn>,
}

impl SchemaText {
    /// Reads the text of `metaData.schemaString`. A text that is not a schema stays as it is: the kernel reports what is
    /// wrong.
    pub(crate) fn of(text: &str) -> Self {
        let as_it_is = || Self { readable: text.to_owned(), whole: text.to_owned(), unreadable: Vec::new() };
        let (flat, deep) =
            if depth(text) > DEPTH_MAX { without_deep_columns(text) } else { (text.to_owned(), Vec::new()) };
        let Ok(mut schema) = serde_json::from_str::<Value>(&flat) else { return as_it_is() };
        let mut unreadable = deep;
        let Some(fields) = schema.get_mut("fields").and_then(Value::as_array_mut) else { return as_it_is() };
        for field in fields.iter_mut().filter_map(Value::as_object_mut) {
            let name = field.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            if unreadable.iter().any(|column| column.name == name) {
                field.insert("type".to_owned(), Value::String(STAND_IN.to_owned()));
                continue;
            }
            let Some(data_type) = field.get_mut("type") else { continue };
            if let Some(what) = replace_unknown(data_type) {
                unreadable.push(UnreadableColumn { name, what });
            }
        }
        if unreadable.is_empty() {
            return as_it_is();
        }
        Self { readable: schema.to_string(), whole: flat, unreadable }
    }
}

/// Replaces the types that the kernel does not know, and returns the first of their names.
fn replace_unknown(data_type: &mut Value) -> Option<String> {
    let replace = |data_type: &mut Value, what: String| {
        *data_type = Value::String(STAND_IN.to_owned());
        Some(what)
    };
    let kind = data_type.get("type").and_then(Value::as_str).map(str::to_owned);
    match (data_type.as_str().map(str::to_owned), kind.as_deref()) {
        (Some(name), _) if is_known(&name) => None,
        (Some(name), _) => replace(data_type, name),
        (None, Some("struct")) => {
            let fields = data_type.get_mut("fields")?.as_array_mut()?;
            let unknown = fields.iter_mut().filter_map(|field| field.get_mut("type")).filter_map(replace_unknown);
            first(unknown)
        }
        (None, Some("array")) => replace_unknown(data_type.get_mut("elementType")?),
        (None, Some("map")) => {
            let key = data_type.get_mut("keyType").and_then(replace_unknown);
            let value = data_type.get_mut("valueType").and_then(replace_unknown);
            key.or(value)
        }
        (None, Some(other)) => replace(data_type, other.to_owned()),
        (None, None) => replace(data_type, "no type at all".to_owned()),
    }
}

/// The first item, after all were evaluated.
fn first(all: impl Iterator<Item = String>) -> Option<String> {
    all.collect::<Vec<_>>().into_iter().next()
}

fn is_known(name: &str) -> bool {
    let plain = [
        "string",
        "long",
        "integer",
        "short",
        "byte",
        "float",
        "double",
        "boolean",
        "binary",
        "date",
        "timestamp",
        "timestamp_ntz",
        "variant",
    ];
    plain.contains(&name) || is_decimal(name)
}

fn is_decimal(name: &str) -> bool {
    let digits = name.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')'));
    let numbers = digits.and_then(|digits| digits.split_once(','));
    let parsed = numbers.and_then(|(p, s)| Some((p.trim().parse::<u8>().ok()?, s.trim().parse::<u8>().ok()?)));
    name == "decimal" || parsed.is_some_and(|(precision, scale)| (1..=38).contains(&precision) && scale <= precision)
}

/// How many levels a text of JSON nests.
fn depth(text: &str) -> usize {
    let (mut now, mut most, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' if !quoted => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// The schema with a replacement for the type of each column that nests too deep. serde_json skips what is not asked for
/// without recursion, so that depth does no harm here.
fn without_deep_columns(text: &str) -> (String, Vec<UnreadableColumn>) {
    #[derive(Deserialize)]
    struct Named {
        name: String,
        #[serde(default)]
        nullable: bool,
        #[serde(default)]
        metadata: Map<String, Value>,
    }
    let mut columns = Vec::new();
    let mut fields: Vec<String> = Vec::new();
    for field in top_fields(text) {
        if depth(field) + 2 <= DEPTH_MAX {
            fields.push(field.to_owned());
            continue;
        }
        let Ok(named) = serde_json::from_str::<Named>(field) else { return (text.to_owned(), Vec::new()) };
        let what = format!("a type nested more than {LEVELS_KEPT} levels deep");
        let flat = serde_json::json!({
            "name": named.name, "type": deep_stand_in(), "nullable": named.nullable, "metadata": named.metadata
        });
        fields.push(flat.to_string());
        columns.push(UnreadableColumn { name: named.name, what });
    }
    (format!(r#"{{"type":"struct","fields":[{}]}}"#, fields.join(",")), columns)
}

fn deep_stand_in() -> Value {
    (0..LEVELS_KEPT).fold(
        Value::String(STAND_IN.to_owned()),
        |inner, _| serde_json::json!({ "type": "array", "elementType": inner, "containsNull": true }),
    )
}

/// The texts of the outermost fields: the objects at the third level of the text.
fn top_fields(text: &str) -> Vec<&str> {
    let (mut now, mut begin, mut quoted, mut escaped) = (0_usize, 0, false, false);
    let mut found = Vec::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                now += 1;
                if now == 3 && byte == b'{' {
                    begin = at;
                }
            }
            b'}' | b']' if !quoted => {
                if now == 3 && byte == b'}' {
                    found.extend(text.get(begin..=at));
                }
                now = now.saturating_sub(1);
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: &str) -> String {
        format!(r#"{{"type":"struct","fields":[{fields}]}}"#)
    }

    fn column(name: &str, data_type: &str) -> String {
        format!(r#"{{"name":"{name}","type":{data_type},"nullable":true,"metadata":{{}}}}"#)
    }

    #[test]
    fn what_the_kernel_parses_stays_to_the_letter() {
        for data_type in
            [r#""long""#, r#""decimal(38,18)""#, r#"{"type":"array","elementType":"date","containsNull":true}"#]
        {
            let text = schema(&column("a", data_type));
            let found = SchemaText::of(&text);
            assert_eq!((&found.readable, &found.whole, found.unreadable.len()), (&text, &text, 0));
        }
        assert_eq!(SchemaText::of("no json").readable, "no json");
    }

    #[test]
    fn a_type_that_is_not_known_is_named_and_the_rest_stays() {
        let nested = r#"{"type":"map","keyType":"string","valueType":{"type":"struct","fields":[{"name":"i","type":"geometry(4326)"}]}}"#;
        let text =
            schema(&[column("a", r#""long""#), column("m", nested), column("d", r#""decimal(39,1)""#)].join(","));
        let found = SchemaText::of(&text);
        let named: Vec<_> = found.unreadable.iter().map(|c| (c.name.as_str(), c.what.as_str())).collect();
        assert_eq!(named, [("m", "geometry(4326)"), ("d", "decimal(39,1)")]);
        assert_eq!(found.whole, text);
        assert!(!found.readable.contains("geometry") && found.readable.contains(r#""name":"a""#), "{}", found.readable);
    }

    #[test]
    fn depth_costs_the_column_that_has_it_and_no_other() {
        let mut deep = r#""long""#.to_owned();
        for _ in 0..400 {
            deep = format!(r#"{{"type":"struct","fields":[{}]}}"#, column("s", &deep));
        }
        let text = schema(&[column("id", r#""long""#), column("d", &deep)].join(","));
        let found = SchemaText::of(&text);
        assert_eq!(found.unreadable.len(), 1);
        assert_eq!(found.unreadable[0].name, "d");
        assert!(found.unreadable[0].what.contains("nested"), "{}", found.unreadable[0].what);
        assert!(depth(&found.readable) < 10 && (LEVELS_KEPT..DEPTH_MAX).contains(&depth(&found.whole)));
    }
}
