//! The `order_by` of a list, over the resource that the list shows: names of fields, each followed by "desc" for
//! descending order. Unset fields come first, with "desc" last; enum values are ordered as in the contract. Resources
//! that are equal in all fields keep the order that the list has without `order_by`.
//!
//! The sort key of a resource is bytes that compare as the resources do, so that a page token can hold the position at
//! which a list continues.

use std::fmt::Write as _;
use std::marker::PhantomData;

use mms_expr::Value;
use mms_proto::{ApiError, descriptor};
use prost_reflect::{DynamicMessage, ReflectMessage, Value as Held};

use crate::filter::{Fields, found};

/// Most fields in one `order_by`.
const FIELDS_MAX: usize = 8;
/// Most bytes of a text that take part in the order: the sort key is part of the page token.
const TEXT_MAX: usize = 256;

/// The order of resources of one type.
#[derive(Debug)]
pub struct Order<T> {
    by: Vec<(String, bool)>,
    of: PhantomData<fn(&T)>,
}

impl<T: prost::Message + prost::Name> Order<T> {
    /// Parses the `order_by` of a request; an empty one orders nothing.
    ///
    /// # Errors
    /// INVALID_ARGUMENT with a violation of the field `order_by` that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let by = parsed(text, &Fields(descriptor::message::<T>()));
        Ok(Self { by: by.map_err(|why| ApiError::invalid_field("order_by", why))?, of: PhantomData })
    }

    /// Whether the request asks for an order.
    pub fn is_some(&self) -> bool {
        !self.by.is_empty()
    }

    /// The sort key of a resource.
    pub fn place(&self, resource: &T) -> Vec<u8> {
        let mut message = DynamicMessage::new(descriptor::message::<T>());
        // It cannot fail: `message` has the descriptor of `T`.
        let _same = message.transcode_from(resource).is_ok();
        let mut place = Vec::new();
        for (field, greater_first) in &self.by {
            let start = place.len();
            write(&value(&message, field), &mut place);
            if *greater_first {
                place.iter_mut().skip(start).for_each(|byte| *byte = !*byte);
            }
        }
        place
    }
}

fn parsed(text: &str, fields: &Fields) -> Result<Vec<(String, bool)>, String> {
    let mut by: Vec<(String, bool)> = Vec::new();
    if text.trim().is_empty() {
        return Ok(by);
    }
    for part in text.split(',') {
        let mut words = part.split_whitespace();
        let (field, way) = (words.next().unwrap_or_default(), words.next().unwrap_or("asc").to_ascii_lowercase());
        if words.next().is_some() || !matches!(way.as_str(), "asc" | "desc") {
            return Err(format!("order_by: {:?} is not a field name with an optional \"desc\"", part.trim()));
        }
        if fields.find(field).is_none() {
            return Err(format!("order_by: there is no field `{field}`; known fields: {}", fields.known()));
        }
        if by.iter().any(|(known, _)| known == field) {
            return Err(format!("order_by: `{field}` is named twice"));
        }
        by.push((field.to_owned(), way == "desc"));
    }
    if by.len() > FIELDS_MAX {
        Err(format!("order_by: names {} fields, the limit is {FIELDS_MAX}", by.len()))
    } else {
        Ok(by)
    }
}

/// The value of a field as filters see it, except that an enum is its number, because it has an order here.
fn value(message: &DynamicMessage, path: &str) -> Value<'static> {
    number_of_enum(message, path).map_or_else(
        || found(message, path),
        |number| match number {
            0 => Value::Null,
            number => Value::Integer(number.into()),
        },
    )
}

fn number_of_enum(message: &DynamicMessage, path: &str) -> Option<i32> {
    let (step, rest) = path.split_once('.').map_or((path, None), |(step, rest)| (step, Some(rest)));
    let held = message.get_field(&message.descriptor().get_field_by_name(step)?);
    match (held.as_ref(), rest) {
        (Held::EnumNumber(number), None) => Some(*number),
        (Held::Message(inner), Some(rest)) => number_of_enum(inner, rest),
        _ => None,
    }
}

/// Appends a value in a form whose bytes compare as the values do.
fn write(value: &Value<'_>, out: &mut Vec<u8>) {
    out.push(u8::from(*value != Value::Null));
    match value {
        Value::Null => {}
        Value::Boolean(value) => out.push(u8::from(*value)),
        Value::Integer(value) => out.extend((value ^ i64::MIN).to_be_bytes()),
        Value::Number(value) => {
            let bits = value.to_bits();
            // For positive numbers the bits compare as the numbers do, for negative ones the other way round.
            out.extend(if bits >> 63 == 0 { bits | (1 << 63) } else { !bits }.to_be_bytes());
        }
        Value::Text(text) | Value::Decimal(text) => {
            let bytes = text.as_bytes();
            for byte in &bytes[..bytes.len().min(TEXT_MAX)] {
                // The end is two zeros, which is less than every continuation.
                out.push(*byte);
                if *byte == 0 {
                    out.push(1);
                }
            }
            out.extend([0, 0]);
        }
    }
}

/// A sort key as text.
pub(crate) fn text_of(place: &[u8]) -> String {
    place.iter().fold(String::with_capacity(place.len() * 2), |mut text, byte| {
        // Writing into a text cannot fail.
        let _written = write!(text, "{byte:02x}").is_ok();
        text
    })
}

/// The sort key that a text was made from; `None` if it is no such text.
pub(crate) fn place_of(text: &str) -> Option<Vec<u8>> {
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use mms_proto::registry::v1 as pb;
    use proptest::prelude::*;

    use super::*;

    fn source(name: &str, state: pb::DataSourceState, seconds: i64, tasks: i32) -> pb::DataSource {
        let time = prost_types::Timestamp { seconds, nanos: 0 };
        pb::DataSource {
            display_name: name.into(),
            state: state as i32,
            create_time: (seconds != 0).then_some(time),
            settings: Some(pb::MigrationSettings { max_concurrent_tasks: tasks, ..pb::MigrationSettings::default() }),
            ..pb::DataSource::default()
        }
    }

    fn any_source() -> impl Strategy<Value = pb::DataSource> {
        let states = [pb::DataSourceState::Unspecified, pb::DataSourceState::Stopped, pb::DataSourceState::Started];
        ("[a-c\0]{0,3}", 0..3_usize, -2..3_i64, -2..3_i32)
            .prop_map(move |(name, state, time, tasks)| source(&name, states[state], time, tasks))
    }

    proptest! {
        /// Sort keys compare as the fields do, one after the other, each ascending or descending.
        #[test]
        fn places_compare_as_fields_do(a in any_source(), b in any_source(), down in any::<[bool; 4]>()) {
            let fields = ["state", "display_name", "create_time", "settings.max_concurrent_tasks"];
            let text: Vec<String> =
                fields.iter().zip(down).map(|(field, down)| format!("{field}{}", if down { " DESC" } else { "" })).collect();
            let order = Order::<pb::DataSource>::parse(&text.join(" , ")).unwrap();
            let tasks = |one: &pb::DataSource| one.settings.as_ref().unwrap().max_concurrent_tasks;
            let turned = |found: std::cmp::Ordering, at: usize| if down[at] { found.reverse() } else { found };
            let wanted = turned(a.state.cmp(&b.state), 0)
                .then(turned(a.display_name.cmp(&b.display_name), 1))
                .then(turned(a.create_time.map(|time| time.seconds).cmp(&b.create_time.map(|time| time.seconds)), 2))
                .then(turned(tasks(&a).cmp(&tasks(&b)), 3));
            let (place, other) = (order.place(&a), order.place(&b));
            prop_assert_eq!(place.cmp(&other), wanted);
            prop_assert_eq!(place_of(&text_of(&place)), Some(place));
        }

        #[test]
        fn numbers_compare_as_numbers(a: f64, b: f64) {
            prop_assume!(!a.is_nan() && !b.is_nan() && a != b);
            let bytes = |number: f64| {
                let mut out = Vec::new();
                write(&Value::Number(number), &mut out);
                out
            };
            prop_assert_eq!(bytes(a).cmp(&bytes(b)), a.partial_cmp(&b).unwrap());
        }

        #[test]
        fn any_text_is_a_place_or_none(text in ".{0,40}") {
            drop(place_of(&text));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_there_is() {
        let refused = |text: &str| Order::<pb::DataSource>::parse(text).unwrap_err().violations[0].description.clone();
        assert!(refused("colour").contains("display_name"));
        assert!(refused("state upwards").contains("state upwards"));
        assert!(refused("state, state desc").contains("named twice"));
        assert!(refused("state,").contains("no field ``"));
        assert!(refused("databricks.access_token.token").contains("no field"), "secrets have no order");
        assert!(!Order::<pb::DataSource>::parse(" ").unwrap().is_some());
    }
}
