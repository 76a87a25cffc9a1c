//! Statistics from the text of a log. Total: a text that is none is as good as none, since statistics are optional.

use serde_json::{Map, Value};

use super::{ColumnStatistics, FileStatistics};

impl FileStatistics {
    /// Reads the `stats` of an `add` action.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let Ok(Value::Object(all)) = serde_json::from_str(text) else { return Self::default() };
        let part = |name: &str| all.get(name).and_then(Value::as_object);
        let mut found = Self {
            rows: all.get("numRecords").and_then(Value::as_u64),
            tight: all.get("tightBounds").and_then(Value::as_bool).unwrap_or(true),
            columns: Vec::new(),
        };
        let parts = Parts { nulls: part("nullCount"), least: part("minValues"), most: part("maxValues") };
        collect(&parts, &mut Vec::new(), &mut found.columns);
        found
    }
}

/// The same struct in each of the three kinds of statistics.
struct Parts<'a> {
    nulls: Option<&'a Map<String, Value>>,
    least: Option<&'a Map<String, Value>>,
    most: Option<&'a Map<String, Value>>,
}

fn collect(parts: &Parts<'_>, path: &mut Vec<String>, columns: &mut Vec<ColumnStatistics>) {
    let mut names: Vec<&String> = Vec::new();
    for name in [parts.nulls, parts.least, parts.most].into_iter().flatten().flat_map(Map::keys) {
        if !names.contains(&name) {
            names.push(name);
        }
        if names.len() >= FileStatistics::COLUMNS_MAX {
            break;
        }
    }
    for name in names {
        if columns.len() >= FileStatistics::COLUMNS_MAX {
            return;
        }
        let of = |part: Option<&Map<String, Value>>| part.and_then(|part| part.get(name)).cloned();
        let (nulls, least, most) = (of(parts.nulls), of(parts.least), of(parts.most));
        path.push(name.clone());
        let inner = Parts {
            nulls: nulls.as_ref().and_then(Value::as_object),
            least: least.as_ref().and_then(Value::as_object),
            most: most.as_ref().and_then(Value::as_object),
        };
        if inner.nulls.is_some() || inner.least.is_some() || inner.most.is_some() {
            collect(&inner, path, columns);
        } else {
            let column = ColumnStatistics {
                path: path.clone(),
                nulls: nulls.as_ref().and_then(Value::as_u64),
                least: bound(least),
                most: bound(most),
            };
            if column.nulls.is_some() || column.least.is_some() || column.most.is_some() {
                columns.push(column);
            }
        }
        path.pop();
    }
}

fn bound(value: Option<Value>) -> Option<String> {
    let value = value.filter(|value| value.is_number() || value.is_string() || value.is_boolean())?;
    Some(value.to_string()).filter(|text| text.len() <= FileStatistics::BOUND_BYTES_MAX)
}
