//! Describes the parameters of a data source for a console that builds a form, with the labels of the managed service. What the
//! contract says about a field (required, immutable, secret, bounds, enum values, members of a oneof, parts of a message) is read
//! from its descriptor and must not be repeated in the rows here.

mod rows;

use std::sync::Arc;

use mms_proto::registry::v1 as pb;
use mms_proto::{descriptor, rules};
use pb::ConfigItemType as Type;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor};
use rows::{BASIC, OTHER, Row};
use rules::Rules;

/// All parameters, in the order of the form. The fields of a list of messages are the items of the list's parameter.
pub fn all() -> Vec<pb::ConfigItem> {
    let groups = [(pb::ConfigGroup::Basic, BASIC), (pb::ConfigGroup::Other, OTHER)];
    let mut all: Vec<pb::ConfigItem> = Vec::new();
    for (group, rows) in groups {
        for item in rows.iter().filter_map(|row| described(group, row)) {
            let list = all.iter_mut().find(|list| list.r#type() == Type::MessageList && below(&item.key, &list.key));
            match list {
                Some(list) => list.items.push(item),
                None => all.push(item),
            }
        }
    }
    all
}

fn below(key: &str, above: &str) -> bool {
    key.strip_prefix(above).is_some_and(|rest| rest.starts_with('.'))
}

/// The description of a parameter that has a row.
fn described(group: pb::ConfigGroup, row: &Row) -> Option<pb::ConfigItem> {
    let (key, label, description, default_value, depends_on) = *row;
    let item = match find(key) {
        Some((field, rules, not_yet)) => {
            let mut item = item(key, &field, &rules, not_yet);
            // Required in the form: the contract does not require secrets, because stored ones need not be sent again.
            item.required |= rules.secret && !key.ends_with("security_token");
            // The fields of this list have rows of their own.
            if item.r#type() == Type::MessageList && key == "databricks.storage" {
                item.required = true;
                item.items.clear();
            }
            item
        }
        None => choice_of(key)?,
    };
    Some(pb::ConfigItem {
        label: label.into(),
        description: description.into(),
        group: group as i32,
        default_value: default_value.into(),
        depends_on: depends_on.into(),
        ..item
    })
}

/// What the contract says about a field; the row adds the rest.
fn item(key: &str, field: &FieldDescriptor, rules: &Rules, not_yet: bool) -> pb::ConfigItem {
    let (r#type, items) = kind(key, field, rules);
    let enum_values = match field.kind() {
        Kind::Enum(kind) => kind.values().skip(1).map(|value| value.name().to_owned()).collect(),
        _ => Vec::new(),
    };
    let length = |bound: u64| i64::try_from(bound).unwrap_or(i64::MAX);
    pb::ConfigItem {
        key: key.into(),
        label: words(field.name()),
        description: descriptor::comment(&field.parent_file(), field.path()),
        r#type: r#type as i32,
        required: rules.required,
        editable: !rules.immutable,
        enum_values,
        not_yet,
        not_yet_values: rules.not_yet_values.clone(),
        min: rules.min,
        max: rules.max,
        min_length: length(rules.min_len),
        max_length: length(rules.max_len),
        pattern: rules.pattern.as_ref().map(|(pattern, _)| pattern.clone()).unwrap_or_default(),
        items,
        ..pb::ConfigItem::default()
    }
}

/// The label for a field name: "time_zone" becomes "Time Zone".
fn words(name: &str) -> String {
    let word = |word: &str| word.get(..1).map_or_else(String::new, |first| first.to_uppercase() + &word[1..]);
    name.split('_').map(word).collect::<Vec<_>>().join(" ")
}

/// The type of a field, and the items that describe its parts.
fn kind(key: &str, field: &FieldDescriptor, rules: &Rules) -> (Type, Vec<pb::ConfigItem>) {
    let part = |rules: Option<&Arc<Rules>>, kind: &Kind| {
        let rules = rules.map(|rules| Rules::clone(rules)).unwrap_or_default();
        pb::ConfigItem { key: String::new(), r#type: single(kind, rules.secret) as i32, ..item_of(&rules) }
    };
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let keys = part(rules.keys.as_ref(), &entry.map_entry_key_field().kind());
            (Type::Map, vec![keys, part(rules.values.as_ref(), &entry.map_entry_value_field().kind())])
        }
        Kind::Message(message) if message.full_name() == "google.protobuf.Duration" => (Type::Duration, Vec::new()),
        Kind::Message(message) => {
            let many = if field.is_list() { Type::MessageList } else { Type::Message };
            (many, fields(key, &message))
        }
        kind if field.is_list() => {
            let own = rules.values.clone().or_else(|| Some(Arc::new(Rules { max_len: 0, ..rules.clone() })));
            (Type::List, vec![part(own.as_ref(), &kind)])
        }
        kind => (single(&kind, rules.secret), Vec::new()),
    }
}

/// The bounds of a value that has no field of its own, such as an element of a list.
fn item_of(rules: &Rules) -> pb::ConfigItem {
    let length = |bound: u64| i64::try_from(bound).unwrap_or(i64::MAX);
    pb::ConfigItem {
        editable: true,
        min: rules.min,
        max: rules.max,
        min_length: length(rules.min_len),
        max_length: length(rules.max_len),
        pattern: rules.pattern.as_ref().map(|(pattern, _)| pattern.clone()).unwrap_or_default(),
        ..pb::ConfigItem::default()
    }
}

fn single(kind: &Kind, secret: bool) -> Type {
    match kind {
        _ if secret => Type::Secret,
        Kind::Bool => Type::Bool,
        Kind::Float | Kind::Double => Type::Double,
        Kind::Enum(_) => Type::Enum,
        Kind::String | Kind::Bytes => Type::String,
        Kind::Message(_) => Type::Message,
        _ => Type::Int,
    }
}

/// The items of a message's fields. The item of a oneof comes before its members.
fn fields(at: &str, message: &MessageDescriptor) -> Vec<pb::ConfigItem> {
    let mut items = Vec::new();
    for (field, rules) in rules::of(message).iter().filter(|(_, rules)| !rules.output_only) {
        let mut own = item(&format!("{at}.{}", field.name()), field, rules, rules.not_yet);
        if let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
            let key = format!("{at}.{}", oneof.name());
            if !items.iter().any(|item: &pb::ConfigItem| item.key == key) {
                items.push(choice(&key, message, &oneof));
            }
            own.depends_on = format!("{key}={}", field.name());
        }
        items.push(own);
    }
    items
}

/// The description of a oneof that has a row.
fn choice_of(key: &str) -> Option<pb::ConfigItem> {
    let (parent, name) = key.rsplit_once('.')?;
    let Kind::Message(message) = find(parent)?.0.kind() else { return None };
    let oneof = message.oneofs().find(|oneof| oneof.name() == name)?;
    Some(choice(key, &message, &oneof))
}

/// The item of a oneof; its values are the names of its members.
fn choice(key: &str, message: &MessageDescriptor, oneof: &OneofDescriptor) -> pb::ConfigItem {
    let ways: Vec<String> = oneof.fields().map(|field| field.name().to_owned()).collect();
    let undone = |way: &&String| rules::of(message).iter().any(|(field, rules)| field.name() == *way && rules.not_yet);
    pb::ConfigItem {
        key: key.into(),
        label: words(oneof.name()),
        description: descriptor::comment(&message.parent_file(), oneof.path()),
        r#type: Type::Choice as i32,
        required: rules::required_oneofs(message).contains(oneof),
        editable: true,
        not_yet_values: ways.iter().filter(undone).cloned().collect(),
        enum_values: ways,
        ..pb::ConfigItem::default()
    }
}

/// The field at a path, its rules, and whether this version rejects it: the field itself, one that contains it, or every field in
/// it.
fn find(path: &str) -> Option<(FieldDescriptor, Rules, bool)> {
    let mut message = descriptor::message::<pb::DataSource>();
    let (mut found, mut not_yet) = (None, false);
    for name in path.split('.') {
        let entry = rules::of(&message).iter().find(|(field, _)| field.name() == name).cloned()?;
        if let Kind::Message(inner) = entry.0.kind() {
            message = inner;
        }
        not_yet |= entry.1.not_yet;
        found = Some(entry);
    }
    let (field, own) = found?;
    let inside = match field.kind() {
        Kind::Message(inner) if !field.is_map() => rules::of(&inner).iter().all(|(_, rules)| rules.not_yet),
        _ => false,
    };
    let empty = matches!(field.kind(), Kind::Message(inner) if inner.fields().next().is_none());
    Some((field, own, not_yet || (inside && !empty)))
}

#[cfg(test)]
#[path = "items_tests.rs"]
mod tests;
