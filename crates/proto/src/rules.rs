//! The rules of fields, read from the options of the contracts and compiled once.
//!
//! What a rule means stands beside `FieldRules` in the contract; `validate` applies them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use prost_reflect::{FieldDescriptor, MessageDescriptor, Value};
use regex::Regex;

use crate::redact;

/// The rules of one field, ready to apply.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Must be set.
    pub required: bool,
    /// Least length: characters, bytes or items.
    pub min_len: u64,
    /// Greatest length; 0 for no rule.
    pub max_len: u64,
    /// The pattern as written, and compiled so that it must match the whole text.
    pub pattern: Option<(String, Regex)>,
    /// Least number.
    pub min: Option<f64>,
    /// Greatest number.
    pub max: Option<f64>,
    /// Only values that this version of the contract knows.
    pub defined_only: bool,
    /// The shape of a resource name.
    pub resource: Option<String>,
    /// Set by the service; ignored from callers.
    pub output_only: bool,
    /// Cannot change after creation.
    pub immutable: bool,
    /// Never shown, not even in the violation that it causes.
    pub secret: bool,
}

type Table = HashMap<String, Arc<[(FieldDescriptor, Rules)]>>;

static RULES: LazyLock<Table> = LazyLock::new(|| {
    let pool = crate::descriptor::pool();
    pool.all_messages()
        .map(|message| {
            let fields = message.fields().map(|field| (field.clone(), read(&field))).collect();
            (message.full_name().to_owned(), fields)
        })
        .collect()
});

/// The fields of a message with their rules, in the order of the contract.
pub fn of(message: &MessageDescriptor) -> Arc<[(FieldDescriptor, Rules)]> {
    RULES.get(message.full_name()).cloned().unwrap_or_else(|| Arc::new([]))
}

fn read(field: &FieldDescriptor) -> Rules {
    let secret = redact::is_secret(field);
    let extension = crate::descriptor::pool()
        .get_extension_by_name("mms.type.v1.rules")
        .expect("the build checked that the rules are defined");
    let options = field.options();
    if !options.has_extension(&extension) {
        return Rules { secret, ..Rules::default() };
    }
    let value = options.get_extension(&extension);
    let Value::Message(rules) = value.as_ref() else { return Rules { secret, ..Rules::default() } };
    let flag = |name: &str| rules.get_field_by_name(name).and_then(|v| v.as_bool()).unwrap_or_default();
    let count = |name: &str| rules.get_field_by_name(name).and_then(|v| v.as_u64()).unwrap_or_default();
    let text = |name: &str| {
        rules.get_field_by_name(name).and_then(|v| v.as_str().map(str::to_owned)).filter(|text| !text.is_empty())
    };
    let number = |name: &str| {
        rules.has_field_by_name(name).then(|| rules.get_field_by_name(name).and_then(|v| v.as_f64())).flatten()
    };
    Rules {
        required: flag("required"),
        min_len: count("min_len"),
        max_len: count("max_len"),
        pattern: text("pattern").map(|pattern| {
            let whole = Regex::new(&format!("^(?:{pattern})$")).expect("the build compiled every pattern");
            (pattern, whole)
        }),
        min: number("min"),
        max: number("max"),
        defined_only: flag("defined_only"),
        resource: text("resource"),
        output_only: flag("output_only"),
        immutable: flag("immutable"),
        secret,
    }
}
