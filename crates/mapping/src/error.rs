//! Errors in the input of this crate. A property of a *table* that prevents or degrades its migration is a finding, not an error.

/// Why an input cannot be mapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// The schema is not valid Delta schema JSON.
    #[error("the schema of the table cannot be read at `{path}`: {problem}")]
    Schema {
        /// The path of the field, dotted from the root.
        path: String,
        /// What is wrong with the field.
        problem: String,
    },
    /// The type is not written in Spark's SQL form.
    #[error("`{text}` is not a type: {problem} at byte {byte}")]
    TypeText {
        /// The text of the type, shortened.
        text: String,
        /// What is wrong there.
        problem: &'static str,
        /// Offset of the fault in the text, in bytes.
        byte: usize,
    },
    /// A character mapping has an unusable entry.
    #[error("character mapping: `{key}` → `{value}` {problem}")]
    CharacterMap {
        /// The text to be replaced.
        key: String,
        /// The replacement.
        value: String,
        /// What is wrong with the entry.
        problem: &'static str,
    },
    /// The target cannot hold a partition.
    #[error("partition column `{column}`: the value {} {problem}", .value.as_ref().map_or("NULL".to_owned(), |v| format!("`{v}`")))]
    PartitionValue {
        /// The name of the source column.
        column: String,
        /// The value as the Delta log has it; `None` is NULL.
        value: Option<String>,
        /// Why the target cannot hold the value.
        problem: PartitionProblem,
    },
}

/// Why a partition value cannot be carried to the target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartitionProblem {
    /// The text is not a value of the column's type.
    #[error(
        "is not a {expected}: the table's log is damaged, or written by a program that does not follow Delta's rules"
    )]
    NotOfType {
        /// The type of the column.
        expected: String,
    },
    /// The partition column of the target cannot hold NULL.
    #[error(
        "cannot be stored in the {target} partition column of the existing target table: remove its rows at the source, or drop the target table, so that the next plan makes the column STRING"
    )]
    Null {
        /// The type of the target's partition column.
        target: String,
    },
    /// The text contains a character that a partition of the target cannot hold.
    #[error("becomes `{text}`, and `{found}` is not allowed in a partition value: map that character to another")]
    Character {
        /// The text after mapping.
        text: String,
        /// The character, escaped if it is invisible.
        found: String,
    },
    /// The text begins or ends with a blank, which clients of the target drop.
    #[error("becomes `{text}`, and a blank at its start or end would be lost: map ` ` to another character")]
    OuterBlank {
        /// The text after mapping.
        text: String,
    },
    /// The text is empty after mapping.
    #[error("becomes empty: map its characters to others instead of removing them")]
    Empty,
    /// The text is too long.
    #[error("becomes {bytes} bytes long, the limit is {limit}: move this table without this partition column")]
    TooLong {
        /// Length of the text, in bytes.
        bytes: usize,
        /// Maximum length, in bytes.
        limit: usize,
    },
    /// The partition has no value for this column.
    #[error("is missing: the partition does not name this column")]
    Missing,
    /// Values of the column's type have no text form.
    #[error("is {kind}, which has no text form that could name a partition")]
    NoText {
        /// The type of the source column.
        kind: String,
    },
}
