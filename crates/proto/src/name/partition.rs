//! A partition as one segment of a name: its `key=value` levels joined by `,`, keys and values percent-encoded. NULL is
//! a key without `=`; the empty text is a key with nothing after `=`.

use std::fmt;

use super::segment::{Segment, decode, encode};

/// The levels of a partition, outermost first.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PartitionId(Vec<(String, Option<String>)>);

impl PartitionId {
    /// A partition with these levels: column name and value as the source spells them, `None` for NULL. The error is a
    /// text for people: there is no level, or a column has no name.
    pub fn new(levels: Vec<(String, Option<String>)>) -> Result<Self, String> {
        if levels.is_empty() {
            return Err("a partition has at least one level".into());
        }
        if levels.iter().any(|(key, _)| key.is_empty()) {
            return Err("a partition column has no name".into());
        }
        Ok(Self(levels))
    }

    /// The levels, outermost first.
    pub fn levels(&self) -> &[(String, Option<String>)] {
        &self.0
    }
}

impl Segment for PartitionId {
    fn parse_segment(segment: &str) -> Result<Self, String> {
        let levels = segment.split(',').map(|level| match level.split_once('=') {
            Some((key, value)) => Ok((decode(key)?, Some(decode(value)?))),
            None => Ok((decode(level)?, None)),
        });
        Self::new(levels.collect::<Result<_, String>>()?)
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (key, value)) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            f.write_str(&encode(key))?;
            if let Some(value) = value {
                write!(f, "={}", encode(value))?;
            }
        }
        Ok(())
    }
}
