//! Groups a unit's files into source partitions, and writes the SQL condition that selects each of them. No two conditions may
//! select the same rows. Pure.

use std::collections::BTreeMap;

use mms_databricks::sql::text;
use mms_delta::SourceFile;
use mms_mapping::{SparkType, canonical_text};

use crate::error::{Result, TransferError};

/// The most source partitions of a unit: the most that the catalog keeps of a table.
const PARTS_MAX: usize = 200_000;

/// One source partition, read by one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The SQL condition that its rows meet; None for an unpartitioned table.
    pub condition: Option<String>,
    /// Its number of rows by the Delta log; None if the log does not have it.
    pub rows: Option<u64>,
    /// Size of its files in bytes.
    pub bytes: u64,
}

/// The partitions of a unit's files, in the order in which they appear. Values that are equal in SQL are one partition, however
/// the log spells them: otherwise two statements would each give all of its rows.
pub struct Parts<'a> {
    columns: &'a [(String, SparkType)],
    numbers: BTreeMap<Vec<Option<String>>, usize>,
    parts: Vec<Part>,
}

impl<'a> Parts<'a> {
    /// No partitions yet, for a table with these partition columns.
    pub fn new(columns: &'a [(String, SparkType)]) -> Self {
        Self { columns, numbers: BTreeMap::new(), parts: Vec::new() }
    }

    /// Adds a file of the unit.
    ///
    /// # Errors
    /// A value that no statement can name, or more partitions than are kept.
    pub fn add(&mut self, file: &SourceFile) -> Result<()> {
        let values = self.columns.iter().map(|column| value(column, file)).collect::<Result<Vec<_>>>()?;
        let number = match self.numbers.get(&values) {
            Some(number) => *number,
            None if self.parts.len() >= PARTS_MAX => {
                return Err(TransferError::Plan(format!("a unit of more than {PARTS_MAX} source partitions")));
            }
            None => {
                let condition = (!values.is_empty()).then(|| condition(self.columns, &values));
                self.parts.push(Part { condition, rows: Some(0), bytes: 0 });
                self.numbers.insert(values, self.parts.len() - 1);
                self.parts.len() - 1
            }
        };
        if let Some(part) = self.parts.get_mut(number) {
            part.rows = part.rows.zip(file.rows).map(|(sum, rows)| sum + rows);
            part.bytes = part.bytes.saturating_add(file.size);
        }
        Ok(())
    }

    /// All partitions, in the order of their first files.
    pub fn all(self) -> Vec<Part> {
        self.parts
    }
}

/// The canonical text of a partition value; an empty one is NULL, as the Delta protocol says.
fn value((name, kind): &(String, SparkType), file: &SourceFile) -> Result<Option<String>> {
    let found = file.partition_values.iter().find(|(column, _)| column == name);
    let (_, raw) = found.ok_or_else(|| {
        TransferError::Plan(format!("the manifest has no value of partition column `{name}` for {}", file.shown_path()))
    })?;
    let text = raw.as_deref().filter(|text| !text.is_empty()).map(|text| canonical_text(kind, text));
    text.transpose().map_err(|problem| TransferError::NotBySql(format!("partition column `{name}`: {problem}")))
}

fn condition(columns: &[(String, SparkType)], values: &[Option<String>]) -> String {
    let one = |((name, kind), value): (&(String, SparkType), &Option<String>)| {
        let name = text::identifier(name);
        match (value, kind) {
            (None, _) => format!("{name} IS NULL"),
            (
                Some(value),
                SparkType::String | SparkType::CollatedString(_) | SparkType::Varchar(_) | SparkType::Char(_),
            ) => {
                format!("{name} <=> {}", text::literal(value))
            }
            (Some(value), kind) => format!("{name} <=> CAST({} AS {kind})", text::literal(value)),
        }
    };
    columns.iter().zip(values).map(one).collect::<Vec<_>>().join(" AND ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(values: &[(&str, Option<&str>)], rows: Option<u64>) -> SourceFile {
        SourceFile {
            path: "f.parquet".to_owned(),
            size: 10,
            rows,
            partition_values: values
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)))
                .collect(),
            deletion_vector: None,
            statistics: None,
        }
    }

    fn parts(columns: &[(&str, SparkType)], files: &[SourceFile]) -> Result<Vec<Part>> {
        let columns: Vec<_> = columns.iter().map(|(name, kind)| ((*name).to_owned(), kind.clone())).collect();
        let mut parts = Parts::new(&columns);
        files.iter().try_for_each(|file| parts.add(file))?;
        Ok(parts.all())
    }

    #[test]
    fn a_table_without_partitions_is_one_statement() {
        let found = parts(&[], &[file(&[], Some(3)), file(&[], Some(4))]).expect("parts");
        assert_eq!(found, [Part { condition: None, rows: Some(7), bytes: 20 }]);
        assert_eq!(parts(&[], &[]).expect("none"), []);
        let found = parts(&[], &[file(&[], Some(3)), file(&[], None)]).expect("parts");
        assert_eq!(found[0].rows, None, "what the log does not count is not known");
    }

    #[test]
    fn values_that_sql_takes_for_one_are_one_statement() {
        let columns = [("d`ay", SparkType::Date), ("n", SparkType::Double), ("t", SparkType::String)];
        let of = |day, n, t| file(&[("d`ay", day), ("n", n), ("t", t)], Some(1));
        let files = [
            of(Some("2024-01-31"), Some("1"), Some("it's")),
            of(Some("2024-01-31"), Some("1.0"), Some("it's")),
            of(None, Some(""), Some("")),
        ];
        let found = parts(&columns, &files).expect("parts");
        let conditions: Vec<_> = found.iter().filter_map(|part| part.condition.as_deref()).collect();
        assert_eq!(
            conditions,
            [
                r"`d``ay` <=> CAST('2024-01-31' AS DATE) AND `n` <=> CAST('1.0' AS DOUBLE) AND `t` <=> 'it\'s'",
                "`d``ay` IS NULL AND `n` IS NULL AND `t` IS NULL",
            ]
        );
        assert_eq!(found[0].rows, Some(2));
    }

    #[test]
    fn what_no_statement_can_name_is_refused() {
        let error = parts(&[("b", SparkType::Binary)], &[file(&[("b", Some("x"))], None)]).expect_err("no text");
        assert!(matches!(error, TransferError::NotBySql(_)), "{error}");
        assert!(parts(&[("b", SparkType::Long)], &[file(&[], None)]).is_err());
    }
}
