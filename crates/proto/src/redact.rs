//! Hides secrets: fields marked `debug_redact` in the contracts never show in `Debug` or in printed JSON.

use std::fmt;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};

/// What stands where a secret would.
pub const HIDDEN: &str = "***";

/// Whether a field holds a secret.
pub fn is_secret(field: &FieldDescriptor) -> bool {
    field.options().get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true))
}

/// Replaces every secret in the message, however deep, by [`HIDDEN`] (texts) or by nothing (all else).
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

/// The `Debug` that the build gives to messages with secrets.
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

    /// Fills a message with one value everywhere: the canary in secrets, one entry in lists, every message present.
    fn filled(descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields().filter(|field| !field.is_map()) {
            let value = match field.kind() {
                Kind::String if is_secret(&field) => Value::String(CANARY.into()),
                Kind::Bytes if is_secret(&field) => Value::Bytes(CANARY.into()),
                Kind::Message(inner) if depth < 6 => Value::Message(filled(&inner, depth + 1)),
                _ => continue,
            };
            message.set_field(&field, if field.is_list() { Value::List(vec![value]) } else { value });
        }
        message
    }

    /// As [`filled`], and once for each member of each oneof: a later member would displace an earlier one.
    fn variants(descriptor: &MessageDescriptor) -> Vec<DynamicMessage> {
        let mut variants = vec![filled(descriptor, 0)];
        for oneof in descriptor.oneofs() {
            for field in oneof.fields() {
                if let Kind::Message(inner) = field.kind() {
                    let mut message = filled(descriptor, 0);
                    message.set_field(&field, Value::Message(filled(&inner, 1)));
                    variants.push(message);
                }
            }
        }
        variants
    }

    #[test]
    fn no_message_shows_its_secrets() {
        let mut with_secrets = 0;
        let ours = crate::descriptor::pool().all_messages().filter(|m| m.package_name().starts_with("mms."));
        for descriptor in ours.filter(|m| !m.is_map_entry()) {
            for message in variants(&descriptor) {
                let encoded = message.encode_to_vec();
                let debug = debug_of(descriptor.full_name(), &encoded).expect("every message is known").unwrap();
                assert!(!debug.contains(CANARY), "{} shows a secret: {debug}", descriptor.full_name());
                let mut hidden = message.clone();
                hide_secrets(&mut hidden);
                assert!(!hidden.encode_to_vec().windows(CANARY.len()).any(|w| w == CANARY.as_bytes()));
                with_secrets += usize::from(encoded.windows(CANARY.len()).any(|w| w == CANARY.as_bytes()));
            }
        }
        assert!(with_secrets > 0, "the contracts have secrets, so some message must have carried the canary");
    }
}
