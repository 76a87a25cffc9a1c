//! Encodes messages by hand, for requests that no client of ours would send.

use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

/// A length-delimited field: text, bytes, a message, or packed numbers.
pub fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 8);
    encode_key(number, WireType::LengthDelimited, &mut out);
    encode_varint(content.len() as u64, &mut out);
    out.extend(content);
    out
}

/// Every list and map that a request can hold, each with the fields that lead to it.
pub fn lists(message: &MessageDescriptor, way: &mut Vec<FieldDescriptor>, found: &mut Vec<Vec<FieldDescriptor>>) {
    for field in message.fields() {
        if way.iter().any(|around| around.full_name() == field.full_name()) {
            continue;
        }
        way.push(field.clone());
        if field.is_list() || field.is_map() {
            found.push(way.clone());
        }
        if let Kind::Message(inner) = field.kind() {
            lists(&inner, way, found);
        }
        way.pop();
    }
}
