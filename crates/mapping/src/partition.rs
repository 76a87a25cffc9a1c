//! Maps source partitions to target partitions, and finds source values that one target partition would merge.

use std::collections::{BTreeMap, BTreeSet};

use mms_maxcompute::name::ColumnName;
use mms_maxcompute::table::PartitionSpec;
use mms_maxcompute::types::DataType;

use crate::PARTITION_VALUE_BYTES_MAX;
use crate::canonical::{NULL_PARTITION, canonical_text};
use crate::characters::CharacterMap;
use crate::error::{MappingError, PartitionProblem};
use crate::source::SparkType;

/// How the partitions of a table map to partitions of its target. Without levels, all of them map to the whole table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PartitionMapping {
    /// The partition columns of the target, outermost first.
    pub levels: Vec<PartitionLevel>,
    /// The character mapping for text values.
    pub characters: CharacterMap,
}

/// A partition column of the target, and the source column of its values.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PartitionLevel {
    /// The name of the source column.
    pub source: String,
    /// The type of the source column.
    pub source_type: SparkType,
    /// The name of the target's partition column.
    pub target: ColumnName,
    /// The type of the target's partition column.
    pub target_type: DataType,
}

/// A source partition and the target partition that it maps to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MappedPartition {
    /// The canonical source values of the target's partition columns; `None` is NULL.
    pub source: Vec<Option<String>>,
    /// The target partition.
    pub target: PartitionSpec,
}

/// Different source values that would be merged into one target partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionClash {
    /// The target partition.
    pub target: PartitionSpec,
    /// The different source values, at least two; `None` is NULL.
    pub sources: Vec<Vec<Option<String>>>,
}

/// The characters that the tunnel's `k=v,k=v` can express: clients split it at `,` and `/`, and strip quotes and outer blanks.
/// Must accept no character that [`PartitionSpec::check`] rejects, so that the plan finds it and not the transfer.
pub(crate) fn stands_in_value(c: char) -> bool {
    c.is_ascii() && !c.is_ascii_control() && !matches!(c, '/' | ',' | '=' | '\'' | '"' | '\\')
}

impl PartitionMapping {
    /// The texts that the character mapping changed, as (source column, source text, target text).
    pub fn rewritten<'a>(&'a self, mapped: &'a MappedPartition) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        let values = mapped.source.iter().zip(&mapped.target.0);
        self.levels.iter().zip(values).filter_map(|(level, (source, (_, target)))| {
            let source = source.as_deref().filter(|source| source != target)?;
            Some((level.source.as_str(), source, target.as_str()))
        })
    }

    /// Maps one partition, given as in the Delta log: logical column names to texts. An empty text is NULL, as the Delta protocol
    /// says. Columns that are not partition columns of the target are ignored.
    ///
    /// # Errors
    /// [`MappingError::PartitionValue`] if the target cannot hold this partition.
    pub fn map(&self, values: &BTreeMap<String, Option<String>>) -> Result<MappedPartition, MappingError> {
        let mut source = Vec::with_capacity(self.levels.len());
        let mut target = Vec::with_capacity(self.levels.len());
        for level in &self.levels {
            let raw = values.get(&level.source).ok_or_else(|| level.refuse(None, PartitionProblem::Missing))?;
            let raw = raw.as_deref().filter(|text| !text.is_empty());
            let refuse = |problem| level.refuse(raw, problem);
            let canonical = raw.map(|text| canonical_text(&level.source_type, text)).transpose().map_err(refuse)?;
            let text = level.target_text(canonical.as_deref(), &self.characters).map_err(refuse)?;
            source.push(canonical);
            target.push((level.target.clone(), text));
        }
        Ok(MappedPartition { source, target: PartitionSpec(target) })
    }
}

impl PartitionLevel {
    fn target_text(&self, canonical: Option<&str>, characters: &CharacterMap) -> Result<String, PartitionProblem> {
        match canonical {
            None if self.target_type == DataType::String => Ok(NULL_PARTITION.to_owned()),
            None => Err(PartitionProblem::Null { target: self.target_type.to_string() }),
            Some(text) if self.target_type.is_integer() => Ok(text.to_owned()),
            Some(text) => self.fits(characters.apply(text)),
        }
    }

    fn fits(&self, text: String) -> Result<String, PartitionProblem> {
        let limit = match self.target_type {
            DataType::Char(n) | DataType::Varchar(n) => {
                PARTITION_VALUE_BYTES_MAX.min(usize::try_from(n).unwrap_or(usize::MAX))
            }
            _ => PARTITION_VALUE_BYTES_MAX,
        };
        if let Some(found) = text.chars().find(|c| !stands_in_value(*c)) {
            return Err(PartitionProblem::Character { text, found: found.escape_debug().to_string() });
        }
        if text.is_empty() {
            return Err(PartitionProblem::Empty);
        }
        if text.len() > limit {
            return Err(PartitionProblem::TooLong { bytes: text.len(), limit });
        }
        if text.trim() != text { Err(PartitionProblem::OuterBlank { text }) } else { Ok(text) }
    }

    fn refuse(&self, raw: Option<&str>, problem: PartitionProblem) -> MappingError {
        let value = raw.map(|text| text.chars().take(200).collect());
        MappingError::PartitionValue { column: self.source.clone(), value, problem }
    }
}

/// The target partitions into which more than one source value would be merged, because a character mapping made the values
/// equal, or because a text is literally `__HIVE_DEFAULT_PARTITION__`. Source partitions that differ only in columns that do not
/// partition the target belong together and are not a clash.
pub fn partition_clashes<'a>(partitions: impl IntoIterator<Item = &'a MappedPartition>) -> Vec<PartitionClash> {
    let mut sources: BTreeMap<&PartitionSpec, BTreeSet<&Vec<Option<String>>>> = BTreeMap::new();
    for partition in partitions {
        sources.entry(&partition.target).or_default().insert(&partition.source);
    }
    sources
        .into_iter()
        .filter(|(_, sources)| sources.len() > 1)
        .map(|(target, sources)| PartitionClash {
            target: target.clone(),
            sources: sources.into_iter().cloned().collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(source_type: SparkType, target_type: DataType, entries: &[(&str, &str)]) -> PartitionMapping {
        let entries = entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        PartitionMapping {
            levels: vec![PartitionLevel {
                source: "p".into(),
                source_type,
                target: ColumnName::new("p").expect("legal"),
                target_type,
            }],
            characters: CharacterMap::new(entries).expect("legal"),
        }
    }

    fn text(mapping: &PartitionMapping, raw: Option<&str>) -> Result<String, PartitionProblem> {
        let values = BTreeMap::from([("p".to_owned(), raw.map(str::to_owned)), ("other".to_owned(), None)]);
        match mapping.map(&values) {
            Ok(mapped) => Ok(mapped.target.0[0].1.clone()),
            Err(MappingError::PartitionValue { problem, .. }) => Err(problem),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn null_is_a_text_or_refused() {
        let texts = mapping(SparkType::Date, DataType::String, &[("_", "-")]);
        assert_eq!(text(&texts, None).as_deref(), Ok(NULL_PARTITION));
        assert_eq!(text(&texts, Some("")).as_deref(), Ok(NULL_PARTITION));
        let integers = mapping(SparkType::Integer, DataType::Int, &[("1", "x")]);
        assert_eq!(text(&integers, Some("-01")).as_deref(), Ok("-1"));
        assert!(matches!(text(&integers, None), Err(PartitionProblem::Null { .. })));
    }

    #[test]
    fn what_the_target_cannot_say_is_refused() {
        let plain = mapping(SparkType::String, DataType::String, &[]);
        for bad in ["a/b", "a,b", "a=b", "it's", "\"", "a\tb", "a\nb", "é", "\u{7f}", "a\\b"] {
            assert!(matches!(text(&plain, Some(bad)), Err(PartitionProblem::Character { .. })), "{bad:?}");
        }
        assert!(matches!(text(&plain, Some(" a")), Err(PartitionProblem::OuterBlank { .. })));
        assert!(matches!(
            text(&plain, Some(&"x".repeat(129))),
            Err(PartitionProblem::TooLong { bytes: 129, limit: 128 })
        ));
        assert_eq!(text(&plain, Some("a b: _$#.!@+&%-")).as_deref(), Ok("a b: _$#.!@+&%-"));
        let mapped = mapping(SparkType::Varchar(3), DataType::Varchar(3), &[("/", "--"), ("x", "")]);
        assert_eq!(text(&mapped, Some("a/")).as_deref(), Ok("a--"));
        assert!(matches!(text(&mapped, Some("//")), Err(PartitionProblem::TooLong { bytes: 4, limit: 3 })));
        assert!(matches!(text(&mapped, Some("x")), Err(PartitionProblem::Empty)));
        let missing = plain.map(&BTreeMap::new()).map_err(|e| e.to_string());
        assert_eq!(
            missing,
            Err("partition column `p`: the value NULL is missing: the partition does not name this column".into())
        );
    }

    #[test]
    fn what_was_rewritten_is_told() {
        let mapping = mapping(SparkType::String, DataType::String, &[("/", "_")]);
        let rewritten = |raw: Option<&str>| {
            let mapped = mapping.map(&BTreeMap::from([("p".to_owned(), raw.map(str::to_owned))])).expect("mapped");
            let texts = mapping.rewritten(&mapped).map(|(column, from, to)| format!("{column}: {from} {to}"));
            texts.collect::<Vec<_>>()
        };
        assert_eq!(rewritten(Some("a/b")), ["p: a/b a_b"]);
        assert!(rewritten(Some("ab")).is_empty() && rewritten(None).is_empty());
    }

    #[test]
    fn only_different_values_clash() {
        let mapping = mapping(SparkType::String, DataType::String, &[("/", "_")]);
        let map = |raw: Option<&str>| {
            mapping.map(&BTreeMap::from([("p".to_owned(), raw.map(str::to_owned))])).expect("mapped")
        };
        let all = [
            map(Some("a/b")),
            map(Some("a_b")),
            map(Some("a_b")),
            map(None),
            map(Some(NULL_PARTITION)),
            map(Some("c")),
        ];
        let clashes = partition_clashes(&all);
        assert_eq!(clashes.len(), 2);
        assert_eq!(clashes[0].sources, [vec![None], vec![Some(NULL_PARTITION.to_owned())]]);
        assert_eq!(clashes[1].sources, [vec![Some("a/b".to_owned())], vec![Some("a_b".to_owned())]]);
    }
}
