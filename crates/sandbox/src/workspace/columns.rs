//! Columns in Unity Catalog's form, made from the schema of a Delta table.

use serde_json::{Map, Value, json};

use super::delta_log::Metadata;

/// The metadata key under which Spark stores the declared type of a VARCHAR or CHAR column.
const DECLARED_TYPE: &str = "__CHAR_VARCHAR_TYPE_STRING";
/// The deepest nesting that is converted; deeper types are returned as Delta's JSON.
const MAX_DEPTH: usize = 64;

/// The columns of a table; empty if its schema cannot be parsed.
pub fn columns(metadata: &Metadata) -> Vec<Value> {
    let schema: Value = serde_json::from_str(&metadata.schema_string).unwrap_or_default();
    let fields = schema.get("fields").and_then(Value::as_array).cloned().unwrap_or_default();
    fields
        .into_iter()
        .enumerate()
        .map(|(position, field)| column(position, field, &metadata.partition_columns))
        .collect()
}

fn column(position: usize, mut field: Value, partition_columns: &[String]) -> Value {
    strip_mapping(&mut field, 0);
    let name = field.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let data_type = field.get("type").cloned().unwrap_or_default();
    let metadata = field.get("metadata").cloned().unwrap_or_default();
    let declared = metadata.get(DECLARED_TYPE).and_then(Value::as_str);
    let text = declared.map_or_else(|| type_text(&data_type, 0), str::to_owned);
    let (precision, scale) = decimal(&data_type).unwrap_or_default();
    let mut column = json!({
        "name": name,
        "position": position,
        "type_name": type_name(&data_type),
        "type_text": text,
        "type_json": field.to_string(),
        "type_precision": precision,
        "type_scale": scale,
        "nullable": field.get("nullable").and_then(Value::as_bool).unwrap_or(true),
    });
    if let Some(comment) = metadata.get("comment") {
        column["comment"] = comment.clone();
    }
    // Delta compares column names without case.
    if let Some(index) = partition_columns.iter().position(|partition| partition.to_lowercase() == name.to_lowercase())
    {
        column["partition_index"] = json!(index);
    }
    column
}

/// Removes what column mapping adds to each field: Unity Catalog does not show it.
fn strip_mapping(value: &mut Value, depth: usize) {
    if depth > 2 * MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(object) => {
            if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
                metadata.retain(|key, _| !key.starts_with("delta.columnMapping."));
            }
            for key in ["type", "fields", "elementType", "keyType", "valueType"] {
                if let Some(part) = object.get_mut(key) {
                    strip_mapping(part, depth + 1);
                }
            }
        }
        Value::Array(fields) => fields.iter_mut().for_each(|field| strip_mapping(field, depth + 1)),
        _ => {}
    }
}

fn type_name(data_type: &Value) -> &'static str {
    let word = match data_type {
        Value::String(word) => word.as_str(),
        Value::Object(object) => object.get("type").and_then(Value::as_str).unwrap_or_default(),
        _ => "",
    };
    match word {
        "boolean" => "BOOLEAN",
        "byte" => "BYTE",
        "short" => "SHORT",
        "integer" => "INT",
        "long" => "LONG",
        "float" => "FLOAT",
        "double" => "DOUBLE",
        "binary" => "BINARY",
        "date" => "DATE",
        "timestamp" => "TIMESTAMP",
        "timestamp_ntz" => "TIMESTAMP_NTZ",
        "variant" => "VARIANT",
        "void" => "NULL",
        "struct" => "STRUCT",
        "array" => "ARRAY",
        "map" => "MAP",
        _ if word.starts_with("decimal") => "DECIMAL",
        _ if word.starts_with("interval") => "INTERVAL",
        _ if word.starts_with("string") => "STRING",
        _ => "USER_DEFINED_TYPE",
    }
}

fn decimal(data_type: &Value) -> Option<(u8, u8)> {
    let digits = data_type.as_str()?.strip_prefix("decimal(")?.strip_suffix(')')?;
    let (precision, scale) = digits.split_once(',')?;
    Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}

/// Spark's catalog text of a type. Field names are not quoted.
fn type_text(data_type: &Value, depth: usize) -> String {
    if depth > MAX_DEPTH {
        return data_type.to_string();
    }
    let empty = Map::new();
    let object = data_type.as_object().unwrap_or(&empty);
    let part = |name: &str| type_text(object.get(name).unwrap_or(&Value::Null), depth + 1);
    match (data_type, object.get("type").and_then(Value::as_str)) {
        (Value::String(word), _) => match word.as_str() {
            "byte" => "tinyint".to_owned(),
            "short" => "smallint".to_owned(),
            "integer" => "int".to_owned(),
            "long" => "bigint".to_owned(),
            _ => word.replace(", ", ","),
        },
        (_, Some("array")) => format!("array<{}>", part("elementType")),
        (_, Some("map")) => format!("map<{},{}>", part("keyType"), part("valueType")),
        (_, Some("struct")) => {
            let fields = object.get("fields").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let field = |field: &Value| {
                let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
                format!("{name}:{}", type_text(field.get("type").unwrap_or(&Value::Null), depth + 1))
            };
            format!("struct<{}>", fields.iter().map(field).collect::<Vec<_>>().join(","))
        }
        _ => data_type.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(schema: &str, partitions: &[&str]) -> Vec<Value> {
        columns(&Metadata {
            id: "i".to_owned(),
            name: None,
            description: None,
            schema_string: schema.to_owned(),
            partition_columns: partitions.iter().map(|&name| name.to_owned()).collect(),
            configuration: Default::default(),
            created_time: None,
        })
    }

    #[test]
    fn columns_as_unity_catalog_shows_them() {
        let columns = shown(
            r#"{"type":"struct","fields":[
            {"name":"a b","type":"decimal(10,2)","nullable":false,"metadata":{"comment":"c","delta.columnMapping.id":1}},
            {"name":"v","type":"string","nullable":true,"metadata":{"__CHAR_VARCHAR_TYPE_STRING":"varchar(5)"}},
            {"name":"P","type":"integer","nullable":true,"metadata":{}},
            {"name":"n","type":{"type":"map","keyType":"string","valueType":{"type":"struct","fields":[
              {"name":"x","type":"long","nullable":true,"metadata":{"delta.columnMapping.physicalName":"col-1"}}]}},
             "nullable":true,"metadata":{}}]}"#,
            &["p"],
        );
        let texts: Vec<&str> = columns.iter().map(|column| column["type_text"].as_str().unwrap()).collect();
        assert_eq!(texts, ["decimal(10,2)", "varchar(5)", "int", "map<string,struct<x:bigint>>"]);
        let names: Vec<&str> = columns.iter().map(|column| column["type_name"].as_str().unwrap()).collect();
        assert_eq!(names, ["DECIMAL", "STRING", "INT", "MAP"]);
        assert_eq!((&columns[0]["type_precision"], &columns[0]["type_scale"]), (&json!(10), &json!(2)));
        assert_eq!((&columns[0]["comment"], &columns[0]["nullable"]), (&json!("c"), &json!(false)));
        assert_eq!(columns[2]["partition_index"], json!(0));
        assert!(columns[0].get("partition_index").is_none());
        assert!(!columns.iter().any(|column| column["type_json"].as_str().unwrap().contains("columnMapping")));
    }

    #[test]
    fn a_schema_that_is_none_has_no_columns() {
        assert!(shown("{", &[]).is_empty());
    }
}
