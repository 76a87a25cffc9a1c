//! How timestamps of 96 bits are read. The reader's own choice is nanoseconds in 64 bits, which wrap beyond 1677 and 2262
//! without a word; Spark writes such columns, and its timestamps are microseconds of the years 1 to 9999.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;

/// The same file, with its columns of 96 bits read as microseconds. As before when it has none.
pub(crate) fn in_micros(
    metadata: ArrowReaderMetadata,
    options: ArrowReaderOptions,
) -> Result<ArrowReaderMetadata, ParquetError> {
    let columns = metadata.metadata().file_metadata().schema_descr().columns();
    if columns.iter().all(|column| column.physical_type() != PhysicalType::INT96) {
        return Ok(metadata);
    }
    // The leaves of the Arrow schema are the columns of the file, in the same order.
    let mut leaves = columns.iter().map(|column| column.physical_type());
    let schema = metadata.schema();
    let fields: Fields = schema.fields().iter().map(|field| of_field(field, &mut leaves)).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    ArrowReaderMetadata::try_new(metadata.metadata().clone(), options.with_schema(schema))
}

fn of_field(field: &FieldRef, leaves: &mut impl Iterator<Item = PhysicalType>) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| of_field(field, leaves)).collect()),
        DataType::List(item) => DataType::List(of_field(item, leaves)),
        DataType::Map(entries, sorted) => DataType::Map(of_field(entries, leaves), *sorted),
        leaf => match leaves.next() {
            Some(PhysicalType::INT96) => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => leaf.clone(),
        },
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use arrow::array::AsArray;
    use arrow::datatypes::TimestampMicrosecondType;
    use delta_kernel::schema::{ArrayType, DataType as Type, StructField, StructType};
    use futures::TryStreamExt;
    use object_store::memory::InMemory;
    use object_store::{ObjectStore, ObjectStoreExt};
    use parquet::data_type::{Int96, Int96Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;
    use crate::data_file::{Goal, open};

    const DAY: i64 = 86_400_000_000;
    /// Days of 0001-01-01, 1582-10-15, 2024-01-01 and 9999-12-31, in both calendars the same.
    const DAYS: [i64; 4] = [-719_162, -141_427, 19_723, 2_932_896];

    /// 12:00:00.000001 of a day.
    fn noon(days: i64) -> Int96 {
        let nanos: u64 = 12 * 3_600 * 1_000_000_000 + 1_000;
        let mut value = Int96::new();
        let low = u32::try_from(nanos & 0xffff_ffff).expect("32 bits");
        let high = u32::try_from(nanos >> 32).expect("32 bits");
        value.set_data(low, high, u32::try_from(days + 2_440_588).expect("a Julian day"));
        value
    }

    fn file() -> Vec<u8> {
        let schema = "message m { optional int96 flat; optional group many (LIST) { repeated group list { optional int96 element; } } }";
        let schema = Arc::new(parse_message_type(schema).expect("a schema"));
        let mut bytes = Vec::new();
        let mut writer =
            SerializedFileWriter::new(&mut bytes, schema, Arc::new(WriterProperties::default())).expect("a writer");
        let mut group = writer.next_row_group().expect("a group");
        // A row a day: the day itself, and a list of it alone.
        for (defined, repeated) in [(1, None), (3, Some([0_i16; 4]))] {
            let mut column = group.next_column().expect("written").expect("a column");
            let values = DAYS.map(noon);
            let levels = [defined; 4];
            column
                .typed::<Int96Type>()
                .write_batch(&values, Some(&levels), repeated.as_ref().map(<[i16; 4]>::as_slice))
                .expect("written");
            column.close().expect("closed");
        }
        group.close().expect("closed");
        writer.close().expect("closed");
        bytes
    }

    #[tokio::test]
    async fn no_year_wraps_at_any_depth() {
        let (store, bytes) = (InMemory::new(), file());
        let (path, size) = (object_store::path::Path::from("f"), bytes.len() as u64);
        store.put(&path, bytes.into()).await.expect("stored");
        let fields = [
            StructField::nullable("flat", Type::TIMESTAMP),
            StructField::nullable("many", ArrayType::new(Type::TIMESTAMP, true)),
        ];
        let schema = Arc::new(StructType::try_new(fields).expect("a schema"));
        let some = |number| NonZero::new(number).expect("no zero");
        let goal = Goal { rows: some(8192), bytes: some(1 << 20) };
        let store: Arc<dyn ObjectStore> = Arc::new(store);
        let read = open(store, path, size, schema, goal, 0).await.expect("opened");
        let batches: Vec<_> = read.batches.try_collect().await.expect("read");
        assert_eq!(batches.len(), 1);
        let micros = DAYS.map(|days| days * DAY + DAY / 2 + 1);
        let flat = batches[0].column(0).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(flat.values().to_vec(), micros);
        assert_eq!(flat.timezone(), Some("UTC"), "an instant");
        let many = batches[0].column(1).as_list::<i32>().values().clone();
        assert_eq!(many.as_primitive::<TimestampMicrosecondType>().values().to_vec(), micros);
    }
}
