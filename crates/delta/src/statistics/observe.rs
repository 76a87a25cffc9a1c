//! Collects rows, NULLs and bounds of a file's columns, batch by batch, for the columns that have statistics in the log.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::buffer::NullBuffer;
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType,
};

use super::{ColumnStatistics, FileStatistics};
use crate::TableShape;
use crate::data_file::Finder;

/// A value that can be compared with a bound.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub(crate) enum Observed {
    Integer(i64),
    Float(f32),
    Double(f64),
    /// Unscaled value and scale.
    Decimal(i128, i8),
    /// Days since 1970.
    Date(i32),
    /// Microseconds since 1970, and whether it is an instant (has a time zone).
    Time(i64, bool),
    Text(String),
}

/// What was read of one column so far.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub nulls: u64,
    pub rows: u64,
    pub least: Option<Observed>,
    pub most: Option<Observed>,
    /// Bounds cannot be compared: the type has no order that all writers use, or a value is NaN.
    pub unordered: bool,
}

/// Observes the columns of one file.
pub(crate) struct Observer<'a> {
    watched: Vec<Watched<'a>>,
}

pub(crate) struct Watched<'a> {
    /// Index of the column in the batch, then of fields in structs.
    place: Vec<usize>,
    /// The table's names that lead to it.
    pub name: Vec<String>,
    pub told: &'a ColumnStatistics,
    pub seen: Seen,
}

impl<'a> Observer<'a> {
    /// An observer for a file with these statistics.
    pub(crate) fn new(shape: &TableShape, statistics: Option<&'a FileStatistics>) -> Self {
        let columns = statistics.map(|told| told.columns.as_slice()).unwrap_or_default();
        let watched = columns.iter().filter_map(|told| {
            let (place, name) = find(shape, &told.path)?;
            let seen = Seen { nulls: 0, rows: 0, least: None, most: None, unordered: false };
            Some(Watched { place, name, told, seen })
        });
        Self { watched: watched.collect() }
    }

    /// Observes a batch of stored columns, without the deleted rows.
    pub(crate) fn see(&mut self, batch: &RecordBatch) {
        for watched in &mut self.watched {
            let Some((first, rest)) = watched.place.split_first() else { continue };
            let Some(column) = batch.columns().get(*first) else { continue };
            let (mut array, mut nulls) = (column.clone(), column.logical_nulls());
            for at in rest {
                let Some(child) = array.as_struct_opt().and_then(|parent| parent.columns().get(*at)).cloned() else {
                    break;
                };
                nulls = NullBuffer::union(nulls.as_ref(), child.logical_nulls().as_ref());
                array = child;
            }
            watched.seen.add(&array, nulls, watched.told.least.is_some() || watched.told.most.is_some());
        }
    }

    pub(crate) fn watched(&self) -> &[Watched<'a>] {
        &self.watched
    }
}

impl Seen {
    fn add(&mut self, array: &ArrayRef, nulls: Option<NullBuffer>, ordered: bool) {
        self.rows += array.len() as u64;
        self.nulls += nulls.as_ref().map_or(0, NullBuffer::null_count) as u64;
        if !ordered || self.unordered {
            return;
        }
        match bounds(array, nulls) {
            Some((least, most)) => {
                self.least = pick(self.least.take(), least, |new, old| new < old);
                self.most = pick(self.most.take(), most, |new, old| new > old);
            }
            None => self.unordered = true,
        }
    }
}

fn pick(
    old: Option<Observed>,
    new: Option<Observed>,
    better: impl Fn(&Observed, &Observed) -> bool,
) -> Option<Observed> {
    match (old, new) {
        (Some(old), Some(new)) if better(&new, &old) => Some(new),
        (Some(old), _) => Some(old),
        (None, new) => new,
    }
}

/// Least and greatest of the values that are not NULL. None if values of this type have no order to compare them by.
fn bounds(array: &ArrayRef, nulls: Option<NullBuffer>) -> Option<(Option<Observed>, Option<Observed>)> {
    fn of<T: ArrowPrimitiveType>(
        array: &ArrayRef,
        nulls: Option<NullBuffer>,
        make: impl Fn(T::Native) -> Observed,
    ) -> Option<(Option<Observed>, Option<Observed>)> {
        let values = array.as_primitive_opt::<T>()?.values().clone();
        let array = PrimitiveArray::<T>::try_new(values, nulls).ok()?;
        Some((min(&array).map(&make), max(&array).map(make)))
    }
    match array.data_type() {
        DataType::Int8 => of::<Int8Type>(array, nulls, |value| Observed::Integer(value.into())),
        DataType::Int16 => of::<Int16Type>(array, nulls, |value| Observed::Integer(value.into())),
        DataType::Int32 => of::<Int32Type>(array, nulls, |value| Observed::Integer(value.into())),
        DataType::Int64 => of::<Int64Type>(array, nulls, Observed::Integer),
        DataType::Date32 => of::<Date32Type>(array, nulls, Observed::Date),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let instant = zone.is_some();
            of::<TimestampMicrosecondType>(array, nulls, |value| Observed::Time(value, instant))
        }
        &DataType::Decimal128(_, scale) => of::<Decimal128Type>(array, nulls, |value| Observed::Decimal(value, scale)),
        DataType::Float32 => {
            let number = |value: &f32| value.is_nan();
            let any = array.as_primitive::<Float32Type>().values().iter().any(number);
            (!any).then(|| of::<Float32Type>(array, nulls, Observed::Float)).flatten()
        }
        DataType::Float64 => {
            let number = |value: &f64| value.is_nan();
            let any = array.as_primitive::<Float64Type>().values().iter().any(number);
            (!any).then(|| of::<Float64Type>(array, nulls, Observed::Double)).flatten()
        }
        DataType::Utf8 => {
            let (offsets, values, _) = array.as_string::<i32>().clone().into_parts();
            let texts = StringArray::try_new(offsets, values, nulls).ok()?;
            let text = |text: &str| Observed::Text(text.to_owned());
            Some((min_string(&texts).map(text), max_string(&texts).map(text)))
        }
        _ => None,
    }
}

/// Finds the column, or the field of a struct, that has this path in files: its indexes, and the table's names.
fn find(shape: &TableShape, path: &[String]) -> Option<(Vec<usize>, Vec<String>)> {
    let finder = Finder { mapping: shape.column_mapping() };
    let (first, rest) = path.split_first()?;
    let stored: Vec<_> = shape.schema().fields().filter(|field| !shape.is_partition_column(field.name())).collect();
    let mut at = place(finder, &stored, first)?;
    let mut field = *stored.get(at)?;
    let (mut places, mut names) = (vec![at], vec![field.name().clone()]);
    for name in rest {
        let delta_kernel::schema::DataType::Struct(inner) = field.data_type() else { return None };
        let fields: Vec<_> = inner.fields().collect();
        at = place(finder, &fields, name)?;
        field = *fields.get(at)?;
        places.push(at);
        names.push(field.name().clone());
    }
    let leaf = !matches!(
        field.data_type(),
        delta_kernel::schema::DataType::Struct(_)
            | delta_kernel::schema::DataType::Array(_)
            | delta_kernel::schema::DataType::Map(_)
    );
    leaf.then_some((places, names))
}

fn place(finder: Finder, fields: &[&delta_kernel::schema::StructField], name: &str) -> Option<usize> {
    let exact = fields.iter().position(|field| finder.stored_name(field) == name);
    let folded = name.to_lowercase();
    exact.or_else(|| fields.iter().position(|field| finder.stored_name(field).to_lowercase() == folded))
}
