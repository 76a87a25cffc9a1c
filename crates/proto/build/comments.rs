//! The comments of a contract are its manual: what a rule bounds, the comment of the field says too, and that of a method
//! what it refuses.

use prost_reflect::{DynamicMessage, FieldDescriptor, FileDescriptor, MethodDescriptor};

/// A bound of this field that its comment does not tell.
pub fn untold(field: &FieldDescriptor, rule: &DynamicMessage) -> Option<String> {
    let comment = comment(&field.parent_file(), field.path());
    let bounds = [
        rule.get_field_by_name("max_len").and_then(|bound| bound.as_u64()),
        rule.get_field_by_name("max_bytes").and_then(|bound| bound.as_u64()),
        // No bound of a contract is a fraction or beyond what a double holds exactly.
        rule.get_field_by_name("max").and_then(|bound| bound.as_f64()).map(|bound| bound as u64),
    ];
    let told = |bound: u64| spellings(bound).iter().any(|spelling| comment.contains(spelling));
    let bound = bounds.into_iter().flatten().find(|bound| *bound > 0 && !told(*bound))?;
    Some(format!("its comment does not say its bound, {bound}"))
}

/// Whether a method says which errors are its own. Those of every method (rights, fields, deadlines) are in
/// error_reason.proto.
pub fn tells_errors(method: &MethodDescriptor) -> bool {
    comment(&method.parent_file(), method.path()).contains("Errors: ")
}

/// The comment above what is at a path of a file, on one line.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let locations = file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location);
    let own = locations.filter(|location| location.path == path);
    let text: String = own.map(|location| location.leading_comments()).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How a number may be written: 4,096, 4096 or 4 KiB; 1 as "one".
fn spellings(bound: u64) -> Vec<String> {
    let digits = bound.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let mut all = vec![digits, grouped];
    if bound == 1 {
        all.push("one".to_owned());
    }
    for (unit, size) in [("KiB", 1 << 10), ("MiB", 1 << 20)] {
        if bound.is_multiple_of(size) {
            all.push(format!("{} {unit}", bound / size));
        }
    }
    all
}
