//! Canonical proto JSON of any message of the contracts, both ways.
//!
//! Reading rejects every field that the contract does not have, and names each by its path. Printing hides secrets.

use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions};
use serde_json::Value;

use crate::redact;

/// Why a text is not a message.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The text is not JSON.
    #[error("not JSON: {0}")]
    Syntax(serde_json::Error),
    /// The JSON has fields that the message does not have.
    #[error("{message} has no field {}; check the spelling against the contract", paths(.fields))]
    Unknown {
        /// The message's full name.
        message: String,
        /// All unknown fields, not only the first.
        fields: Vec<UnknownField>,
    },
    /// A value has the wrong type or form.
    #[error("not a {message}: {source}")]
    Value {
        /// The message's full name.
        message: String,
        /// What the parser said, with the place.
        source: serde_json::Error,
    },
}

/// A field that a message does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// The path from the root of the message, as in `dataSource.databricks.workspaceUri`.
    pub path: String,
    /// The JSON names of the fields that the message has at that place.
    pub known: Vec<String>,
}

fn paths(fields: &[UnknownField]) -> String {
    fields.iter().map(|field| field.path.as_str()).collect::<Vec<_>>().join(", ")
}

/// Which fields are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fields {
    /// Only fields that are set: the canonical form.
    Set,
    /// Every field, with its default where it is not set.
    All,
}

/// Reads a message from JSON text, with the errors of [`from_value`].
pub fn from_str<T: prost::Message + prost::Name + Default>(text: &str) -> Result<T, JsonError> {
    from_value(serde_json::from_str(text).map_err(JsonError::Syntax)?)
}

/// Reads a message from a JSON value, for example one that was read from YAML.
pub fn from_value<T: prost::Message + prost::Name + Default>(value: Value) -> Result<T, JsonError> {
    let descriptor = crate::descriptor::message::<T>();
    let mut unknown = Vec::new();
    find_unknown(&descriptor, &value, "", &mut unknown);
    if !unknown.is_empty() {
        return Err(JsonError::Unknown { message: T::full_name(), fields: unknown });
    }
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let dynamic = DynamicMessage::deserialize_with_options(descriptor, value, &options)
        .map_err(|source| JsonError::Value { message: T::full_name(), source })?;
    Ok(dynamic.transcode_to().expect("a descriptor fits its own generated message"))
}

/// A message as a JSON value, secrets hidden.
pub fn to_value<T: prost::Message + prost::Name>(message: &T, fields: Fields) -> Value {
    let mut dynamic = DynamicMessage::new(crate::descriptor::message::<T>());
    dynamic.transcode_from(message).expect("a generated message fits its own descriptor");
    redact::hide_secrets(&mut dynamic);
    let options = SerializeOptions::new().skip_default_fields(fields == Fields::Set);
    dynamic.serialize_with_options(serde_json::value::Serializer, &options).unwrap_or(Value::Null)
}

/// A message as one line of canonical JSON, secrets hidden.
pub fn to_string<T: prost::Message + prost::Name>(message: &T) -> String {
    to_value(message, Fields::Set).to_string()
}

fn find_unknown(descriptor: &MessageDescriptor, value: &Value, at: &str, unknown: &mut Vec<UnknownField>) {
    // Well-known types have JSON forms of their own, which the deserializer checks.
    let Value::Object(members) = value else { return };
    if descriptor.package_name() == "google.protobuf" {
        return;
    }
    for (key, value) in members {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match descriptor.get_field_by_json_name(key).or_else(|| descriptor.get_field_by_name(key)) {
            Some(field) => find_in_field(&field, value, &path, unknown),
            None => {
                let known = descriptor.fields().map(|field| field.json_name().to_owned()).collect();
                unknown.push(UnknownField { path, known });
            }
        }
    }
}

fn find_in_field(field: &FieldDescriptor, value: &Value, path: &str, unknown: &mut Vec<UnknownField>) {
    let Kind::Message(inner) = field.kind() else { return };
    match value {
        Value::Array(items) if field.is_list() => {
            for (at, item) in items.iter().enumerate() {
                find_unknown(&inner, item, &format!("{path}[{at}]"), unknown);
            }
        }
        Value::Object(entries) if field.is_map() => {
            if let Kind::Message(entry) = inner.map_entry_value_field().kind() {
                for (key, item) in entries {
                    find_unknown(&entry, item, &format!("{path}[{key:?}]"), unknown);
                }
            }
        }
        other => find_unknown(&inner, other, path, unknown),
    }
}
