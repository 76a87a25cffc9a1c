//! The house rules of a contract that the compiler of protos does not know.

use prost_reflect::{Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, Value};

/// Refuses methods without a least role and rules that cannot apply to their field, all of them at once.
pub fn contracts(pool: &DescriptorPool) -> Result<(), String> {
    let role = pool.get_extension_by_name("mms.type.v1.least_role").ok_or("mms.type.v1.least_role is not defined")?;
    let rules = pool.get_extension_by_name("mms.type.v1.rules").ok_or("mms.type.v1.rules is not defined")?;
    let mut faults = Vec::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        if method.options().get_extension(&role).as_enum_number().unwrap_or(0) == 0 {
            faults.push(format!("{}: option (mms.type.v1.least_role) is missing", method.full_name()));
        }
    }
    for message in pool.all_messages() {
        for field in message.fields() {
            let options = field.options();
            if let (true, Value::Message(rule)) =
                (options.has_extension(&rules), options.get_extension(&rules).into_owned())
            {
                faults.extend(field_faults(&field, &rule).map(|fault| format!("{}: {fault}", field.full_name())));
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(format!("the contracts break house rules:\n  {}", faults.join("\n  "))) }
}

fn field_faults(field: &FieldDescriptor, rule: &DynamicMessage) -> impl Iterator<Item = String> {
    let mut faults = Vec::new();
    let many = field.cardinality() == Cardinality::Repeated;
    let kind = field.kind();
    let text = kind == Kind::String;
    let sized = many || text || kind == Kind::Bytes;
    let number = !matches!(kind, Kind::String | Kind::Bytes | Kind::Bool | Kind::Message(_) | Kind::Enum(_));
    for (set, fits) in rule.fields().map(|(set, _)| set).map(|set| {
        let fits = match set.name() {
            "pattern" | "resource" => text,
            "min_len" | "max_len" => sized,
            "min" | "max" => number,
            "defined_only" => matches!(kind, Kind::Enum(_)),
            "required" | "output_only" | "immutable" => true,
            _ => false,
        };
        (set, fits)
    }) {
        if !fits {
            faults.push(format!("rule {} does not fit its type", set.name()));
        }
    }
    let get = |name: &str| rule.get_field_by_name(name).and_then(|value| value.as_str().map(str::to_owned));
    if let Some(Err(error)) = get("pattern").map(|pattern| regex::Regex::new(&format!("^(?:{pattern})$"))) {
        faults.push(format!("rule pattern: {error}"));
    }
    if let Some(shape) = get("resource").filter(|shape| !shape.is_empty()) {
        let parts: Vec<_> = shape.split('/').collect();
        let well_formed = parts.len().is_multiple_of(2)
            && parts.chunks(2).all(|pair| {
                pair[0].chars().all(|c| c.is_ascii_alphabetic()) && !pair[0].is_empty() && matches!(pair[1], "*" | "-")
            });
        if !well_formed {
            faults.push(format!("rule resource: {shape:?} is not collection/* pairs"));
        }
    }
    faults.into_iter()
}
