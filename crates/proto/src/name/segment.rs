//! One segment of a name: an id that mms or a caller chose, or a text from the source, percent-encoded.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::PartitionId;

/// Everything but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Most characters of a [`ResourceId`].
pub const MAX_ID: usize = 63;

/// A type that can stand between two slashes of a name.
pub trait Segment: Sized + fmt::Display {
    /// Reads a segment as it stands in a name; the error says what is wrong with it.
    fn parse_segment(segment: &str) -> Result<Self, String>;
}

/// An id that mms or a caller chose: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ResourceId(String);

impl ResourceId {
    /// Checks an id; the error says what it must match.
    pub fn new(id: impl Into<String>) -> Result<Self, String> {
        let id = id.into();
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let bytes = id.as_bytes();
        let fits = (1..=MAX_ID).contains(&bytes.len())
            && bytes.iter().all(|&c| inner(c) || c == b'-')
            && inner(bytes[0])
            && inner(bytes[bytes.len() - 1]);
        if fits { Ok(Self(id)) } else { Err(format!("id {id:?} does not match [a-z0-9]([a-z0-9-]{{0,61}}[a-z0-9])?")) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Segment for ResourceId {
    fn parse_segment(segment: &str) -> Result<Self, String> {
        Self::new(segment)
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text of the source, such as a table's name, as the source spells it. It is percent-encoded in a name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SourceId(String);

impl SourceId {
    /// Wraps a text as the source spells it. Only the empty text is rejected.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        if text.is_empty() { Err("a segment is empty".into()) } else { Ok(Self(text)) }
    }

    /// The text as the source spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Segment for SourceId {
    fn parse_segment(segment: &str) -> Result<Self, String> {
        Self::new(decode(segment)?)
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

/// Percent-encodes a text. A lone `-` is encoded too, because it is the wildcard of lists.
pub(super) fn encode(text: &str) -> String {
    if text == "-" { "%2D".into() } else { utf8_percent_encode(text, ENCODED).to_string() }
}

/// Undoes [`encode`], and rejects every other spelling of the same text.
pub(super) fn decode(segment: &str) -> Result<String, String> {
    if segment == "-" {
        return Err("\"-\" stands for all of a list and is not one resource".into());
    }
    let text = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| format!("segment {segment:?} is not percent-encoded UTF-8"))?
        .into_owned();
    let canonical = encode(&text);
    if canonical == segment {
        Ok(text)
    } else {
        Err(format!("segment {segment:?} must be written {canonical:?} (RFC 3986, unreserved characters stay)"))
    }
}

/// The segments of a name that has exactly these collections.
pub(super) fn split<'a>(name: &'a str, collections: &[&str]) -> Result<Vec<&'a str>, String> {
    let parts: Vec<_> = name.split('/').collect();
    if parts.len() != collections.len() * 2 {
        return Err(format!("it has {} parts instead of {}", parts.len(), collections.len() * 2));
    }
    let mut segments = Vec::with_capacity(collections.len());
    for (pair, collection) in parts.chunks(2).zip(collections) {
        if pair[0] != *collection {
            return Err(format!("{:?} stands where {collection:?} must", pair[0]));
        }
        segments.push(pair[1]);
    }
    Ok(segments)
}

/// Checks that a text is a name of a shape such as `dataSources/*/schemas/-`: `*` is one resource, `-` is one or all.
pub(crate) fn check_shape(name: &str, shape: &str) -> Result<(), String> {
    let (collections, marks): (Vec<_>, Vec<_>) =
        shape.split('/').collect::<Vec<_>>().chunks(2).map(|pair| (pair[0], pair.get(1).copied())).unzip();
    for ((segment, mark), collection) in split(name, &collections)?.iter().zip(marks).zip(&collections) {
        if !(mark == Some("-") && *segment == "-") {
            check_segment(collection, segment)?;
        }
    }
    Ok(())
}

/// Checks that a segment may stand in a collection.
pub(super) fn check_segment(collection: &str, segment: &str) -> Result<(), String> {
    match collection {
        "schemas" | "tables" => SourceId::parse_segment(segment).map(drop),
        "partitions" => PartitionId::parse_segment(segment).map(drop),
        _ => ResourceId::parse_segment(segment).map(drop),
    }
}
