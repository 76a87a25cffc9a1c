//! Maps Spark's types to MaxCompute's.

use std::collections::BTreeMap;

use mms_maxcompute::name::ColumnName;
use mms_maxcompute::types::{DataType, StructField};

use crate::characters::CharacterMap;
use crate::finding::{Finding, Reason};
use crate::source::{SparkField, SparkType};

const CHAR_MAX: u32 = 255;
const VARCHAR_MAX: u32 = 65_535;
const SCALE_MAX: u8 = 18;
/// Maximum number of nested types, the outermost included.
const NESTING_MAX: usize = 20;

const REFUSED_REMEDY: &str = "make a table of it with CREATE TABLE ... AS SELECT, in which CAST gives this column a type that the target has, and move that; or leave \
     the table out";

/// Maps the type of one column.
#[derive(Debug)]
pub(crate) struct TypeMapper<'a> {
    /// The source column, for the findings.
    column: &'a str,
    field_characters: &'a CharacterMap,
    findings: Vec<Finding>,
    /// Details that nested types cannot express, collected into one finding per column.
    lost: Lost,
}

#[derive(Debug, Default)]
struct Lost {
    constraints: Vec<String>,
    renamed: Vec<String>,
    collated: Vec<String>,
    lengths: Vec<String>,
}

/// Maps the type of a column. `None`: there is a blocker among the findings.
pub(crate) fn map_type(
    column: &str,
    source: &SparkType,
    field_characters: &CharacterMap,
) -> (Option<DataType>, Vec<Finding>) {
    let mut mapper = TypeMapper { column, field_characters, findings: Vec::new(), lost: Lost::default() };
    let levels = levels(source);
    if levels > NESTING_MAX {
        let message =
            format!("`{column}` nests {levels} levels deep (at least), and the target takes at most {NESTING_MAX}");
        let remedy = "make a table of it with CREATE TABLE ... AS SELECT that flattens this column or turns it into a text (to_json), and move \
             that; or leave the table out";
        mapper.refuse(Reason::NestingTooDeep, message, remedy);
        return (None, mapper.finish());
    }
    let target = mapper.map(source, column);
    let findings = mapper.finish();
    (target, findings)
}

/// The number of nested levels of a type: 1 for a type without parts.
fn levels(source: &SparkType) -> usize {
    1 + match source {
        SparkType::Array { element, .. } => levels(element),
        SparkType::Map { key, value, .. } => levels(key).max(levels(value)),
        SparkType::Struct(fields) => fields.iter().map(|field| levels(&field.data_type)).max().unwrap_or(0),
        _ => 0,
    }
}

impl TypeMapper<'_> {
    fn map(&mut self, source: &SparkType, path: &str) -> Option<DataType> {
        Some(match source {
            SparkType::Byte => DataType::TinyInt,
            SparkType::Short => DataType::SmallInt,
            SparkType::Integer => DataType::Int,
            SparkType::Long => DataType::BigInt,
            SparkType::Float => DataType::Float,
            SparkType::Double => DataType::Double,
            SparkType::Boolean => DataType::Boolean,
            SparkType::String => DataType::String,
            SparkType::Binary => DataType::Binary,
            SparkType::Date => DataType::Date,
            SparkType::Timestamp => DataType::Timestamp,
            SparkType::TimestampNtz => DataType::TimestampNtz,
            SparkType::CollatedString(_) => {
                self.lost.collated.push(path.to_owned());
                DataType::String
            }
            SparkType::Char(n @ 1..=CHAR_MAX) => DataType::Char(*n),
            SparkType::Varchar(n @ 1..=VARCHAR_MAX) => DataType::Varchar(*n),
            SparkType::Char(_) | SparkType::Varchar(_) => {
                self.lost.lengths.push(format!("{path} {source}"));
                DataType::String
            }
            SparkType::Decimal { precision, scale } => self.decimal(*precision, *scale, path)?,
            SparkType::Interval(_) | SparkType::Variant | SparkType::Void | SparkType::Other(_) => {
                self.refuse(
                    Reason::TypeUnsupported,
                    format!("`{path}` is {source}, for which MaxCompute has no type"),
                    REFUSED_REMEDY,
                );
                return None;
            }
            SparkType::Array { element, contains_null } => {
                let inner = format!("{path}.element");
                self.note_not_null(*contains_null, &inner);
                DataType::Array(Box::new(self.map(element, &inner)?))
            }
            SparkType::Map { key, value, value_contains_null } => {
                let inner = format!("{path}.value");
                self.note_not_null(*value_contains_null, &inner);
                // Both parts are mapped before either is checked, so that the findings of both are reported.
                let key = self.map(key, &format!("{path}.key"));
                let value = self.map(value, &inner);
                DataType::Map(Box::new(key?), Box::new(value?))
            }
            SparkType::Struct(fields) => self.fields(fields, path)?,
        })
    }

    fn decimal(&mut self, precision: u8, scale: u8, path: &str) -> Option<DataType> {
        if !(1..=38).contains(&precision) || scale > precision {
            let message = format!("`{path}` is DECIMAL({precision},{scale}), which is not a decimal type");
            self.refuse(Reason::TypeUnsupported, message, REFUSED_REMEDY);
            return None;
        }
        if scale > SCALE_MAX {
            let message = format!(
                "`{path}` is DECIMAL({precision},{scale}): MaxCompute keeps at most {SCALE_MAX} digits after the point"
            );
            let remedy = "make a table of it with CREATE TABLE ... AS SELECT, in which CAST makes this column a DECIMAL with a scale up to 18, or a \
                 STRING, and move that";
            self.refuse(Reason::DecimalScaleTooLarge, message, remedy);
            return None;
        }
        Some(DataType::Decimal { precision, scale })
    }

    fn fields(&mut self, fields: &[SparkField], path: &str) -> Option<DataType> {
        if fields.is_empty() {
            let message = format!("`{path}` is a struct without fields, which MaxCompute does not have");
            self.refuse(Reason::TypeUnsupported, message, REFUSED_REMEDY);
            return None;
        }
        let mut mapped = Vec::with_capacity(fields.len());
        let mut by_key: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let mut complete = true;
        for field in fields {
            let inner = format!("{path}.{}", field.name);
            self.note_not_null(field.nullable, &inner);
            if field.comment.is_some() {
                self.lost.constraints.push(format!("{inner} comment"));
            }
            let data_type = self.map(&field.data_type, &inner);
            let name = match ColumnName::new(self.field_characters.apply(&field.name)) {
                Ok(name) => name,
                Err(e) => {
                    let remedy = "map its characters with the column name character mapping";
                    self.refuse(Reason::FieldNameIllegal, format!("nested field `{inner}`: {e}"), remedy);
                    complete = false;
                    continue;
                }
            };
            if name.as_str() != field.name {
                self.lost.renamed.push(format!("{inner} → {name}"));
            }
            by_key.entry(name.key()).or_default().push(&field.name);
            match data_type {
                Some(data_type) => mapped.push(StructField { name: name.as_str().to_owned(), data_type }),
                None => complete = false,
            }
        }
        for (key, names) in by_key.into_iter().filter(|(_, names)| names.len() > 1) {
            let list = names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
            let message =
                format!("the nested fields {list} of `{path}` would all be `{key}`, as MaxCompute ignores case");
            self.refuse(
                Reason::FieldNameCollision,
                message,
                "rename one of them at the source, or in a table made of it with CREATE TABLE ... AS SELECT, and move that",
            );
            complete = false;
        }
        complete.then_some(DataType::Struct(mapped))
    }

    fn note_not_null(&mut self, nullable: bool, path: &str) {
        if !nullable {
            self.lost.constraints.push(format!("{path} NOT NULL"));
        }
    }

    fn refuse(&mut self, reason: Reason, message: String, remedy: &str) {
        self.findings.push(Finding::new(reason, Some(self.column), message, remedy));
    }

    fn finish(self) -> Vec<Finding> {
        let Self { column, mut findings, lost, .. } = self;
        let mut note = |reason, what: &str, paths: &[String], remedy: &str| {
            if !paths.is_empty() {
                findings.push(Finding::new(reason, Some(column), format!("{what}: {}", shortened(paths)), remedy));
            }
        };
        note(Reason::NestedConstraintLost, "not kept inside a nested type", &lost.constraints, "");
        note(Reason::FieldRenamed, "nested fields are renamed", &lost.renamed, "");
        let remedy = "compare and sort such texts explicitly at the target";
        note(Reason::CollationLost, "the collation is not kept; values are unchanged", &lost.collated, remedy);
        note(
            Reason::LengthBoundLost,
            "the length is beyond the target's limit, so it becomes STRING",
            &lost.lengths,
            "",
        );
        findings
    }
}

/// Shortens a list of paths, so that the message stays readable for a struct of a thousand fields.
fn shortened(paths: &[String]) -> String {
    const SHOWN: usize = 10;
    let more = if paths.len() > SHOWN { format!(" and {} more", paths.len() - SHOWN) } else { String::new() };
    paths.iter().take(SHOWN).map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ") + &more
}
