//! Finds the parts of lists and maps in Parquet files: in the three levels of the format, whatever their names, and in the
//! forms of older writers (two levels, a repeated field alone, MAP_KEY_VALUE).

use delta_kernel::schema::{ArrayType, DataType, MapType};
use parquet::basic::Repetition;
use parquet::schema::types::{Type, TypePtr};

use super::bare;
use super::find::Finder;
use crate::values::{Member, Node};

/// Which field is the element of a list.
pub(crate) enum Element<'a> {
    /// The repeated field itself.
    Repeated(&'a TypePtr),
    /// The only field of the repeated group.
    Inner(&'a TypePtr),
}

/// Finds the element of a list.
pub(crate) fn list<'a>(array: &ArrayType, there: &'a Type, finder: &Finder) -> Result<Element<'a>, String> {
    let is_list = !there.is_primitive() && !bare::is_map(there);
    let repeated = match is_list.then(|| there.get_fields()) {
        Some([one]) if bare::repetition(one) == Repetition::REPEATED => one,
        _ => return Err(format!("it is stored as {}, which is no ARRAY", bare::shown(there))),
    };
    if repeated.is_primitive() {
        return Ok(Element::Repeated(repeated));
    }
    let [inner] = repeated.get_fields() else { return Ok(Element::Repeated(repeated)) };
    let DataType::Struct(fields) = array.element_type() else { return Ok(Element::Inner(inner)) };
    // Either a struct of one field, or a group around a struct: decided by its content, then by the names of old writers.
    let is_field = fields.fields().any(|field| {
        let same = finder.find(field, std::slice::from_ref(inner)).is_ok_and(|place| place.is_some());
        same && inner.is_primitive() == matches!(field.data_type(), DataType::Primitive(_))
    });
    let old_name = repeated.name() == "array" || repeated.name() == format!("{}_tuple", there.name());
    let is_element = inner.is_primitive() || (old_name && is_field);
    Ok(if is_element { Element::Repeated(repeated) } else { Element::Inner(inner) })
}

/// The entries, the key and the value of a map.
pub(crate) fn map(there: &Type) -> Result<(&TypePtr, &TypePtr, &TypePtr), String> {
    let is_map = !there.is_primitive() && !bare::is_list(there);
    let entries = match is_map.then(|| there.get_fields()) {
        Some([one]) if bare::repetition(one) == Repetition::REPEATED && !one.is_primitive() => one,
        _ => return Err(format!("it is stored as {}, which is no MAP", bare::shown(there))),
    };
    let [key, value] = entries.get_fields() else {
        return Err(format!(
            "the entries of the map have {} fields, not a key and a value",
            entries.get_fields().len()
        ));
    };
    if [key, value].iter().any(|field| bare::repetition(field) == Repetition::REPEATED) {
        return Err("a key or value of the map is repeated by itself, which the format does not allow".to_owned());
    }
    Ok((entries, key, value))
}

/// The element, as a member of its list.
pub(crate) fn element(array: &ArrayType, node: Node) -> Member {
    Member { name: "element".to_owned(), nullable: array.contains_null(), at: Some(0), node }
}

/// Key and value, as members of the map's entries.
pub(crate) fn entries(map: &MapType, key: Node, value: Node) -> (Member, Member) {
    (
        Member { name: "key".to_owned(), nullable: false, at: Some(0), node: key },
        Member { name: "value".to_owned(), nullable: map.value_contains_null(), at: Some(1), node: value },
    )
}
