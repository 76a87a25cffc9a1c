//! What can be wrong with what this crate is given. What is wrong with a *table* is a finding, not an error.

/// Why an input cannot be mapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// A schema that is not Delta's schema JSON.
    #[error("the schema of the table cannot be read at `{path}`: {problem}")]
    Schema {
        /// The field, dotted from the root.
        path: String,
        /// What is wrong there.
        problem: String,
    },
    /// A type that is not written in Spark's SQL form.
    #[error("`{text}` is not a type: {problem} at byte {byte}")]
    TypeText {
        /// The text, shortened.
        text: String,
        /// What is wrong.
        problem: &'static str,
        /// Where.
        byte: usize,
    },
    /// A character mapping that makes no sense.
    #[error("character mapping: `{key}` → `{value}` {problem}")]
    CharacterMap {
        /// What was to be replaced.
        key: String,
        /// By what.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A partition that the target cannot hold.
    #[error("partition column `{column}`: the value {} {problem}", .value.as_ref().map_or("NULL".to_owned(), |v| format!("`{v}`")))]
    PartitionValue {
        /// The source column.
        column: String,
        /// The value as the Delta log has it.
        value: Option<String>,
        /// Why not.
        problem: PartitionProblem,
    },
}

/// Why a partition value cannot be carried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartitionProblem {
    /// The text is not one of this type.
    #[error(
        "is not a {expected}: the table's log is damaged, or written by a program that does not follow Delta's rules"
    )]
    NotOfType {
        /// The type.
        expected: String,
    },
    /// NULL has no place in such a partition column.
    #[error(
        "cannot stand in the {target} partition column that the target has: take its rows out at the source, or drop the target table, so that the next plan makes the column STRING"
    )]
    Null {
        /// The target column's type.
        target: String,
    },
    /// A character that a partition of the target cannot hold.
    #[error("becomes `{text}`, and `{found}` cannot stand in a partition value: map that character to another")]
    Character {
        /// The text after mapping.
        text: String,
        /// The character, escaped if it is invisible.
        found: String,
    },
    /// Blanks at the ends are dropped by clients of the target.
    #[error("becomes `{text}`, and a blank at its start or end would be lost: map ` ` to another character")]
    OuterBlank {
        /// The text after mapping.
        text: String,
    },
    /// Nothing is left.
    #[error("becomes empty: map its characters to others instead of removing them")]
    Empty,
    /// Too long.
    #[error("becomes {bytes} bytes long, the limit is {limit}: move this table without this partition column")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The partition does not say what this column is.
    #[error("is missing: the partition does not name this column")]
    Missing,
    /// Values of this type have no text form.
    #[error("is {kind}, which has no text form that could name a partition")]
    NoText {
        /// The source type.
        kind: String,
    },
}
