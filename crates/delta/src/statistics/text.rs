//! The text of a file's statistics, parsed without copying as far as possible: a plan looks at every file of a table and
//! keeps little of it. Statistics are optional, so that a text that cannot be parsed counts as none.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Parsed statistics that borrow from their text.
#[derive(Debug, Default)]
pub struct StatisticsText<'a> {
    pub(crate) rows: Option<u64>,
    pub(crate) tight: Option<bool>,
    pub(crate) nulls: Option<Fields<'a>>,
    pub(crate) least: Option<Fields<'a>>,
    pub(crate) most: Option<Fields<'a>>,
}

/// Fields of an object, sorted by name. If a name occurs twice, the last one counts.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a>(Vec<(Cow<'a, str>, Told<'a>)>);

/// The value of a field.
#[derive(Debug)]
pub(crate) enum Told<'a> {
    Text(Cow<'a, str>),
    Whole(u64),
    Negative(i64),
    Float(f64),
    Truth(bool),
    Object(Fields<'a>),
    /// NULL or a list.
    Nothing,
}

impl<'a> StatisticsText<'a> {
    /// Parses `stats` of an `add` action; None if the text is not an object.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let Ok(Told::Object(Fields(all))) = serde_json::from_str(text) else { return None };
        let mut found = Self::default();
        for (name, told) in all {
            match (name.as_ref(), told) {
                ("numRecords", Told::Whole(rows)) => found.rows = Some(rows),
                ("tightBounds", Told::Truth(tight)) => found.tight = Some(tight),
                ("nullCount", Told::Object(fields)) => found.nulls = Some(fields),
                ("minValues", Told::Object(fields)) => found.least = Some(fields),
                ("maxValues", Told::Object(fields)) => found.most = Some(fields),
                _ => {}
            }
        }
        Some(found)
    }

    /// Only the rows that [`StatisticsText::parse`] would find.
    pub(crate) fn rows_of(text: &str) -> Option<u64> {
        serde_json::from_str(text).ok().and_then(|Rows(rows)| rows)
    }
}

impl<'a> Fields<'a> {
    pub(crate) fn names(&self) -> impl Iterator<Item = &Cow<'a, str>> {
        self.0.iter().map(|(name, _)| name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Told<'a>> {
        let at = self.0.binary_search_by(|(other, _)| other.as_ref().cmp(name)).ok()?;
        self.0.get(at).map(|(_, told)| told)
    }

    /// The text at the end of this path of names.
    pub(crate) fn text_at(&self, path: &[String]) -> Option<&str> {
        let (first, rest) = path.split_first()?;
        match self.get(first)? {
            Told::Text(text) if rest.is_empty() => Some(text),
            Told::Object(fields) => fields.text_at(rest),
            _ => None,
        }
    }
}

impl<'a> Told<'a> {
    pub(crate) fn fields(&self) -> Option<&Fields<'a>> {
        if let Self::Object(fields) = self { Some(fields) } else { None }
    }

    pub(crate) fn count(&self) -> Option<u64> {
        if let Self::Whole(count) = self { Some(*count) } else { None }
    }

    /// The value as JSON text; None if it is not one that can be a bound.
    pub(crate) fn bound(&self) -> Option<String> {
        Some(match self {
            Self::Text(text) => quoted(text),
            Self::Whole(number) => number.to_string(),
            Self::Negative(number) => number.to_string(),
            Self::Float(number) => serde_json::Value::from(*number).to_string(),
            Self::Truth(truth) => truth.to_string(),
            Self::Object(_) | Self::Nothing => return None,
        })
    }
}

fn quoted(text: &str) -> String {
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        return serde_json::Value::from(text).to_string();
    }
    format!("\"{text}\"")
}

impl<'de: 'a, 'a> Deserialize<'de> for Told<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ToldVisitor)
    }
}

struct ToldVisitor;

impl<'de> Visitor<'de> for ToldVisitor {
    type Value = Told<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Told::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Told::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Told::Whole(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(number).map_or(Told::Negative(number), Told::Whole))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Told::Float(number))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(Told::Truth(truth))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Told::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        // Parsed as any other value, so that a text that is not JSON is rejected wherever its error stands.
        while items.next_element::<Told<'de>>()?.is_some() {}
        Ok(Told::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(Told::Text(name)) = entries.next_key()? {
            fields.push((name, entries.next_value()?));
        }
        let in_order = |pair: &[(Cow<'_, str>, Told<'_>)]| matches!(pair, [(a, _), (b, _)] if a < b);
        if !fields.windows(2).all(in_order) {
            // The sort is stable, so that of one name the last stays the last.
            fields.sort_by(|(a, _), (b, _)| b.cmp(a));
            fields.reverse();
            fields.dedup_by(|later, earlier| later.0 == earlier.0);
        }
        Ok(Told::Object(Fields(fields)))
    }
}

/// Only the rows.
struct Rows(Option<u64>);

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfRows;
        impl<'de> Visitor<'de> for OfRows {
            type Value = Rows;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Rows, A::Error> {
                let mut rows = None;
                while let Some(Told::Text(name)) = entries.next_key()? {
                    if name == "numRecords" {
                        rows = entries.next_value::<Told<'de>>()?.count();
                    } else {
                        entries.next_value::<Passed>()?;
                    }
                }
                Ok(Rows(rows))
            }
        }
        deserializer.deserialize_map(OfRows)
    }
}

/// A value that is parsed to find its errors, and dropped.
struct Passed;

impl<'de> Deserialize<'de> for Passed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Passed {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}
