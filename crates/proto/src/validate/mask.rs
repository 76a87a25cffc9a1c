//! The `update_mask` beside a resource: which fields it touches, and whether each path names a field that a caller may
//! change.

use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage};
use tonic_types::FieldViolation;

use super::below;
use crate::rules;

/// The mask of one message.
pub(super) struct Mask {
    /// The path of the message that has the mask.
    at: String,
    paths: Vec<String>,
}

impl Mask {
    /// The mask of a message; `None` if it has no `update_mask`, or if that is not set.
    pub(super) fn of(at: &str, message: &DynamicMessage) -> Option<Self> {
        let field = message.descriptor().get_field_by_name("update_mask").filter(|field| message.has_field(field))?;
        let mask = message.get_field(&field);
        let paths = mask.as_message()?.get_field_by_name("paths")?;
        let paths = paths.as_list()?.iter().filter_map(|path| path.as_str().map(str::to_owned)).collect();
        Some(Self { at: at.to_owned(), paths })
    }

    /// Whether a missing field is a violation: outside the resource always, within it only where the mask touches it.
    pub(super) fn counts(&self, path: &str) -> bool {
        let path = if self.at.is_empty() { path } else { path.get(self.at.len() + 1..).unwrap_or_default() };
        let Some((_, within)) = path.split_once('.') else { return true };
        self.paths.iter().any(|masked| masked == "*" || covers(masked, within) || covers(within, masked))
    }

    /// The violations of the mask itself.
    pub(super) fn faults(&self, message: &DynamicMessage) -> Vec<FieldViolation> {
        let field = below(&self.at, "update_mask.paths");
        if self.paths.is_empty() {
            return vec![FieldViolation::new(field, "is required: name the fields to change")];
        }
        let resource = message.descriptor().fields().find_map(|field| match field.kind() {
            Kind::Message(kind) if !field.is_list() && kind.package_name().starts_with("mms.") => Some(kind),
            _ => None,
        });
        let Some(resource) = resource else { return Vec::new() };
        let named = self.paths.iter().enumerate().filter(|(_, path)| *path != "*");
        let fault = |(at, path): (usize, &String)| {
            let description = path_fault(&resource, path)?;
            Some(FieldViolation::new(format!("{field}[{at}]"), description))
        };
        named.filter_map(fault).collect()
    }
}

fn path_fault(resource: &MessageDescriptor, path: &str) -> Option<String> {
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
            let shown = super::shown(&prost_reflect::Value::String(path.to_owned()));
            return Some(format!("path {shown}: {name:?} {fault}"));
        }
        kind = found.and_then(|(field, _)| match field.kind() {
            Kind::Message(kind) if !field.is_list() && !field.is_map() => Some(kind),
            _ => None,
        });
    }
    None
}

fn covers(outer: &str, inner: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
