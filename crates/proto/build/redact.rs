//! Generates `Debug` for messages that hold secrets, and the dispatch with which a test formats every message.

use std::fmt::Write;

use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, MessageDescriptor};

/// The messages whose derived `Debug` would show a secret.
pub struct Secrets(Vec<MessageDescriptor>);

impl Secrets {
    /// The messages with at least one field marked `debug_redact`.
    pub fn find(pool: &DescriptorPool) -> Self {
        Self(ours(pool).filter(|message| message.fields().any(|field| is_secret(&field))).collect())
    }

    /// The paths for which prost must not derive `Debug`. prost treats a path as a prefix, so nested types are
    /// included.
    pub fn paths(&self) -> Vec<String> {
        self.0.iter().map(|message| format!(".{}", message.full_name())).collect()
    }

    /// The code of `Debug` for each of these messages and for every type nested in them.
    pub fn debug_impls(&self) -> String {
        let mut code = String::new();
        let mut done = Vec::new();
        for message in &self.0 {
            message_impl(message, &mut code, &mut done);
        }
        code
    }
}

fn message_impl(message: &MessageDescriptor, code: &mut String, done: &mut Vec<String>) {
    if message.is_map_entry() || done.iter().any(|name| name == message.full_name()) {
        return;
    }
    done.push(message.full_name().to_owned());
    let path = rust_path(message);
    write_impl(code, &path, "crate::redact::debug_message(self, f)");
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        let path = format!("{}::{}", module_path(message), upper_camel(oneof.name()));
        write_impl(code, &path, "f.write_str(\"***\")");
    }
    for nested in message.child_enums() {
        enum_impl(message, &nested, code);
    }
    for nested in message.child_messages() {
        message_impl(&nested, code, done);
    }
}

fn enum_impl(parent: &MessageDescriptor, nested: &EnumDescriptor, code: &mut String) {
    let path = format!("{}::{}", module_path(parent), nested.name());
    write_impl(code, &path, "f.write_str(self.as_str_name())");
}

fn write_impl(code: &mut String, path: &str, body: &str) {
    writeln!(
        code,
        "impl ::core::fmt::Debug for {path} {{\n    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> \
         ::core::fmt::Result {{\n        {body}\n    }}\n}}"
    )
    .expect("a string takes what is written to it");
}

/// The code of `debug_of`, which decodes a message by its full name and formats it with `{:?}`.
pub fn dispatch(pool: &DescriptorPool) -> String {
    let mut code = String::from(
        "/// Formats the encoded message `full_name` with its `Debug`; `None` for a message that is not ours.\n\
         pub fn debug_of(full_name: &str, encoded: &[u8]) -> Option<Result<String, prost::DecodeError>> {\n    \
         Some(match full_name {\n",
    );
    for message in ours(pool) {
        writeln!(code, "        {:?} => shown::<{}>(encoded),", message.full_name(), rust_path(&message))
            .expect("a string takes what is written to it");
    }
    code.push_str("        _ => return None,\n    })\n}\n");
    code
}

fn ours(pool: &DescriptorPool) -> impl Iterator<Item = MessageDescriptor> {
    pool.all_messages().filter(|message| message.package_name().starts_with("mms.") && !message.is_map_entry())
}

fn is_secret(field: &FieldDescriptor) -> bool {
    field.options().get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true))
}

/// The path at which prost puts a message: its package as modules, the enclosing messages as modules in snake case.
fn rust_path(message: &MessageDescriptor) -> String {
    match message.parent_message() {
        Some(parent) => format!("{}::{}", module_path(&parent), message.name()),
        None => format!("{}::{}", package_path(message), message.name()),
    }
}

fn module_path(message: &MessageDescriptor) -> String {
    match message.parent_message() {
        Some(parent) => format!("{}::{}", module_path(&parent), snake(message.name())),
        None => format!("{}::{}", package_path(message), snake(message.name())),
    }
}

fn package_path(message: &MessageDescriptor) -> String {
    let modules = message.package_name().split('.').map(|part| if part == "type" { "r#type" } else { part });
    format!("crate::generated::{}", modules.collect::<Vec<_>>().join("::"))
}

/// Matches prost's conversion for our names, which have no runs of capitals and no capital after a digit (the linter
/// checks that).
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

fn upper_camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
        })
        .collect()
}
