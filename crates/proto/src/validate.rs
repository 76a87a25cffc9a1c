//! Judges a request by the rules that the contract gives its fields: all violations at once, each with the path of its
//! field, what is wrong, and the value (never a secret one).
//!
//! It knows no rule of its own: what no option says is for the service to judge.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value};
use tonic_types::FieldViolation;

use crate::error::ApiError;
use crate::name::segment;
use crate::rules::{self, Rules};

/// The longest value that a violation repeats, in characters.
const SHOWN: usize = 80;

/// All violations of a message, in the order of its fields. Fields that the service sets are not looked at.
///
/// With an `update_mask` beside the resource, a required field counts only where the mask touches it.
pub fn violations<T: prost::Message + prost::Name>(message: &T) -> Vec<FieldViolation> {
    let mut dynamic = DynamicMessage::new(crate::descriptor::message::<T>());
    if dynamic.transcode_from(message).is_err() {
        return vec![FieldViolation::new("", "is not a message of the contract")];
    }
    dynamic_violations(&dynamic)
}

/// `INVALID_ARGUMENT` with every violation, or OK.
pub fn validate<T: prost::Message + prost::Name>(message: &T) -> Result<(), ApiError> {
    let violations = violations(message);
    if violations.is_empty() { Ok(()) } else { Err(ApiError::invalid(violations)) }
}

/// Clears what only the service sets, however deep, so that a caller's copy of it has no effect.
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

fn dynamic_violations(message: &DynamicMessage) -> Vec<FieldViolation> {
    let mut walk = Walk { mask: mask(message), found: Vec::new() };
    walk.message("", message);
    walk.mask_paths(message);
    walk.found
}

/// The paths of `update_mask`, if the message has one that names any.
fn mask(message: &DynamicMessage) -> Option<Vec<String>> {
    let value = message.get_field_by_name("update_mask")?;
    let paths = value.as_message()?.get_field_by_name("paths")?;
    let paths: Vec<_> = paths.as_list()?.iter().filter_map(|path| path.as_str().map(str::to_owned)).collect();
    (!paths.is_empty()).then_some(paths)
}

struct Walk {
    mask: Option<Vec<String>>,
    found: Vec<FieldViolation>,
}

impl Walk {
    fn message(&mut self, at: &str, message: &DynamicMessage) {
        for (field, rules) in rules::of(&message.descriptor()).iter().filter(|(_, rules)| !rules.output_only) {
            let path = if at.is_empty() { field.name().to_owned() } else { format!("{at}.{}", field.name()) };
            let value = message.get_field(field);
            // In a oneof, "required" speaks of the member that was chosen: choosing is the oneof's own matter.
            let chosen = field.containing_oneof().is_none() || message.has_field(field);
            if rules.required && chosen && is_empty(message, field, &value) {
                if self.counts(&path) {
                    self.add(&path, "is required".into());
                }
            } else if message.has_field(field) {
                self.value(&path, field, rules, &value);
            }
        }
    }

    fn value(&mut self, path: &str, field: &FieldDescriptor, rules: &Rules, value: &Value) {
        let length = match value {
            Value::String(text) => Some((text.chars().count(), "characters")),
            Value::Bytes(bytes) => Some((bytes.len(), "bytes")),
            Value::List(items) => Some((items.len(), "items")),
            Value::Map(entries) => Some((entries.len(), "items")),
            _ => None,
        };
        if let Some((length, unit)) = length {
            if (length as u64) < rules.min_len {
                self.add(path, format!("has {length} {unit}: at least {} are needed", rules.min_len));
            }
            if rules.max_len > 0 && length as u64 > rules.max_len {
                self.add(path, format!("has {length} {unit}: at most {} are allowed", rules.max_len));
                return;
            }
        }
        match value {
            Value::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.single(&format!("{path}[{at}]"), field, rules, item);
                }
            }
            Value::Map(entries) => {
                let mut messages: Vec<_> =
                    entries.iter().filter_map(|(key, value)| Some((map_key(key), value.as_message()?))).collect();
                messages.sort_by(|a, b| a.0.cmp(&b.0));
                for (key, message) in messages {
                    self.message(&format!("{path}[{key}]"), message);
                }
            }
            single => self.single(path, field, rules, single),
        }
    }

    fn single(&mut self, path: &str, field: &FieldDescriptor, rules: &Rules, value: &Value) {
        if let Value::Message(inner) = value {
            // Well-known types have no rules of ours, so this ends by itself.
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
            if let Some(shape) = rules.resource.as_ref()
                && !text.is_empty()
                && let Err(reason) = segment::check_shape(text, shape)
            {
                self.add(path, format!("value{} is not a name of the shape {shape}: {reason}", shown()));
            }
        }
        if let (Kind::Enum(kind), Some(number)) = (field.kind(), value.as_enum_number())
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

    /// Whether a missing field matters: without a mask always; with one, outside the resource or where the mask goes.
    fn counts(&self, path: &str) -> bool {
        let Some(mask) = &self.mask else { return true };
        let Some((_, within)) = path.split_once('.') else { return true };
        mask.iter().any(|masked| masked == "*" || covers(masked, within) || covers(within, masked))
    }

    /// Each path of the mask must name a field of the resource that a caller may change.
    fn mask_paths(&mut self, message: &DynamicMessage) {
        let Some(mask) = self.mask.clone() else { return };
        let resource = message.descriptor().fields().find_map(|field| match field.kind() {
            Kind::Message(kind) if !field.is_list() && kind.package_name().starts_with("mms.") => Some(kind),
            _ => None,
        });
        let Some(resource) = resource else { return };
        for (at, path) in mask.iter().enumerate().filter(|(_, path)| *path != "*") {
            let mut kind = Some(resource.clone());
            for name in path.split('.') {
                let fields = kind.as_ref().map(rules::of);
                let found = fields.as_ref().and_then(|fields| fields.iter().find(|(field, _)| field.name() == name));
                let fault = match found {
                    None => Some("is not a field of the resource"),
                    Some((_, rules)) if rules.output_only => Some("is set by the service and cannot be changed"),
                    Some((_, rules)) if rules.immutable => Some("cannot be changed"),
                    Some(_) => None,
                };
                if let Some(fault) = fault {
                    let shown = shown(&Value::String(path.clone()));
                    self.add(&format!("update_mask.paths[{at}]"), format!("path {shown}: {name:?} {fault}"));
                    break;
                }
                kind = found.and_then(|(field, _)| match field.kind() {
                    Kind::Message(kind) if !field.is_list() && !field.is_map() => Some(kind),
                    _ => None,
                });
            }
        }
    }

    fn add(&mut self, path: &str, description: String) {
        self.found.push(FieldViolation::new(path, description));
    }
}

fn covers(outer: &str, inner: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
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

fn number(value: &Value) -> Option<f64> {
    // Bounds in the contracts are far below 2^53, where f64 is exact.
    match *value {
        Value::I32(number) => Some(f64::from(number)),
        Value::U32(number) => Some(f64::from(number)),
        Value::I64(number) => Some(number as f64),
        Value::U64(number) => Some(number as f64),
        Value::F32(number) => Some(f64::from(number)),
        Value::F64(number) => Some(number),
        _ => None,
    }
}

fn shown(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    if text.chars().count() <= SHOWN {
        format!("{text:?}")
    } else {
        format!("{:?}…", text.chars().take(SHOWN).collect::<String>())
    }
}

fn map_key(key: &prost_reflect::MapKey) -> String {
    use prost_reflect::MapKey;
    match key {
        MapKey::String(key) => format!("{key:?}"),
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
    }
}
