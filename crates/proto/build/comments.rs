//! Checks that the comments of a contract, which are its manual, state what its options enforce: a field's comment its
//! bounds, a method's comment its errors.

use prost_reflect::{DynamicMessage, FieldDescriptor, FileDescriptor, MethodDescriptor};

/// The first bound of this field that its comment does not state.
pub fn untold(field: &FieldDescriptor, rule: &DynamicMessage) -> Option<String> {
    let comment = comment(&field.parent_file(), field.path());
    let bounds = [
        rule.get_field_by_name("max_len").and_then(|bound| bound.as_u64()),
        rule.get_field_by_name("max_bytes").and_then(|bound| bound.as_u64()),
        // Bounds in our contracts are whole numbers, and small enough for a double to hold exactly.
        rule.get_field_by_name("max").and_then(|bound| bound.as_f64()).map(|bound| bound as u64),
    ];
    let told = |bound: u64| spellings(bound).iter().any(|spelling| comment.contains(spelling));
    let bound = bounds.into_iter().flatten().find(|bound| *bound > 0 && !told(*bound))?;
    Some(format!("its comment does not say its bound, {bound}"))
}

/// Whether the method's comment lists its own errors. Errors that every method has (rights, fields, deadlines) are
/// described in error_reason.proto.
pub fn tells_errors(method: &MethodDescriptor) -> bool {
    comment(&method.parent_file(), method.path()).contains("Errors: ")
}

/// The comment above the element at this path of the file, on one line.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let locations = file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location);
    let own = locations.filter(|location| location.path == path);
    let text: String = own.map(|location| location.leading_comments()).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The ways a comment may write a number: 4,096, 4096 or 4 KiB; 1 also as "one".
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
