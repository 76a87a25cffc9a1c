//! The filter of a list, over the resource that the list shows: its fields are those of the message in the contract, by
//! name, with a dot for fields of inner messages. It knows messages by their descriptors, and no service's records.
//!
//! An enum value is the text of its name without the type's prefix, a time is RFC 3339 in UTC, a duration is a number
//! of seconds. An empty or unset field has no value (NULL). Lists, maps and secrets cannot be filtered on.

use std::borrow::Cow;
use std::marker::PhantomData;

use mms_expr::{Expr, Kind, Literal, Row, Schema, Value};
use mms_proto::{ApiError, descriptor, redact};
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, MessageDescriptor, ReflectMessage, Value as Held,
};

/// Most names in the path of a field.
const DEPTH_MAX: usize = 6;
const TIMESTAMP: &str = "google.protobuf.Timestamp";
const DURATION: &str = "google.protobuf.Duration";

/// A filter over resources of one type.
#[derive(Debug)]
pub struct Filter<T> {
    expr: Option<Expr>,
    of: PhantomData<fn(&T)>,
}

impl<T: prost::Message + prost::Name> Filter<T> {
    /// Parses the `filter` of a request; an empty one passes everything.
    ///
    /// # Errors
    /// INVALID_ARGUMENT with a violation of the field `filter` that says what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let expr = match text.trim() {
            "" => None,
            _ => Some(bound::<T>(text).map_err(|why| ApiError::invalid_field("filter", why))?),
        };
        Ok(Self { expr, of: PhantomData })
    }

    /// Whether every resource passes because the filter is empty.
    pub fn is_empty(&self) -> bool {
        self.expr.is_none()
    }

    /// Whether the filter passes a resource.
    pub fn passes(&self, resource: &T) -> bool {
        let Some(expr) = &self.expr else { return true };
        let mut message = DynamicMessage::new(descriptor::message::<T>());
        message.transcode_from(resource).is_ok() && expr.eval(&Resource(message)).is_true()
    }
}

fn bound<T: prost::Name>(text: &str) -> Result<Expr, String> {
    let refused = |error: mms_expr::ExprError| error.to_string();
    let mut expr = text.parse::<Expr>().map_err(refused)?;
    let fields = Fields(descriptor::message::<T>());
    expr.check(&fields).map_err(refused)?;
    expr.try_each_literal(&mut |field, ordered, literal| fields.bind(field, ordered, literal))?;
    Ok(expr)
}

/// The type of a field, as filters see it.
pub(crate) enum Type {
    Plain(Kind),
    Enum(EnumDescriptor),
    Time,
    Duration,
    Inner(MessageDescriptor),
}

fn type_of(field: &FieldDescriptor) -> Option<Type> {
    use prost_reflect::Kind as K;
    if field.is_list() || field.is_map() || redact::is_secret(field) {
        return None;
    }
    Some(match field.kind() {
        K::String => Type::Plain(Kind::Text),
        K::Bool => Type::Plain(Kind::Boolean),
        K::Double | K::Float => Type::Plain(Kind::Number),
        K::Bytes => return None,
        K::Enum(of) => Type::Enum(of),
        K::Message(inner) => match inner.full_name() {
            TIMESTAMP => Type::Time,
            DURATION => Type::Duration,
            _ => Type::Inner(inner),
        },
        _ => Type::Plain(Kind::Integer),
    })
}

/// The fields of a message.
#[derive(Debug)]
pub(crate) struct Fields(pub(crate) MessageDescriptor);

impl Fields {
    /// The names of all fields that can be filtered on, for people.
    pub(crate) fn known(&self) -> String {
        self.names().join(", ")
    }

    pub(crate) fn find(&self, path: &str) -> Option<Type> {
        let mut message = self.0.clone();
        let mut steps = path.split('.').peekable();
        while let Some(step) = steps.next() {
            match (type_of(&message.get_field_by_name(step)?)?, steps.peek()) {
                (Type::Inner(inner), Some(_)) => message = inner,
                (Type::Inner(_), None) | (_, Some(_)) => return None,
                (found, None) => return Some(found),
            }
        }
        None
    }

    fn collect(message: &MessageDescriptor, before: &str, depth: usize, names: &mut Vec<String>) {
        for field in message.fields() {
            let name = format!("{before}{}", field.name());
            match type_of(&field) {
                Some(Type::Inner(inner)) if depth < DEPTH_MAX => {
                    Self::collect(&inner, &format!("{name}."), depth + 1, names);
                }
                Some(Type::Inner(_)) | None => {}
                Some(_) => names.push(name),
            }
        }
    }

    /// Checks the texts that enums and times are compared with, and rewrites times into the form that [`time_text`]
    /// gives rows.
    fn bind(&self, field: &str, ordered: bool, literal: &mut Literal) -> Result<(), String> {
        let Literal::Text(text) = literal else { return Ok(()) };
        match self.find(field) {
            Some(Type::Enum(_)) if ordered => {
                Err(format!("filter: `{field}` names states, which have no order: use =, != or IN"))
            }
            Some(Type::Enum(of)) => {
                let words: Vec<String> = of.values().skip(1).map(|value| word(&of, value.name())).collect();
                if words.contains(text) {
                    return Ok(());
                }
                Err(format!("filter: `{field}` is never {text:?}; it is one of {}", words.join(", ")))
            }
            Some(Type::Time) => match text.parse::<prost_types::Timestamp>() {
                Ok(time) => {
                    *text = time_text(time.seconds, time.nanos);
                    Ok(())
                }
                Err(_) => Err(format!("filter: {text:?} is not a time; write `{field}` as in 2026-01-31T23:59:59Z")),
            },
            _ => Ok(()),
        }
    }
}

impl Schema for Fields {
    fn kind(&self, field: &str) -> Option<Kind> {
        self.find(field).map(|found| match found {
            Type::Plain(kind) => kind,
            Type::Duration => Kind::Number,
            Type::Enum(_) | Type::Time | Type::Inner(_) => Kind::Text,
        })
    }

    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        Self::collect(&self.0, "", 1, &mut names);
        names
    }
}

/// The name of an enum value without the enum's prefix, which is what its zero value has before UNSPECIFIED.
fn word(of: &EnumDescriptor, name: &str) -> String {
    let zero = of.default_value();
    let prefix = zero.name().strip_suffix("UNSPECIFIED").unwrap_or_default();
    name.strip_prefix(prefix).unwrap_or(name).to_owned()
}

/// A time as text of fixed width, so that texts sort as times do. The contract's times begin with the year 0001.
fn time_text(seconds: i64, nanos: i32) -> String {
    let whole = prost_types::Timestamp { seconds, nanos: 0 }.to_string();
    format!("{}.{nanos:09}Z", whole.trim_end_matches('Z'))
}

struct Resource(DynamicMessage);

impl Row for Resource {
    fn value(&self, field: &str) -> Value<'_> {
        found(&self.0, field)
    }
}

/// The value of a field of a message, as a filter compares it.
pub(crate) fn found(message: &DynamicMessage, path: &str) -> Value<'static> {
    let (step, rest) = path.split_once('.').map_or((path, None), |(step, rest)| (step, Some(rest)));
    let Some(field) = message.descriptor().get_field_by_name(step) else { return Value::Null };
    if field.supports_presence() && !message.has_field(&field) {
        return Value::Null;
    }
    let held = message.get_field(&field);
    match (held.as_ref(), field.kind(), rest) {
        (Held::Message(inner), _, Some(rest)) => found(inner, rest),
        (Held::Message(inner), _, None) => moment(inner),
        (Held::EnumNumber(0), ..) => Value::Null,
        (Held::EnumNumber(number), prost_reflect::Kind::Enum(of), _) => {
            of.get_value(*number).map_or(Value::Null, |value| Value::Text(Cow::Owned(word(&of, value.name()))))
        }
        (Held::String(text), ..) if text.is_empty() => Value::Null,
        (Held::String(text), ..) => Value::Text(Cow::Owned(text.clone())),
        (Held::Bool(value), ..) => Value::Boolean(*value),
        (Held::F64(value), ..) => Value::Number(*value),
        (Held::F32(value), ..) => Value::Number(f64::from(*value)),
        (Held::I32(value), ..) => Value::Integer(i64::from(*value)),
        (Held::U32(value), ..) => Value::Integer(i64::from(*value)),
        (Held::I64(value), ..) => Value::Integer(*value),
        (Held::U64(value), ..) => Value::Integer(i64::try_from(*value).unwrap_or(i64::MAX)),
        _ => Value::Null,
    }
}

/// The value of a Timestamp or a Duration, which have the same fields.
fn moment(message: &DynamicMessage) -> Value<'static> {
    let part = |name: &str| message.get_field_by_name(name).map(|value| value.into_owned());
    let (Some(Held::I64(seconds)), Some(Held::I32(nanos))) = (part("seconds"), part("nanos")) else {
        return Value::Null;
    };
    match message.descriptor().full_name() {
        TIMESTAMP => Value::Text(Cow::Owned(time_text(seconds, nanos))),
        _ => Value::Number(seconds as f64 + f64::from(nanos) / 1e9),
    }
}

/// Most records that are read for one page, whether they are shown or not. A page that ends for this reason may be
/// short, even empty, and still have a next one.
pub const LOOKED_AT_MAX: usize = 20_000;
/// Records in one read.
const READ: usize = 500;

/// Fills a page with what `show` makes of records; `None` leaves a record out. `read` returns up to so many records
/// after a cursor, each with its own cursor, and whether there are more. Only `read` may hold a lock: so a filter that
/// passes little blocks nobody for long. Returns the page, and the cursor after which the next page begins.
///
/// # Errors
/// The first error of `read` or `show`.
pub fn fill<C, R, P, E>(
    size: usize,
    bytes_max: usize,
    mut after: Option<C>,
    mut read: impl FnMut(Option<&C>, usize) -> Result<(Vec<(C, R)>, bool), E>,
    mut show: impl FnMut(&C, R) -> Result<Option<P>, E>,
) -> Result<(Vec<P>, Option<C>), E>
where
    P: prost::Message,
{
    let (mut page, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
    // Without a filter the first read fills the page.
    let mut together = size.min(READ);
    loop {
        let (records, more) = read(after.as_ref(), together.min(LOOKED_AT_MAX - looked_at).max(1))?;
        together = READ;
        let count = records.len();
        for (at, (cursor, record)) in records.into_iter().enumerate() {
            looked_at += 1;
            if let Some(item) = show(&cursor, record)? {
                bytes += item.encoded_len();
                page.push(item);
            }
            let full = page.len() >= size || bytes >= bytes_max || looked_at >= LOOKED_AT_MAX;
            let last = at + 1 == count && !more;
            after = Some(cursor);
            if full && !last {
                return Ok((page, after));
            }
        }
        if !more || count == 0 {
            return Ok((page, None));
        }
    }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
