//! Checks the project's own rules for contracts, which no protobuf compiler knows.

use crate::comments;
use prost_reflect::{Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, Value};

/// Reports, all at once: methods without a least role or without "Errors:" in their comment, rules that cannot apply to
/// their field, and bounds that the field's comment does not state. The pool must have been built with source info.
pub fn contracts(pool: &DescriptorPool) -> Result<(), String> {
    let role = pool.get_extension_by_name("mms.type.v1.least_role").ok_or("mms.type.v1.least_role is not defined")?;
    let rules = pool.get_extension_by_name("mms.type.v1.rules").ok_or("mms.type.v1.rules is not defined")?;
    for name in ["mms.type.v1.oneof", "mms.type.v1.method_not_yet"] {
        pool.get_extension_by_name(name).ok_or_else(|| format!("{name} is not defined"))?;
    }
    let mut faults = Vec::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        if method.options().get_extension(&role).as_enum_number().unwrap_or(0) == 0 {
            faults.push(format!("{}: option (mms.type.v1.least_role) is missing", method.full_name()));
        }
        if !comments::tells_errors(&method) {
            faults.push(format!("{}: its comment has no \"Errors:\"", method.full_name()));
        }
    }
    for message in pool.all_messages() {
        for field in message.fields() {
            let options = field.options();
            if let (true, Value::Message(rule)) =
                (options.has_extension(&rules), options.get_extension(&rules).into_owned())
            {
                let found = field_faults(&field, &rule).into_iter().chain(comments::untold(&field, &rule));
                faults.extend(found.map(|fault| format!("{}: {fault}", field.full_name())));
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(format!("the contracts break house rules:\n  {}", faults.join("\n  "))) }
}

/// What a rule applies to: a field, or each key or value of a list or map.
struct Subject {
    kind: Kind,
    many: bool,
    map: bool,
}

fn field_faults(field: &FieldDescriptor, rule: &DynamicMessage) -> Vec<String> {
    let many = field.cardinality() == Cardinality::Repeated;
    rule_faults(&Subject { kind: field.kind(), many, map: field.is_map() }, rule)
}

fn rule_faults(on: &Subject, rule: &DynamicMessage) -> Vec<String> {
    let mut faults = Vec::new();
    // The kind of a map field is its entry message, which no rule for a single value fits.
    let kind = &on.kind;
    let text = *kind == Kind::String;
    let sized = on.many || text || *kind == Kind::Bytes;
    let number = match kind {
        Kind::String | Kind::Bytes | Kind::Bool | Kind::Enum(_) => false,
        Kind::Message(message) => message.full_name() == "google.protobuf.Duration",
        _ => true,
    };
    for set in rule.fields().map(|(set, _)| set) {
        let fits = match set.name() {
            "pattern" | "resource" | "reserved" => text,
            "min_len" | "max_len" => sized,
            "max_bytes" => on.many || matches!(kind, Kind::Message(_)),
            "min" | "max" => number,
            "defined_only" | "not_yet_values" => matches!(kind, Kind::Enum(_)),
            "required" | "output_only" | "immutable" | "not_yet" => true,
            "keys" => on.map,
            "values" => on.many,
            _ => false,
        };
        if !fits {
            faults.push(format!("rule {} does not fit its type", set.name()));
        }
    }
    let get = |name: &str| rule.get_field_by_name(name).and_then(|value| value.as_str().map(str::to_owned));
    if let Some(Err(error)) = get("pattern").map(|pattern| regex::Regex::new(&format!("^(?:{pattern})$"))) {
        faults.push(format!("rule pattern: {error}"));
    }
    if let Some(shape) = get("resource").filter(|shape| !shape.is_empty()) {
        let parts: Vec<_> = shape.split('/').collect();
        let well_formed = parts.len().is_multiple_of(2)
            && parts.chunks(2).all(|pair| {
                pair[0].chars().all(|c| c.is_ascii_alphabetic()) && !pair[0].is_empty() && matches!(pair[1], "*" | "-")
            });
        if !well_formed {
            faults.push(format!("rule resource: {shape:?} is not collection/* pairs"));
        }
    }
    if let Kind::Enum(kind) = kind {
        let known: Vec<String> = kind.values().map(|value| value.name().to_owned()).collect();
        let named = rule.get_field_by_name("not_yet_values");
        for name in named.iter().flat_map(|names| names.as_list()).flatten().filter_map(Value::as_str) {
            if !known.iter().any(|known| known == name) {
                faults.push(format!("rule not_yet_values: {name} is not a value of {}", kind.full_name()));
            }
        }
    }
    for part in ["keys", "values"] {
        let inner = rule.has_field_by_name(part).then(|| rule.get_field_by_name(part)).flatten();
        let Some(inner) = inner.as_deref().and_then(Value::as_message) else { continue };
        let kind = match (kind, part) {
            (Kind::Message(entry), "keys") if on.map => entry.map_entry_key_field().kind(),
            (Kind::Message(entry), _) if on.map => entry.map_entry_value_field().kind(),
            (kind, _) => kind.clone(),
        };
        let inside = rule_faults(&Subject { kind, many: false, map: false }, inner);
        faults.extend(inside.into_iter().map(|fault| format!("{part}: {fault}")));
    }
    faults
}
