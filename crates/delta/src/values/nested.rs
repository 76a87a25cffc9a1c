//! Structs, lists and maps: their NULLs and lengths are kept, their parts converted one by one. Independent of how a file
//! names its levels.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, new_null_array};
use arrow::datatypes::{DataType, FieldRef};
use arrow::row::{RowConverter, SortField};

use super::calendar::Calendars;
use super::{Fault, Member, Node, carry, unexpected};

pub(super) fn structure(
    array: &ArrayRef,
    members: &[Member],
    to: &DataType,
    calendars: &Calendars,
) -> Result<ArrayRef, Fault> {
    let (Some(stored), DataType::Struct(fields)) = (array.as_struct_opt(), to) else {
        return Err(unexpected(array, to));
    };
    let mut columns = Vec::with_capacity(members.len());
    for (member, field) in members.iter().zip(fields) {
        let column = match member.at {
            None => new_null_array(field.data_type(), stored.len()),
            Some(at) => {
                let child = stored.columns().get(at).ok_or_else(|| unexpected(array, to))?;
                carry(child, &member.node, field.data_type(), calendars).map_err(|fault| fault.below(&member.name))?
            }
        };
        if !field.is_nullable() {
            let parent = stored.nulls();
            let missing =
                (0..stored.len()).any(|row| parent.is_none_or(|nulls| nulls.is_valid(row)) && column.is_null(row));
            if missing {
                return Err(not_null(member).below(&member.name));
            }
        }
        columns.push(column);
    }
    StructArray::try_new_with_length(fields.clone(), columns, stored.nulls().cloned(), stored.len())
        .map(|made| Arc::new(made) as ArrayRef)
        .map_err(|e| Fault::new(e.to_string()))
}

pub(super) fn list(
    array: &ArrayRef,
    element: &Member,
    to: &DataType,
    calendars: &Calendars,
) -> Result<ArrayRef, Fault> {
    let (Some(stored), DataType::List(field)) = (array.as_list_opt::<i32>(), to) else {
        return Err(unexpected(array, to));
    };
    let (first, length) = span(stored.value_offsets());
    let values = part(&stored.values().slice(first, length), element, field, calendars)?;
    let offsets = from_zero(stored.value_offsets());
    ListArray::try_new(field.clone(), offsets, values, stored.nulls().cloned())
        .map(|made| Arc::new(made) as ArrayRef)
        .map_err(|e| Fault::new(e.to_string()))
}

pub(super) fn map(
    array: &ArrayRef,
    key: &Member,
    value: &Member,
    to: &DataType,
    calendars: &Calendars,
) -> Result<ArrayRef, Fault> {
    let (Some(stored), DataType::Map(entry, ordered)) = (array.as_map_opt(), to) else {
        return Err(unexpected(array, to));
    };
    let DataType::Struct(fields) = entry.data_type() else { return Err(unexpected(array, to)) };
    let [key_field, value_field] = &fields[..] else { return Err(unexpected(array, to)) };
    let (first, length) = span(stored.value_offsets());
    let keys = part(&stored.keys().slice(first, length), key, key_field, calendars)?;
    let values = part(&stored.values().slice(first, length), value, value_field, calendars)?;
    let offsets = from_zero(stored.value_offsets());
    distinct(&keys, &offsets).map_err(|fault| fault.below("key"))?;
    let entries = StructArray::try_new(fields.clone(), vec![keys, values], None);
    entries
        .and_then(|entries| MapArray::try_new(entry.clone(), offsets, entries, stored.nulls().cloned(), *ordered))
        .map(|made| Arc::new(made) as ArrayRef)
        .map_err(|e| Fault::new(e.to_string()))
}

fn part(stored: &ArrayRef, member: &Member, field: &FieldRef, calendars: &Calendars) -> Result<ArrayRef, Fault> {
    let made = carry(stored, &member.node, field.data_type(), calendars).map_err(|fault| fault.below(&member.name))?;
    if !field.is_nullable() && made.null_count() > 0 {
        return Err(not_null(member).below(&member.name));
    }
    Ok(made)
}

pub(crate) fn not_null(member: &Member) -> Fault {
    let why = match (&member.node, member.name.as_str()) {
        (_, "key") => "a key of a map is NULL",
        (Node::Absent, _) => "the file does not have it, and the table says that it is NOT NULL",
        _ => "it is NULL, and the table says that it is NOT NULL",
    };
    Fault::new(why)
}

/// Fails if a map has a key twice: readers differ in which of its values they take.
fn distinct(keys: &ArrayRef, offsets: &[i32]) -> Result<(), Fault> {
    if offsets.windows(2).all(|pair| pair[1] - pair[0] < 2) {
        return Ok(());
    }
    let converter = RowConverter::new(vec![SortField::new(keys.data_type().clone())]);
    let rows = converter.and_then(|converter| converter.convert_columns(std::slice::from_ref(keys)));
    let rows = rows.map_err(|e| Fault::new(format!("its keys cannot be compared: {e}")))?;
    let mut seen = HashSet::new();
    for pair in offsets.windows(2) {
        seen.clear();
        if !(pair[0]..pair[1]).all(|at| seen.insert(rows.row(usize::try_from(at).unwrap_or(0)))) {
            return Err(Fault::new("a key stands twice in one map, and readers differ in which value they take"));
        }
    }
    Ok(())
}

/// Where the items of these rows begin, and how many there are.
fn span(offsets: &[i32]) -> (usize, usize) {
    let at = |offset: Option<&i32>| offset.and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
    let first = at(offsets.first());
    (first, at(offsets.last()) - first)
}

fn from_zero(offsets: &[i32]) -> arrow::buffer::OffsetBuffer<i32> {
    let first = offsets.first().copied().unwrap_or(0);
    arrow::buffer::OffsetBuffer::new(offsets.iter().map(|offset| offset - first).collect::<Vec<_>>().into())
}
