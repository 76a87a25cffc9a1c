//! Timestamps that a plan should know of before a row is read: how far they reach, by the log's statistics.

use std::ops::RangeInclusive;

use delta_kernel::schema::{DataType, PrimitiveType, StructField, StructType};

use super::judge::time;
use super::{FileStatistics, StatisticsText};
use crate::TableShape;
use crate::data_file::Finder;

/// A stored column of timestamps, or a field of a struct that is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeColumn {
    /// Its name in the table, with what leads to it.
    pub name: String,
    /// The column that it is of.
    pub column: String,
    /// Names that lead to it in files.
    stored: Vec<String>,
    instant: bool,
}

impl TimeColumn {
    /// The bound of it by these statistics, as the log writes it, that lies outside of a range of microseconds since 1970.
    #[must_use]
    pub fn beyond(&self, told: &StatisticsText<'_>, micros: &RangeInclusive<i64>) -> Option<String> {
        if told.tight == Some(false) {
            // Rows were deleted since, and those may be the ones that reach so far.
            return None;
        }
        [&told.least, &told.most].into_iter().flatten().find_map(|fields| {
            fields.text_at(&self.stored).filter(|bound| self.outside(bound, micros)).map(str::to_owned)
        })
    }

    /// The same by statistics that were kept. Whether they are tight makes no difference: it is said how far it may reach.
    #[must_use]
    pub fn may_reach_beyond(&self, told: &FileStatistics, micros: &RangeInclusive<i64>) -> Option<String> {
        let column = told.columns.iter().find(|column| column.path == self.stored)?;
        let bounds = [&column.least, &column.most].into_iter().flatten();
        bounds.filter_map(|bound| serde_json::from_str(bound).ok()).find(|bound: &String| self.outside(bound, micros))
    }

    /// A year that has a sign lies outside of all ranges: those of four digits have none.
    fn outside(&self, bound: &str, micros: &RangeInclusive<i64>) -> bool {
        bound.starts_with(['+', '-']) || time(bound, self.instant).is_some_and(|at| !micros.contains(&at))
    }
}

impl TableShape {
    /// The stored columns of timestamps, those inside structs too.
    #[must_use]
    pub fn time_columns(&self) -> Vec<TimeColumn> {
        let finder = Finder { mapping: self.column_mapping() };
        let mut found = Vec::new();
        for field in self.schema().fields().filter(|field| !self.is_partition_column(field.name())) {
            collect(finder, field, field.name(), &mut Vec::new(), &mut Vec::new(), &mut found);
        }
        found
    }
}

fn collect(
    finder: Finder,
    field: &StructField,
    column: &str,
    stored: &mut Vec<String>,
    names: &mut Vec<String>,
    found: &mut Vec<TimeColumn>,
) {
    stored.push(finder.stored_name(field).to_owned());
    names.push(field.name().clone());
    match field.data_type() {
        DataType::Primitive(kind @ (PrimitiveType::Timestamp | PrimitiveType::TimestampNtz)) => {
            found.push(TimeColumn {
                name: names.join("."),
                column: column.to_owned(),
                stored: stored.clone(),
                instant: *kind == PrimitiveType::Timestamp,
            })
        }
        DataType::Struct(inner) => {
            let inner: &StructType = inner;
            inner.fields().for_each(|field| collect(finder, field, column, stored, names, found));
        }
        _ => {}
    }
    stored.pop();
    names.pop();
}
