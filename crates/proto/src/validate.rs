//! Judges a request by the rules that the contract gives its fields, and reports all violations at once: the path of
//! the field, what is wrong, and the value unless it is a secret. Then reports the set fields that this version does
//! not implement yet.
//!
//! It has no rule of its own: what no option of the contract says is for the service to judge.

mod mask;
mod not_yet;

use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};
use tonic_types::FieldViolation;

use crate::error::ApiError;
use crate::name::segment;
use crate::rules::{self, Rules};
use mask::Mask;

/// Most characters of a value that a violation repeats.
const SHOWN: usize = 80;

/// All violations of a message, in the order of its fields. Fields that only the service sets are not judged.
///
/// With an `update_mask` beside the resource, a required field must be set only where the mask touches it.
pub fn violations<T: prost::Message + prost::Name>(message: &T) -> Vec<FieldViolation> {
    match dynamic(message) {
        Some(dynamic) => violations_of(&dynamic),
        None => vec![FieldViolation::new("", "is not a message of the contract")],
    }
}

/// The paths of all set fields that this version does not implement yet; with the value, if only that value is meant.
pub fn not_yet<T: prost::Message + prost::Name>(message: &T) -> Vec<String> {
    dynamic(message).map(|dynamic| not_yet::paths(&dynamic)).unwrap_or_default()
}

/// INVALID_ARGUMENT with every violation; else UNIMPLEMENTED with every set field that this version does not implement
/// yet; else OK.
pub fn validate<T: prost::Message + prost::Name>(message: &T) -> Result<(), ApiError> {
    let Some(dynamic) = dynamic(message) else {
        return Err(ApiError::invalid_field("", "is not a message of the contract"));
    };
    let violations = violations_of(&dynamic);
    if !violations.is_empty() {
        return Err(ApiError::invalid(violations));
    }
    match not_yet::paths(&dynamic) {
        paths if paths.is_empty() => Ok(()),
        paths => Err(ApiError::not_yet_fields(&paths)),
    }
}

fn dynamic<T: prost::Message + prost::Name>(message: &T) -> Option<DynamicMessage> {
    let mut dynamic = DynamicMessage::new(crate::descriptor::message::<T>());
    dynamic.transcode_from(message).is_ok().then_some(dynamic)
}

/// Clears the fields that only the service sets, at any depth, so that values sent by a caller have no effect.
pub fn clear_output_only<T: prost::Message + prost::Name + Default>(message: &T) -> T {
    let mut dynamic = DynamicMessage::new(crate::descriptor::message::<T>());
    dynamic.transcode_from(message).expect("a generated message fits its own descriptor");
    clear(&mut dynamic);
    dynamic.transcode_to().expect("a descriptor fits its own generated message")
}

fn clear(message: &mut DynamicMessage) {
    for (field, rules) in rules::of(&message.descriptor()).iter() {
        if rules.output_only {
            message.clear_field(field);
        }
    }
    for (_, value) in message.fields_mut() {
        match value {
            Value::Message(inner) => clear(inner),
            Value::List(items) => items.iter_mut().filter_map(Value::as_message_mut).for_each(clear),
            Value::Map(entries) => entries.values_mut().filter_map(Value::as_message_mut).for_each(clear),
            _ => {}
        }
    }
}

/// All violations of a message that is given dynamically; see [`violations`].
pub fn violations_of(message: &DynamicMessage) -> Vec<FieldViolation> {
    let mut walk = Walk { mask: None, found: Vec::new() };
    walk.message("", message);
    walk.found
}

/// The path of the field `name` of the message at `at`.
fn below(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

struct Walk {
    /// The mask of the nearest enclosing message that has one.
    mask: Option<Mask>,
    found: Vec<FieldViolation>,
}

impl Walk {
    fn message(&mut self, at: &str, message: &DynamicMessage) {
        let Some(own) = Mask::of(at, message) else { return self.fields(at, message) };
        let around = self.mask.replace(own);
        self.fields(at, message);
        let own = std::mem::replace(&mut self.mask, around);
        self.found.extend(own.iter().flat_map(|mask| mask.faults(message)));
    }

    fn fields(&mut self, at: &str, message: &DynamicMessage) {
        for (field, rules) in rules::of(&message.descriptor()).iter().filter(|(_, rules)| !rules.output_only) {
            let path = below(at, field.name());
            let value = message.get_field(field);
            // In a oneof, "required" applies to the chosen member only; that one is chosen is a rule of the oneof.
            let chosen = field.containing_oneof().is_none() || message.has_field(field);
            if rules.required && chosen && is_empty(message, field, &value) {
                if self.counts(&path) {
                    self.add(&path, "is required".into());
                }
            } else if message.has_field(field) || (zero_is_judged(field, rules) && self.counts(&path)) {
                self.value(&path, field, rules, &value);
            }
        }
        for oneof in rules::required_oneofs(&message.descriptor()).iter() {
            let path = below(at, oneof.name());
            if !oneof.fields().any(|field| message.has_field(&field)) && self.counts(&path) {
                let members: Vec<String> = oneof.fields().map(|field| field.name().to_owned()).collect();
                self.add(&path, format!("is required: set one of {}", members.join(", ")));
            }
        }
    }

    fn value(&mut self, path: &str, field: &FieldDescriptor, rules: &Rules, value: &Value) {
        if !self.length(path, rules, value) {
            return;
        }
        match value {
            Value::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    let path = format!("{path}[{at}]");
                    self.single(&path, &field.kind(), rules, item);
                    self.part(&path, &field.kind(), rules.values.as_deref(), rules.secret, item);
                }
            }
            Value::Map(entries) => self.entries(path, field, rules, entries),
            single => self.single(path, &field.kind(), rules, single),
        }
    }

    fn entries(
        &mut self,
        path: &str,
        field: &FieldDescriptor,
        rules: &Rules,
        entries: &std::collections::HashMap<MapKey, Value>,
    ) {
        let Kind::Message(entry) = field.kind() else { return };
        let (key_kind, value_kind) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        let mut entries: Vec<_> = entries.iter().map(|(key, value)| (map_key(key), key, value)).collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        for (shown, key, value) in entries {
            let path = format!("{path}[{shown}]");
            self.part(&path, &key_kind, rules.keys.as_deref(), rules.secret, &Value::from(key.clone()));
            self.part(&path, &value_kind, rules.values.as_deref(), rules.secret, value);
            if let Value::Message(inner) = value {
                self.message(&path, inner);
            }
        }
    }

    /// Judges an item of a list, or a key or value of a map, by its own rules. Messages have rules on their fields.
    fn part(&mut self, path: &str, kind: &Kind, rules: Option<&Rules>, secret: bool, value: &Value) {
        let Some(rules) = rules.filter(|_| value.as_message().is_none()) else { return };
        let rules = Rules { secret, ..rules.clone() };
        if self.length(path, &rules, value) {
            self.single(path, kind, &rules, value);
        }
    }

    /// Judges the length; false if the value is so long that its content is not judged.
    fn length(&mut self, path: &str, rules: &Rules, value: &Value) -> bool {
        let (length, unit) = match value {
            Value::String(text) => (text.chars().count(), "characters"),
            Value::Bytes(bytes) => (bytes.len(), "bytes"),
            Value::List(items) => (items.len(), "items"),
            Value::Map(entries) => (entries.len(), "items"),
            _ => return true,
        };
        if (length as u64) < rules.min_len {
            self.add(path, format!("has {length} {unit}: at least {} are needed", rules.min_len));
        }
        if rules.max_len > 0 && length as u64 > rules.max_len {
            self.add(path, format!("has {length} {unit}: at most {} are allowed", rules.max_len));
            return false;
        }
        let bytes = if rules.max_bytes > 0 { size(value) } else { 0 };
        if bytes > rules.max_bytes {
            self.add(path, format!("has {bytes} bytes: at most {} are allowed", rules.max_bytes));
            return false;
        }
        true
    }

    fn single(&mut self, path: &str, kind: &Kind, rules: &Rules, value: &Value) {
        if let Value::Message(inner) = value
            && seconds(inner).is_none()
        {
            // Well-known types have no rules of ours, so the recursion ends.
            return self.message(path, inner);
        }
        let shown = || if rules.secret { String::new() } else { format!(" {}", shown(value)) };
        if let Some(text) = value.as_str() {
            if let Some((pattern, regex)) = rules.pattern.as_ref()
                && !text.is_empty()
                && !regex.is_match(text)
            {
                self.add(path, format!("value{} does not match {pattern}", shown()));
            }
            if rules.reserved.iter().any(|reserved| reserved.eq_ignore_ascii_case(text)) {
                self.add(path, format!("value{} is set by the service only: leave it out", shown()));
            }
            if let Some(shape) = rules.resource.as_ref()
                && !text.is_empty()
                && let Err(reason) = segment::check_shape(text, shape)
            {
                self.add(path, format!("value{} is not a name of the shape {shape}: {reason}", shown()));
            }
        }
        if let (Kind::Enum(kind), Some(number)) = (kind, value.as_enum_number())
            && rules.defined_only
            && kind.get_value(number).is_none()
        {
            self.add(path, format!("value {number} is not one of {}", kind.full_name()));
        }
        if let Some(number) = number(value) {
            if let Some(min) = rules.min
                && (number < min || number.is_nan())
            {
                self.add(path, format!("value {number} is less than {min}"));
            }
            if let Some(max) = rules.max
                && (number > max || number.is_nan())
            {
                self.add(path, format!("value {number} is more than {max}"));
            }
        }
    }

    /// Whether a missing field is a violation.
    fn counts(&self, path: &str) -> bool {
        self.mask.as_ref().is_none_or(|mask| mask.counts(path))
    }

    fn add(&mut self, path: &str, description: String) {
        self.found.push(FieldViolation::new(path, description));
    }
}

fn is_empty(message: &DynamicMessage, field: &FieldDescriptor, value: &Value) -> bool {
    match value {
        Value::Message(_) => !message.has_field(field),
        Value::String(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        Value::EnumNumber(number) => *number == 0,
        _ => !message.has_field(field),
    }
}

/// The approximate size of a value on the wire, tags and lengths included.
fn size(value: &Value) -> u64 {
    const TAG_AND_LENGTH: u64 = 4;
    let inner = match value {
        Value::String(text) => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::Message(message) => message.encoded_len() as u64,
        Value::List(items) => return items.iter().map(size).sum(),
        Value::Map(entries) => {
            return entries.iter().map(|(key, value)| TAG_AND_LENGTH + size(&key.clone().into()) + size(value)).sum();
        }
        _ => 0,
    };
    TAG_AND_LENGTH + inner
}

/// Whether 0 is judged although an unset field looks the same: only fields with presence can tell the two apart.
fn zero_is_judged(field: &FieldDescriptor, rules: &Rules) -> bool {
    rules.min.is_some_and(|min| min > 0.0) && !field.supports_presence() && !field.is_list() && !field.is_map()
}

fn number(value: &Value) -> Option<f64> {
    // Bounds in the contracts are far below 2^53, where f64 is exact.
    match *value {
        Value::I32(number) => Some(f64::from(number)),
        Value::U32(number) => Some(f64::from(number)),
        Value::I64(number) => Some(number as f64),
        Value::U64(number) => Some(number as f64),
        Value::F32(number) => Some(f64::from(number)),
        Value::F64(number) => Some(number),
        Value::Message(ref message) => seconds(message),
        _ => None,
    }
}

/// The seconds of a google.protobuf.Duration; `None` for other messages.
fn seconds(message: &DynamicMessage) -> Option<f64> {
    if message.descriptor().full_name() != "google.protobuf.Duration" {
        return None;
    }
    let part = |name: &str| message.get_field_by_name(name).and_then(|part| number(&part)).unwrap_or(0.0);
    Some(part("seconds") + part("nanos") / 1e9)
}

fn shown(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    if text.chars().count() <= SHOWN {
        format!("{text:?}")
    } else {
        format!("{:?}…", text.chars().take(SHOWN).collect::<String>())
    }
}

fn map_key(key: &MapKey) -> String {
    match key {
        MapKey::String(key) => format!("{key:?}"),
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
    }
}
