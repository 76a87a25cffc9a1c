//! The findings of a plan: what is worth knowing about a table, each with a stable code, a message and a remedy.

use std::fmt;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Severity {
    /// Worth knowing; every value arrives exactly.
    Note,
    /// A property of the table does not arrive as it was.
    Lossy,
    /// The table cannot be migrated as requested.
    Blocker,
}

/// One finding about a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Finding {
    /// How serious the finding is; determined by the reason.
    pub severity: Severity,
    /// The stable reason; programs may rely on it.
    pub reason: Reason,
    /// The source column, if the finding is about one.
    pub column: Option<String>,
    /// What was found, with the values.
    pub message: String,
    /// What to do about it; empty if nothing needs to be done.
    pub remedy: String,
}

impl Finding {
    pub(crate) fn new(
        reason: Reason,
        column: Option<&str>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            severity: reason.severity(),
            reason,
            column: column.map(str::to_owned),
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.code(), self.message)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, " ({})", self.remedy) }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident $severity:ident $code:literal,)+) => {
        /// The reason for a finding. A code never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum Reason {
            $($(#[$doc])+ #[serde(rename = $code)] $name,)+
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The stable code, as the contract and the documentation write it.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code),+ }
            }

            /// The severity of findings with this reason.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity),+ }
            }
        }
    };
}

reasons! {
    /// The mapped table name breaks a rule of the target.
    TableNameIllegal Blocker "TABLE_NAME_ILLEGAL",
    /// The mapped schema name breaks a rule of the target.
    SchemaNameIllegal Blocker "SCHEMA_NAME_ILLEGAL",
    /// A mapped column name breaks a rule of the target.
    ColumnNameIllegal Blocker "COLUMN_NAME_ILLEGAL",
    /// The mapped name of a nested field breaks a rule of the target.
    FieldNameIllegal Blocker "FIELD_NAME_ILLEGAL",
    /// Columns whose mapped names differ at most in case.
    ColumnNameCollision Blocker "COLUMN_NAME_COLLISION",
    /// Nested fields whose mapped names differ at most in case.
    FieldNameCollision Blocker "FIELD_NAME_COLLISION",
    /// The explicit column mapping, the key or the partitioning names a column that does not exist.
    ColumnUnknown Blocker "COLUMN_UNKNOWN",
    /// The type has no counterpart in MaxCompute.
    TypeUnsupported Blocker "TYPE_UNSUPPORTED",
    /// Lists, maps and structs are nested deeper than the target allows.
    NestingTooDeep Blocker "NESTING_TOO_DEEP",
    /// The decimal has more digits after the point than the target supports.
    DecimalScaleTooLarge Blocker "DECIMAL_SCALE_TOO_LARGE",
    /// Values of this partition column have no text form.
    PartitionTypeUnsupported Blocker "PARTITION_TYPE_UNSUPPORTED",
    /// The table has more columns than the target supports.
    TooManyColumns Blocker "TOO_MANY_COLUMNS",
    /// The table has more partitions than the target supports.
    TooManyPartitions Blocker "TOO_MANY_PARTITIONS",
    /// No column would be left beside the partition columns.
    NoDataColumn Blocker "NO_DATA_COLUMN",
    /// A delta table with a primary key was requested, but there is no usable key.
    PrimaryKeyUnusable Blocker "PRIMARY_KEY_UNUSABLE",
    /// Databricks does not enforce primary keys, but the target merges rows with the same key.
    PrimaryKeyMerges Lossy "PRIMARY_KEY_MERGES",
    /// A comment was truncated.
    CommentTruncated Lossy "COMMENT_TRUNCATED",
    /// The target has another table name.
    TableRenamed Note "TABLE_RENAMED",
    /// The target has another column name.
    ColumnRenamed Note "COLUMN_RENAMED",
    /// The target has another name for a nested field.
    FieldRenamed Note "FIELD_RENAMED",
    /// A text type with a length limit that the target cannot express becomes STRING.
    LengthBoundLost Note "LENGTH_BOUND_LOST",
    /// NOT NULL or comments inside a nested type cannot be expressed in the target.
    NestedConstraintLost Note "NESTED_CONSTRAINT_LOST",
    /// The collation of a text cannot be expressed in the target; its values are unchanged.
    CollationLost Note "COLLATION_LOST",
    /// A partition column of a type other than the target's partition types becomes STRING.
    PartitionBecomesString Note "PARTITION_BECOMES_STRING",
    /// A partition column beyond the sixth becomes an ordinary column.
    PartitionBecomesColumn Note "PARTITION_BECOMES_COLUMN",
    /// The primary key of the source is not carried over.
    PrimaryKeyLost Note "PRIMARY_KEY_LOST",
    /// Key columns that partition the target are left out of the target's key.
    PrimaryKeyReduced Note "PRIMARY_KEY_REDUCED",
    /// Default values are not carried over.
    DefaultLost Note "DEFAULT_LOST",
    /// The expression of a generated or identity column is not carried over; its values are.
    GenerationLost Note "GENERATION_LOST",
    /// CHECK constraints are not carried over.
    CheckConstraintLost Note "CHECK_CONSTRAINT_LOST",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_of_a_reason_is_its_code() {
        for reason in Reason::ALL {
            let stored = serde_json::to_value(reason).expect("serializes");
            assert_eq!(stored, serde_json::Value::from(reason.code()));
            assert!(reason.code().chars().all(|c| c.is_ascii_uppercase() || c == '_'));
        }
    }
}
