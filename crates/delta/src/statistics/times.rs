//! Tells how far timestamp columns reach, by the log's statistics, before any row is read.

use std::ops::RangeInclusive;

use delta_kernel::schema::{DataType, PrimitiveType, StructField, StructType};

use super::judge::time;
use super::{FileStatistics, StatisticsText};
use crate::TableShape;
use crate::data_file::Finder;

/// A stored timestamp column, or a timestamp field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeColumn {
    /// The table's name of it; of a field with the names that lead there, separated by dots.
    pub name: String,
    /// Name of the table's column that it is, or is part of.
    pub column: String,
    /// The names that lead to it in files.
    stored: Vec<String>,
    instant: bool,
}

impl TimeColumn {
    /// The first bound outside a range of microseconds since 1970, as the log writes it. None if both lie inside, if there
    /// are none, or if rows were deleted since they were written.
    #[must_use]
    pub fn beyond(&self, told: &StatisticsText<'_>, micros: &RangeInclusive<i64>) -> Option<String> {
        if told.tight == Some(false) {
            // The rows that reached so far may be among the deleted ones.
            return None;
        }
        [&told.least, &told.most].into_iter().flatten().find_map(|fields| {
            fields.text_at(&self.stored).filter(|bound| self.outside(bound, micros)).map(str::to_owned)
        })
    }

    /// The same for statistics that a manifest kept, and also if rows were deleted since: the result says how far the column
    /// may reach.
    #[must_use]
    pub fn may_reach_beyond(&self, told: &FileStatistics, micros: &RangeInclusive<i64>) -> Option<String> {
        let column = told.columns.iter().find(|column| column.path == self.stored)?;
        let bounds = [&column.least, &column.most].into_iter().flatten();
        bounds.filter_map(|bound| serde_json::from_str(bound).ok()).find(|bound: &String| self.outside(bound, micros))
    }

    /// A year with a sign lies outside every range, because the years of all ranges have four digits.
    fn outside(&self, bound: &str, micros: &RangeInclusive<i64>) -> bool {
        bound.starts_with(['+', '-']) || time(bound, self.instant).is_some_and(|at| !micros.contains(&at))
    }
}

impl TableShape {
    /// The stored timestamp columns, and those inside structs.
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
