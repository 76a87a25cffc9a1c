//! Converts the rows that a server sent to the table's own types, exactly or not at all. Only the field names inside lists and
//! maps and the names of time zones, which differ between servers, are replaced; a value must never change. Pure.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};

const EXACT: CastOptions<'static> =
    CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

/// Returns the batch with the names and types of `schema`; both have the same columns in the same order.
pub fn typed(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, String> {
    if batch.num_columns() != schema.fields().len() {
        return Err(format!("{} columns came where {} were asked for", batch.num_columns(), schema.fields().len()));
    }
    let arrays = batch.columns().iter().zip(schema.fields()).map(|(array, field)| {
        exact(array, field.data_type()).map_err(|why| format!("column `{}`: {why}", field.name()))
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let typed = RecordBatch::try_new_with_options(schema.clone(), arrays.collect::<Result<_, _>>()?, &options);
    typed.map_err(|error| error.to_string())
}

fn exact(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    use DataType as T;
    let from = array.data_type();
    if from == to {
        return Ok(Arc::clone(array));
    }
    let broken = |error: arrow::error::ArrowError| error.to_string();
    match (from, to) {
        // A zone only says how a point in time is displayed. Sessions run in UTC, and a column without a zone gets none.
        (T::Timestamp(TimeUnit::Microsecond, Some(zone)), T::Timestamp(TimeUnit::Microsecond, wanted))
            if wanted.is_some() || is_utc(zone) =>
        {
            let times = array.as_primitive::<TimestampMicrosecondType>().clone();
            Ok(Arc::new(times.with_timezone_opt(wanted.clone())))
        }
        (T::List(_), T::List(item)) => {
            let (_, offsets, values, nulls) = array.as_list::<i32>().clone().into_parts();
            let values = exact(&values, item.data_type())?;
            Ok(Arc::new(ListArray::try_new(item.clone(), offsets, values, nulls).map_err(broken)?))
        }
        (T::Map(..), T::Map(field, sorted)) => {
            let (_, offsets, entries, nulls, _) = array.as_map().clone().into_parts();
            let T::Struct(wanted) = field.data_type() else { return Err(unlike(from, to)) };
            let entries = fields(&entries, wanted)?;
            Ok(Arc::new(MapArray::try_new(field.clone(), offsets, entries, nulls, *sorted).map_err(broken)?))
        }
        (T::Struct(found), T::Struct(wanted))
            if found.iter().map(|field| field.name()).eq(wanted.iter().map(|field| field.name())) =>
        {
            Ok(Arc::new(fields(array.as_struct(), wanted)?))
        }
        (T::LargeUtf8 | T::Utf8View, T::Utf8) | (T::LargeBinary | T::BinaryView, T::Binary) | (T::Null, _) => {
            cast_with_options(array, to, &EXACT).map_err(broken)
        }
        (T::Decimal128(digits, scale), T::Decimal128(wanted, wanted_scale))
            if scale == wanted_scale && digits <= wanted =>
        {
            cast_with_options(array, to, &EXACT).map_err(broken)
        }
        _ => Err(unlike(from, to)),
    }
}

/// Converts the fields of a struct, matched by position.
fn fields(found: &StructArray, wanted: &arrow::datatypes::Fields) -> Result<StructArray, String> {
    if found.num_columns() != wanted.len() {
        return Err(format!("a struct of {} fields came, where the table has {}", found.num_columns(), wanted.len()));
    }
    let one = |(array, field): (&ArrayRef, &arrow::datatypes::FieldRef)| {
        exact(array, field.data_type()).map_err(|why| format!("field `{}`: {why}", field.name()))
    };
    let arrays = found.columns().iter().zip(wanted).map(one).collect::<Result<Vec<_>, _>>()?;
    let made = StructArray::try_new_with_length(wanted.clone(), arrays, found.nulls().cloned(), found.len());
    made.map_err(|error| error.to_string())
}

fn unlike(from: &DataType, to: &DataType) -> String {
    format!("the server sends it as {from}, where the table has {to}")
}

fn is_utc(zone: &str) -> bool {
    ["UTC", "Etc/UTC", "Z", "+00:00"].iter().any(|utc| zone.eq_ignore_ascii_case(utc))
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Decimal128Array, Int32Array, Int64Array, LargeStringArray, ListBuilder, MapBuilder, NullArray, StringArray,
        StringBuilder, TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Field, Fields, Schema};

    use super::*;

    fn time(zone: Option<&str>) -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into))
    }

    fn times(zone: Option<&str>) -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None]).with_timezone_opt(zone))
    }

    #[test]
    fn zones_are_names_and_points_in_time_stay() {
        let shown = exact(&times(Some("Europe/Berlin")), &time(Some("UTC"))).expect("a point in time");
        assert_eq!(shown.as_primitive::<TimestampMicrosecondType>().value(0), -1);
        assert_eq!(exact(&times(Some("Etc/UTC")), &time(None)).expect("shown in UTC").data_type(), &time(None));
        for (from, to) in [(Some("Europe/Berlin"), None), (None, Some("UTC"))] {
            assert!(exact(&times(from), &time(to)).is_err(), "{from:?} is not {to:?}");
        }
    }

    #[test]
    fn nested_values_keep_their_places_whatever_their_parts_are_called() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("a"), None]);
        lists.append_null();
        lists.append_value::<[Option<&str>; 0], &str>([]);
        let lists: ArrayRef = Arc::new(lists.finish());
        let wanted = DataType::List(Arc::new(Field::new("element", DataType::Utf8, true)));
        let found = exact(&lists, &wanted).expect("a list");
        assert_eq!(found.data_type(), &wanted);
        assert_eq!((found.len(), found.null_count()), (3, 1));
        assert_eq!(
            found.as_list::<i32>().value(0).as_string::<i32>(),
            lists.as_list::<i32>().value(0).as_string::<i32>()
        );
        // Of a batch that was cut, only the rows of the slice.
        let cut = exact(&lists.slice(2, 1), &wanted).expect("a list");
        assert_eq!((cut.len(), cut.as_list::<i32>().value(0).len()), (1, 0));

        let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        maps.keys().append_value("k");
        maps.values().append_value("v");
        maps.append(true).expect("a map");
        let maps: ArrayRef = Arc::new(maps.finish());
        let entry =
            Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
        let wanted = DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entry), false)), false);
        assert_eq!(exact(&maps, &wanted).expect("a map").data_type(), &wanted);

        let field = |name: &str| Arc::new(Field::new(name, DataType::LargeUtf8, true));
        let texts: ArrayRef = Arc::new(LargeStringArray::from(vec!["x"]));
        let made: ArrayRef = Arc::new(StructArray::from(vec![(field("a"), texts)]));
        let wanted = |name: &str| DataType::Struct(Fields::from(vec![Field::new(name, DataType::Utf8, true)]));
        assert!(exact(&made, &wanted("a")).is_ok());
        assert!(exact(&made, &wanted("b")).is_err(), "another field is another struct");
    }

    #[test]
    fn what_would_change_a_value_is_refused() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        for to in [DataType::Int32, DataType::Utf8, DataType::Float64] {
            assert!(exact(&numbers, &to).expect_err("another type").contains("where the table has"), "{to}");
        }
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["[1]"]));
        assert!(exact(&texts, &DataType::List(Arc::new(Field::new("element", DataType::Int32, true)))).is_err());
        let decimals = Decimal128Array::from(vec![12_345]).with_precision_and_scale(5, 2).expect("a decimal");
        let decimals: ArrayRef = Arc::new(decimals);
        assert!(exact(&decimals, &DataType::Decimal128(10, 2)).is_ok());
        assert!(exact(&decimals, &DataType::Decimal128(10, 1)).is_err());
        assert!(exact(&decimals, &DataType::Decimal128(4, 2)).is_err());
    }

    #[test]
    fn a_batch_has_the_columns_that_were_asked_for() {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
        let nothing: ArrayRef = Arc::new(NullArray::new(2));
        let batch = RecordBatch::try_from_iter([("A", numbers), ("b", nothing)]).expect("a batch");
        let of = |nullable| {
            Arc::new(Schema::new(vec![
                Field::new("a", DataType::Int32, nullable),
                Field::new("b", DataType::Utf8, true),
            ]))
        };
        let found = typed(&batch, &of(true)).expect("as asked");
        assert_eq!((found.schema(), found.column(1).null_count()), (of(true), 2));
        assert!(typed(&batch, &of(false)).is_err(), "a NULL where there is none");
        let one = batch.project(&[0]).expect("one column");
        assert!(typed(&one, &of(true)).expect_err("one is missing").contains("1 columns came"));
    }
}
