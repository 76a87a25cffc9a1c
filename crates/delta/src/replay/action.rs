//! Parses those actions of a commit that concern files, borrowing from their line. As strict as JSON and the protocol: a line
//! that is not written the way writers do it is an error, and is left to the kernel. Pure.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

/// One line of a commit. Actions that do not concern files are skipped.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow, default)]
    pub add: Option<Object<Add<'a>>>,
    #[serde(borrow, default)]
    pub remove: Option<Object<Remove<'a>>>,
}

/// Reads one line.
pub(super) fn parse(line: &[u8]) -> serde_json::Result<Line<'_>> {
    serde_json::from_slice::<Object<Line<'_>>>(line).map(|Object(line)| line)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Add<'a> {
    #[serde(borrow)]
    pub path: Text<'a>,
    #[serde(borrow)]
    pub partition_values: Texts<'a>,
    pub size: i64,
    #[serde(rename = "modificationTime")]
    _modification_time: i64,
    #[serde(rename = "dataChange")]
    _data_change: bool,
    #[serde(borrow, default)]
    pub stats: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub deletion_vector: Option<Object<Vector<'a>>>,
    #[serde(borrow, default, rename = "tags")]
    _tags: Option<Texts<'a>>,
    #[serde(default, rename = "baseRowId")]
    _base_row_id: Option<i64>,
    #[serde(default, rename = "defaultRowCommitVersion")]
    _default_row_commit_version: Option<i64>,
    #[serde(borrow, default, rename = "clusteringProvider")]
    _clustering_provider: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove<'a> {
    #[serde(borrow)]
    pub path: Text<'a>,
    #[serde(rename = "dataChange")]
    _data_change: bool,
    #[serde(borrow, default)]
    pub deletion_vector: Option<Object<Vector<'a>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Vector<'a> {
    #[serde(borrow)]
    pub storage_type: Text<'a>,
    #[serde(borrow)]
    pub path_or_inline_dv: Text<'a>,
    #[serde(default)]
    pub offset: Option<i32>,
    pub size_in_bytes: i32,
    pub cardinality: i64,
}

/// A value that must be written as an object, because serde would also accept a list of its fields' values.
#[derive(Debug)]
pub(super) struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfObject<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfObject<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(entries)).map(Object)
            }
        }
        deserializer.deserialize_map(OfObject(PhantomData))
    }
}

/// A text, borrowed unless it has escapes.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Text<'a>(Cow<'a, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfText;
        impl<'de> Visitor<'de> for OfText {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(OfText)
    }
}

/// Named texts, in the order of the line.
#[derive(Debug)]
pub(super) struct Texts<'a>(pub Vec<(Text<'a>, Option<Text<'a>>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Texts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfTexts;
        impl<'de> Visitor<'de> for OfTexts {
            type Value = Texts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("texts by their names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut texts = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    texts.push(entry);
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_map(OfTexts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = r#""size":1,"modificationTime":0,"dataChange":true"#;

    #[test]
    fn what_is_written_otherwise_is_not_understood() {
        let read = |line: &str| parse(line.as_bytes()).is_ok();
        let add = |fields: &str| read(&format!(r#"{{"add":{{"path":"a","partitionValues":{{}},{fields}}}}}"#));
        assert!(add(REST) && read(r#"{"commitInfo":{"add":1}}"#) && read(r#"{"add":null}"#));
        assert!(add(&format!(r#"{REST},"stats":null,"later":[1]"#)));
        for odd in [
            r#""size":"1","modificationTime":0,"dataChange":true"#,
            r#""size":1.0,"modificationTime":0,"dataChange":true"#,
            r#""modificationTime":0,"dataChange":true"#,
            r#""size":1,"dataChange":true"#,
            &format!(r#"{REST},"stats":{{"numRecords":1}}"#),
            &format!(r#"{REST},"tags":{{"a":1}}"#),
            &format!(r#"{REST},"size":2"#),
            &format!(r#"{REST},"deletionVector":{{"storageType":"u","pathOrInlineDv":"x"}}"#),
        ] {
            assert!(!add(odd), "{odd}");
        }
        for odd in [
            r#"{"add":{"path":"a"},"#,
            r#"{"remove":{}}"#,
            r#"{"add":1}"#,
            r#"{"remove":["a",true]}"#,
            r#"[]"#,
            &format!(r#"{{"add":{{"path":"a","partitionValues":{{"p":1}},{REST}}}}}"#),
            &format!(r#"{{"add":{{"path":null,"partitionValues":{{}},{REST}}}}}"#),
        ] {
            assert!(!read(odd), "{odd}");
        }
    }

    #[test]
    fn texts_are_as_the_line_has_them() {
        let line = format!(r#"{{"add":{{"path":"a\u0041\"","partitionValues":{{"p":null,"q":""}},{REST}}}}}"#);
        let add = parse(line.as_bytes()).expect("a line").add.expect("an add").0;
        assert_eq!(add.path.as_ref(), "aA\"");
        let values: Vec<_> =
            add.partition_values.0.iter().map(|(k, v)| (k.as_ref(), v.as_ref().map(AsRef::as_ref))).collect();
        assert_eq!(values, [("p", None), ("q", Some(""))]);
    }
}
