//! Hides secrets: a field marked `debug_redact` in the contracts never shows in `Debug` or in printed JSON.

use std::fmt;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};

/// The text that is shown in place of a secret.
pub const HIDDEN: &str = "***";

/// Whether a field holds a secret.
pub fn is_secret(field: &FieldDescriptor) -> bool {
    field.options().get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true))
}

/// Replaces every secret in the message, at any depth: texts by [`HIDDEN`], all other values by nothing.
pub fn hide_secrets(message: &mut DynamicMessage) {
    let secrets: Vec<_> = message.fields().map(|(field, _)| field).filter(is_secret).collect();
    for field in secrets {
        if field.kind() == Kind::String && !field.is_list() && !field.is_map() {
            message.set_field(&field, Value::String(HIDDEN.into()));
        } else {
            message.clear_field(&field);
        }
    }
    for (_, value) in message.fields_mut() {
        hide_in_value(value);
    }
}

fn hide_in_value(value: &mut Value) {
    match value {
        Value::Message(message) => hide_secrets(message),
        Value::List(items) => items.iter_mut().for_each(hide_in_value),
        Value::Map(entries) => entries.values_mut().for_each(hide_in_value),
        _ => {}
    }
}

/// The `Debug` that the build generates for messages with secrets.
pub(crate) fn debug_message<T: prost::Message + prost::Name>(message: &T, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut dynamic = DynamicMessage::new(crate::descriptor::message::<T>());
    match dynamic.transcode_from(message) {
        Ok(()) => debug_dynamic(&dynamic, f),
        Err(_) => f.write_str(HIDDEN),
    }
}

fn debug_dynamic(message: &DynamicMessage, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let descriptor = message.descriptor();
    let mut shown = f.debug_struct(descriptor.name());
    for (field, value) in message.fields() {
        if is_secret(&field) {
            shown.field(field.name(), &format_args!("{HIDDEN}"));
        } else {
            shown.field(field.name(), &Shown(value));
        }
    }
    shown.finish()
}

struct Shown<'a>(&'a Value);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Bool(value) => value.fmt(f),
            Value::I32(value) | Value::EnumNumber(value) => value.fmt(f),
            Value::I64(value) => value.fmt(f),
            Value::U32(value) => value.fmt(f),
            Value::U64(value) => value.fmt(f),
            Value::F32(value) => value.fmt(f),
            Value::F64(value) => value.fmt(f),
            Value::String(value) => value.fmt(f),
            Value::Bytes(value) => write!(f, "{} bytes", value.len()),
            Value::Message(message) => debug_dynamic(message, f),
            Value::List(items) => f.debug_list().entries(items.iter().map(Shown)).finish(),
            Value::Map(entries) => {
                f.debug_map().entries(entries.iter().map(|(key, value)| (ShownKey(key), Shown(value)))).finish()
            }
        }
    }
}

struct ShownKey<'a>(&'a MapKey);

impl fmt::Debug for ShownKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            MapKey::Bool(key) => key.fmt(f),
            MapKey::I32(key) => key.fmt(f),
            MapKey::I64(key) => key.fmt(f),
            MapKey::U32(key) => key.fmt(f),
            MapKey::U64(key) => key.fmt(f),
            MapKey::String(key) => key.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_reflect::MessageDescriptor;

    use super::*;

    const CANARY: &str = "canary-9f2c";

    fn shown<T: prost::Message + Default + fmt::Debug>(encoded: &[u8]) -> Result<String, prost::DecodeError> {
        T::decode(encoded).map(|message| format!("{message:?} {message:#?}"))
    }

    include!(concat!(env!("OUT_DIR"), "/dispatch.rs"));

    /// A value for a field, or for the values of a map: the canary in secrets, messages filled; `None` for all else.
    fn value(kind: &Kind, secret: bool, choice: usize, depth: usize) -> Option<Value> {
        match kind {
            Kind::String if secret => Some(Value::String(CANARY.into())),
            Kind::Bytes if secret => Some(Value::Bytes(CANARY.into())),
            Kind::Message(inner) if depth < 6 => Some(Value::Message(filled(inner, choice, depth + 1))),
            _ => None,
        }
    }

    /// Fills a message everywhere with one value: one entry in lists and maps, every message present, and of each
    /// oneof, at any depth, the member number `choice` (modulo the number of members).
    fn filled(descriptor: &MessageDescriptor, choice: usize, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            if let Some(oneof) = field.containing_oneof() {
                let members: Vec<_> = oneof.fields().collect();
                if members.iter().position(|member| *member == field) != Some(choice % members.len()) {
                    continue;
                }
            }
            let secret = is_secret(&field);
            if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
                let key = DynamicMessage::new(entry.clone()).get_field(&entry.map_entry_key_field()).into_owned();
                let kind = entry.map_entry_value_field().kind();
                let key = key.into_map_key().expect("a key of a map is one");
                if let Some(value) = value(&kind, secret, choice, depth) {
                    message.set_field(&field, Value::Map([(key, value)].into()));
                }
            } else if let Some(value) = value(&field.kind(), secret, choice, depth) {
                message.set_field(&field, if field.is_list() { Value::List(vec![value]) } else { value });
            }
        }
        message
    }

    /// The message filled once for each member of the widest oneof, so that every member is set once, nested ones
    /// included.
    fn variants(descriptor: &MessageDescriptor) -> Vec<DynamicMessage> {
        (0..widest()).map(|choice| filled(descriptor, choice, 0)).collect()
    }

    fn widest() -> usize {
        let oneofs = crate::descriptor::pool().all_messages().flat_map(|m| m.oneofs().collect::<Vec<_>>());
        oneofs.map(|oneof| oneof.fields().count()).max().unwrap_or(1)
    }

    #[test]
    fn no_message_shows_its_secrets() {
        let mut with_secrets = 0;
        let mut carried = std::collections::BTreeSet::new();
        let ours = crate::descriptor::pool().all_messages().filter(|m| m.package_name().starts_with("mms."));
        for descriptor in ours.filter(|m| !m.is_map_entry()) {
            for message in variants(&descriptor) {
                let encoded = message.encode_to_vec();
                let debug = debug_of(descriptor.full_name(), &encoded).expect("every message is known").unwrap();
                assert!(!debug.contains(CANARY), "{} shows a secret: {debug}", descriptor.full_name());
                let mut hidden = message.clone();
                hide_secrets(&mut hidden);
                assert!(!hidden.encode_to_vec().windows(CANARY.len()).any(|w| w == CANARY.as_bytes()));
                let carries = encoded.windows(CANARY.len()).any(|w| w == CANARY.as_bytes());
                with_secrets += usize::from(carries);
                if carries {
                    carried.insert(descriptor.full_name().to_owned());
                }
            }
        }
        // Secrets in nested messages were checked too: in a oneof, and in messages around it.
        for name in ["mms.registry.v1.DatabricksSource", "mms.registry.v1.CreateDataSourceRequest"] {
            assert!(carried.contains(name), "{name} carried no canary");
        }
        assert!(with_secrets > 0, "the contracts have secrets, so some message must have carried the canary");
    }
}
