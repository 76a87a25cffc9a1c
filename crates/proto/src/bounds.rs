//! Bounds what a request may cost, judged by its bytes before anything is decoded: the items of its lists and the
//! lengths of its texts against their `max_len`, and the memory of the decoded message against its size on the wire.
//!
//! One walk over the bytes; it copies nothing and stops at the first bound that is broken. A request that is not
//! well-formed passes: decoding rejects it at the same place, so it costs no more than the walk did.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use tonic::Code;

use crate::error::ApiError;
use crate::rules;
use crate::types::v1::ErrorReason;

/// Most items of a list for which the contract has no rule.
const ITEMS_WITHOUT_RULE: u64 = 100_000;
/// Most paths in one `update_mask`.
const MASK_PATHS: u64 = 1000;
/// A decoded message may take [`FREE_BYTES`], plus this many bytes for each byte that it has on the wire.
const FACTOR: u64 = 4;
const FREE_BYTES: u64 = 4 << 20;
/// The nesting depth at which prost stops decoding.
const MAX_DEPTH: usize = 100;

/// A vector grows by doubling, and holds its old and its new buffer while it does: up to three times its content.
const GROWTH: u64 = 3;
const STRING: u64 = 24;
const MAP_ENTRY: u64 = 64;

/// What is needed to judge one field.
struct Bound {
    name: String,
    /// Most items, for a list or map.
    items: Option<u64>,
    /// Most bytes, for a text; of each item, for a list of texts.
    bytes: Option<u64>,
    shape: Shape,
}

enum Shape {
    /// A text or bytes.
    Text,
    /// Numbers that can be packed: the width of one on the wire (`None` for varints), and its size in memory.
    Number { fixed: Option<usize>, size: u64 },
    /// Another message, or the entry of a map, and the size of its struct.
    Message { name: String, size: u64 },
}

type Message = HashMap<u32, Bound>;

static BOUNDS: LazyLock<HashMap<String, Message>> = LazyLock::new(|| {
    let pool = crate::descriptor::pool();
    let of = |message: MessageDescriptor| {
        let rules = rules::of(&message);
        let bounds = rules.iter().map(|(field, rules)| (field.number(), bound(field, rules)));
        (message.full_name().to_owned(), bounds.collect())
    };
    pool.all_messages().map(of).collect()
});

fn bound(field: &FieldDescriptor, rules: &rules::Rules) -> Bound {
    let many = field.is_list() || field.is_map();
    let given = (rules.max_len > 0).then_some(rules.max_len);
    let mask = field.full_name() == "google.protobuf.FieldMask.paths";
    let items = many.then(|| given.unwrap_or(if mask { MASK_PATHS } else { ITEMS_WITHOUT_RULE }));
    let text = if many { rules.values.as_ref().map(|rules| rules.max_len).filter(|max| *max > 0) } else { given };
    let shape = match field.kind() {
        Kind::Message(inner) if field.is_map() => {
            Shape::Message { name: inner.full_name().to_owned(), size: MAP_ENTRY + size(&inner, &mut Vec::new()) }
        }
        Kind::Message(inner) => {
            Shape::Message { name: inner.full_name().to_owned(), size: size(&inner, &mut Vec::new()) }
        }
        Kind::String | Kind::Bytes => Shape::Text,
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => Shape::Number { fixed: Some(8), size: 8 },
        Kind::Fixed32 | Kind::Sfixed32 | Kind::Float => Shape::Number { fixed: Some(4), size: 4 },
        Kind::Int64 | Kind::Uint64 | Kind::Sint64 => Shape::Number { fixed: None, size: 8 },
        _ => Shape::Number { fixed: None, size: 4 },
    };
    // A character has up to four bytes.
    let bytes = text.map(|max| max.saturating_mul(if field.kind() == Kind::String { 4 } else { 1 }));
    Bound { name: field.name().to_owned(), items, bytes, shape }
}

/// The size of the struct that prost generates for a message; within itself, a recursive message is a pointer.
fn size(message: &MessageDescriptor, around: &mut Vec<String>) -> u64 {
    if around.iter().any(|name| name == message.full_name()) {
        return 8;
    }
    around.push(message.full_name().to_owned());
    let of = |field: &FieldDescriptor, around: &mut Vec<String>| match field.kind() {
        _ if field.is_map() => 48,
        _ if field.is_list() => 24,
        Kind::Message(inner) => 8 + size(&inner, around),
        Kind::Bytes => 32,
        Kind::String => STRING,
        _ if field.supports_presence() => 16,
        _ => 8,
    };
    let alone: u64 = message.fields().filter(|field| field.containing_oneof().is_none()).map(|f| of(&f, around)).sum();
    // Only one member of a oneof is present.
    let chosen = message.oneofs().map(|oneof| 8 + oneof.fields().map(|f| of(&f, around)).max().unwrap_or(0));
    let chosen: u64 = chosen.collect::<Vec<_>>().into_iter().sum();
    around.pop();
    alone + chosen
}

/// Counts the items of each list of a message and of its inner messages. prost merges an inner message that occurs
/// twice, so the counts of its lists continue.
#[derive(Default)]
struct Seen {
    items: HashMap<u32, u64>,
    inner: HashMap<u32, Seen>,
}

/// Checks the bytes of a request against the bounds of `message`, the type that they are to be decoded as.
///
/// # Errors
/// INVALID_ARGUMENT names the field whose list or text is too long. RESOURCE_EXHAUSTED (TOO_LARGE) means that the
/// decoded message would take too much memory for its size.
pub fn check(message: &MessageDescriptor, bytes: &[u8]) -> Result<(), ApiError> {
    let allowed = FREE_BYTES + FACTOR * bytes.len() as u64;
    let mut walk = Walk { path: Vec::new(), left: allowed, allowed };
    match walk.message(message.full_name(), bytes, &mut Seen::default(), 0) {
        Err(Stop::Refused(error)) => Err(*error),
        Err(Stop::Malformed) | Ok(()) => Ok(()),
    }
}

enum Stop {
    Refused(Box<ApiError>),
    Malformed,
}

struct Walk<'a> {
    /// The path to the present field, with the index of the item in each list.
    path: Vec<(&'a str, Option<u64>)>,
    left: u64,
    allowed: u64,
}

impl<'a> Walk<'a> {
    fn message(&mut self, name: &str, mut bytes: &[u8], seen: &mut Seen, depth: usize) -> Result<(), Stop> {
        let bounds: Option<&'a Message> = BOUNDS.get(name);
        if depth > MAX_DEPTH {
            return Err(Stop::Malformed);
        }
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            let (number, wire) = ((key >> 3) as u32, key & 7);
            let content = match wire {
                0 => {
                    varint(&mut bytes)?;
                    None
                }
                1 => take(&mut bytes, 8).map(|_| None)?,
                5 => take(&mut bytes, 4).map(|_| None)?,
                2 => {
                    let length = varint(&mut bytes)?;
                    Some(take(&mut bytes, usize::try_from(length).map_err(|_| Stop::Malformed)?)?)
                }
                // Groups are deprecated; no contract of ours has one, and prost keeps nothing of them.
                _ => return Err(Stop::Malformed),
            };
            if let Some(bound) = bounds.and_then(|bounds| bounds.get(&number)) {
                self.field(number, bound, content, seen, depth)?;
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        number: u32,
        bound: &'a Bound,
        content: Option<&[u8]>,
        seen: &mut Seen,
        depth: usize,
    ) -> Result<(), Stop> {
        let at = seen.items.entry(number).or_default();
        let first = *at;
        if let Some(most) = bound.items {
            *at += match (&bound.shape, content) {
                (Shape::Number { fixed: Some(width), .. }, Some(packed)) => (packed.len() / width) as u64,
                (Shape::Number { fixed: None, .. }, Some(packed)) => {
                    packed.iter().filter(|byte| **byte < 0x80).count() as u64
                }
                _ => 1,
            };
            if *at > most {
                self.path.push((&bound.name, None));
                return Err(self.violation(format!("has more than {most} items: at most {most} are allowed")));
            }
            let items = *at - first;
            let size = match &bound.shape {
                Shape::Text => STRING,
                Shape::Number { size, .. } | Shape::Message { size, .. } => *size,
            };
            self.charge(items * size * GROWTH)?;
        }
        self.path.push((&bound.name, bound.items.map(|_| first)));
        match (&bound.shape, content) {
            (Shape::Text, Some(text)) => {
                if let Some(most) = bound.bytes.filter(|most| text.len() as u64 > *most) {
                    return Err(self.violation(format!("has {} bytes: at most {most} are allowed", text.len())));
                }
                // No allocation is smaller than this. The content itself is covered by FACTOR: it is copied when the
                // request is decoded, and once more when it is validated.
                self.charge(if text.is_empty() { 0 } else { 16 })?;
            }
            (Shape::Message { name, .. }, Some(inner)) => {
                // Each item of a list is a message of its own.
                let mut own = Seen::default();
                let seen = if bound.items.is_some() { &mut own } else { seen.inner.entry(number).or_default() };
                self.message(name, inner, seen, depth + 1)?;
            }
            _ => {}
        }
        self.path.pop();
        Ok(())
    }

    fn charge(&mut self, bytes: u64) -> Result<(), Stop> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let text = format!(
                    "the request would take more than {} bytes decoded, too much for its size: it holds too many small \
                     items; send fewer of them in one call",
                    self.allowed
                );
                let error = ApiError::new(Code::ResourceExhausted, ErrorReason::TooLarge, text);
                Err(Stop::Refused(Box::new(error.with("limit", self.allowed))))
            }
        }
    }

    fn violation(&self, description: String) -> Stop {
        let mut path = String::new();
        for (name, item) in &self.path {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
            if let Some(item) = item {
                path.push_str(&format!("[{item}]"));
            }
        }
        Stop::Refused(Box::new(ApiError::invalid_field(path, description)))
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Stop> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(Stop::Malformed)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Stop::Malformed)
}

fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Result<&'b [u8], Stop> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Stop::Malformed)?;
    *bytes = rest;
    Ok(taken)
}
