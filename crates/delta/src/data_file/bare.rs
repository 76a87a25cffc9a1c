//! Parquet types without the annotations of their values, so that only the layout of the bytes is left. Pure.

use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as PhysicalType};
use parquet::schema::types::{Type, TypePtr};

/// Bytes of a 96-bit timestamp.
pub(crate) const INT96_BYTES: i32 = 12;

/// What a group represents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    List,
    Map,
}

pub(crate) fn repetition(field: &Type) -> Repetition {
    let info = field.get_basic_info();
    if info.has_repetition() { info.repetition() } else { Repetition::REQUIRED }
}

/// Number of leaves below a field; 1 for a leaf.
pub(crate) fn leaves(field: &Type) -> usize {
    if field.is_primitive() { 1 } else { field.get_fields().iter().map(|child| leaves(child)).sum() }
}

pub(crate) fn is_list(field: &Type) -> bool {
    let info = field.get_basic_info();
    info.converted_type() == ConvertedType::LIST || matches!(info.logical_type_ref(), Some(LogicalType::List))
}

pub(crate) fn is_map(field: &Type) -> bool {
    let info = field.get_basic_info();
    matches!(info.converted_type(), ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE)
        || matches!(info.logical_type_ref(), Some(LogicalType::Map))
}

/// A group of these fields.
pub(crate) fn group(name: &str, repetition: Repetition, kind: Kind, fields: Vec<TypePtr>) -> TypePtr {
    let (converted, logical) = match kind {
        Kind::Plain => (ConvertedType::NONE, None),
        Kind::List => (ConvertedType::LIST, Some(LogicalType::List)),
        Kind::Map => (ConvertedType::MAP, Some(LogicalType::Map)),
    };
    let built = Type::group_type_builder(name)
        .with_repetition(repetition)
        .with_converted_type(converted)
        .with_logical_type(logical)
        .with_fields(fields)
        .build();
    Arc::new(built.expect("a group with an annotation of groups"))
}

/// A group under another name; a leaf stays as it is.
pub(crate) fn renamed(field: &TypePtr, name: &str) -> TypePtr {
    if field.is_primitive() {
        return field.clone();
    }
    group(name, repetition(field), Kind::Plain, field.get_fields().to_vec())
}

/// A leaf without annotations. With `int96_as_bytes` a 96-bit one becomes bytes of fixed length.
pub(crate) fn raw_leaf(field: &TypePtr, int96_as_bytes: bool) -> TypePtr {
    let (physical, length) = match field.get_physical_type() {
        PhysicalType::INT96 if int96_as_bytes => (PhysicalType::FIXED_LEN_BYTE_ARRAY, INT96_BYTES),
        physical => (physical, fixed_length(field).unwrap_or(-1)),
    };
    let built = Type::primitive_type_builder(field.name(), physical)
        .with_repetition(repetition(field))
        .with_length(length)
        .build();
    built.map_or_else(|_| field.clone(), Arc::new)
}

/// Bytes of each value of a leaf of fixed length; None for other leaves.
pub(crate) fn fixed_length(field: &Type) -> Option<i32> {
    match field {
        Type::PrimitiveType { physical_type: PhysicalType::FIXED_LEN_BYTE_ARRAY, type_length, .. } => {
            Some(*type_length)
        }
        _ => None,
    }
}

/// A field without annotations. For fields that are not read, so that no annotation of them can fail.
pub(crate) fn strip(field: &TypePtr) -> TypePtr {
    if field.is_primitive() {
        return raw_leaf(field, false);
    }
    let children = field.get_fields().iter().map(strip).collect();
    group(field.name(), repetition(field), Kind::Plain, children)
}

/// A stored field in a few words, for messages.
pub(crate) fn shown(field: &Type) -> String {
    if !field.is_primitive() {
        return if is_list(field) {
            "a group that is a LIST".to_owned()
        } else if is_map(field) {
            "a group that is a MAP".to_owned()
        } else {
            format!("a group of {} fields", field.get_fields().len())
        };
    }
    let info = field.get_basic_info();
    let length = fixed_length(field).map_or(String::new(), |length| format!("({length})"));
    let note = match (info.logical_type_ref(), info.converted_type()) {
        (Some(LogicalType::Timestamp(kind)), _) => {
            format!(" TIMESTAMP({:?}, {})", kind.unit, if kind.is_adjusted_to_u_t_c { "UTC" } else { "no zone" })
        }
        (Some(LogicalType::Decimal(kind)), _) => format!(" DECIMAL({},{})", kind.precision, kind.scale),
        (Some(LogicalType::Integer(kind)), _) => {
            format!(" {}({})", if kind.is_signed { "INT" } else { "UINT" }, kind.bit_width)
        }
        (Some(other), _) => format!(" {other:?}"),
        (None, ConvertedType::NONE) => String::new(),
        (None, converted) => format!(" {converted}"),
    };
    format!("{}{length}{note}", field.get_physical_type())
}
