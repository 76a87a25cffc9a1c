//! The rules of fields, read from the options of the contracts and compiled once.
//!
//! The comments of `FieldRules` in the contract define each rule; `validate` applies them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use prost_reflect::{DynamicMessage, ExtensionDescriptor, FieldDescriptor, MessageDescriptor, OneofDescriptor, Value};
use regex::Regex;

use crate::redact;

/// The rules of one field, ready to apply.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The field must be set.
    pub required: bool,
    /// Least length: characters of a text, bytes, or items.
    pub min_len: u64,
    /// Greatest length, in the same units; 0 if there is no such rule.
    pub max_len: u64,
    /// The pattern as the contract has it, and compiled so that it must match the whole text.
    pub pattern: Option<(String, Regex)>,
    /// Least value of a number, or of a duration in seconds.
    pub min: Option<f64>,
    /// Greatest value of a number, or of a duration in seconds.
    pub max: Option<f64>,
    /// Only values of the enum that this version of the contract knows.
    pub defined_only: bool,
    /// The shape of the resource name, as in `dataSources/*`.
    pub resource: Option<String>,
    /// Set by the service; ignored when a caller sends it.
    pub output_only: bool,
    /// Cannot change after creation.
    pub immutable: bool,
    /// Never shown, not even in the violation of a rule.
    pub secret: bool,
    /// The rules of each key, for a map.
    pub keys: Option<Arc<Rules>>,
    /// The rules of each item or value, for a list or map.
    pub values: Option<Arc<Rules>>,
    /// Refused with NOT_YET when set.
    pub not_yet: bool,
    /// Names of the enum's values that are refused with NOT_YET.
    pub not_yet_values: Vec<String>,
    /// Greatest size on the wire in bytes, for a list or message; 0 if there is no such rule.
    pub max_bytes: u64,
    /// Texts that are refused, compared without case: only the service may set them.
    pub reserved: Vec<String>,
}

fn extension(name: &str) -> ExtensionDescriptor {
    crate::descriptor::pool().get_extension_by_name(name).expect("the build checked that our options are defined")
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

static REQUIRED_ONEOFS: LazyLock<HashMap<String, Arc<[OneofDescriptor]>>> = LazyLock::new(|| {
    let extension = extension("mms.type.v1.oneof");
    let required = |oneof: &OneofDescriptor| {
        let options = oneof.options();
        let rules = options.get_extension(&extension);
        let rules = rules.as_message().and_then(|rules| rules.get_field_by_name("required").and_then(|v| v.as_bool()));
        rules == Some(true)
    };
    let of = |message: MessageDescriptor| {
        let found: Arc<[OneofDescriptor]> = message.oneofs().filter(required).collect();
        (!found.is_empty()).then(|| (message.full_name().to_owned(), found))
    };
    crate::descriptor::pool().all_messages().filter_map(of).collect()
});

/// The oneofs of a message in which a member must be set, in the order of the contract.
pub fn required_oneofs(message: &MessageDescriptor) -> Arc<[OneofDescriptor]> {
    REQUIRED_ONEOFS.get(message.full_name()).cloned().unwrap_or_else(|| Arc::new([]))
}

/// The fields of a message with their rules, in the order of the contract.
pub fn of(message: &MessageDescriptor) -> Arc<[(FieldDescriptor, Rules)]> {
    RULES.get(message.full_name()).cloned().unwrap_or_else(|| Arc::new([]))
}

fn read(field: &FieldDescriptor) -> Rules {
    let secret = redact::is_secret(field);
    let (options, extension) = (field.options(), extension("mms.type.v1.rules"));
    let value = options.has_extension(&extension).then(|| options.get_extension(&extension));
    let rules = value.as_deref().and_then(Value::as_message).map(parse).unwrap_or_default();
    Rules { secret, ..rules }
}

fn parse(rules: &DynamicMessage) -> Rules {
    let flag = |name: &str| rules.get_field_by_name(name).and_then(|v| v.as_bool()).unwrap_or_default();
    let count = |name: &str| rules.get_field_by_name(name).and_then(|v| v.as_u64()).unwrap_or_default();
    let text = |name: &str| {
        rules.get_field_by_name(name).and_then(|v| v.as_str().map(str::to_owned)).filter(|text| !text.is_empty())
    };
    let set = |name: &str| rules.has_field_by_name(name).then(|| rules.get_field_by_name(name)).flatten();
    let number = |name: &str| set(name).and_then(|v| v.as_f64());
    let inner = |name: &str| set(name).and_then(|v| v.as_message().map(|rules| Arc::new(parse(rules))));
    let texts = |name: &str| {
        let list = set(name).and_then(|v| v.as_list().map(<[Value]>::to_vec)).unwrap_or_default();
        list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
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
        secret: false,
        keys: inner("keys"),
        values: inner("values"),
        not_yet: flag("not_yet"),
        not_yet_values: texts("not_yet_values"),
        max_bytes: count("max_bytes"),
        reserved: texts("reserved"),
    }
}
