//! Finds the set fields of a message that the contract has and this version does not implement, by the options of the
//! contract.

use prost_reflect::{DynamicMessage, Kind, ReflectMessage, Value};

use super::{below, map_key};
use crate::rules::{self, Rules};

/// Their paths, in the order of the contract; where only a value of an enum is not implemented, the path and the value.
pub(super) fn paths(message: &DynamicMessage) -> Vec<String> {
    let mut found = Vec::new();
    fields("", message, &mut found);
    found
}

fn fields(at: &str, message: &DynamicMessage, found: &mut Vec<String>) {
    for (field, rules) in rules::of(&message.descriptor()).iter().filter(|(_, rules)| !rules.output_only) {
        if !message.has_field(field) {
            continue;
        }
        let path = below(at, field.name());
        if rules.not_yet {
            found.push(path);
            continue;
        }
        match message.get_field(field).as_ref() {
            Value::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    single(&format!("{path}[{at}]"), &field.kind(), rules, item, found);
                }
            }
            Value::Map(entries) => {
                let mut entries: Vec<_> = entries.iter().map(|(key, value)| (map_key(key), value)).collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                for (key, value) in entries {
                    single(&format!("{path}[{key}]"), &field.kind(), rules, value, found);
                }
            }
            value => single(&path, &field.kind(), rules, value, found),
        }
    }
}

fn single(path: &str, kind: &Kind, rules: &Rules, value: &Value, found: &mut Vec<String>) {
    match (value, kind) {
        (Value::Message(inner), _) => fields(path, inner, found),
        (Value::EnumNumber(number), Kind::Enum(kind)) => {
            let name = kind.get_value(*number).map(|value| value.name().to_owned());
            found.extend(name.filter(|name| rules.not_yet_values.contains(name)).map(|name| format!("{path} {name}")));
        }
        _ => {}
    }
}
