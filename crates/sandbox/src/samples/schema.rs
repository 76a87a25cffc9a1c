//! Converts an Arrow schema to the JSON of a Delta schema and to the physical schema of column mapping. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use serde_json::{Value, json};

use super::{Mapping, SampleError};

/// A schema in the forms that a Delta table needs.
pub(crate) struct DeltaSchema {
    pub(crate) json: Value,
    /// The columns under their names in the files, partition columns included.
    pub(crate) physical: SchemaRef,
    pub(crate) highest_id: i32,
    pub(crate) has_ntz: bool,
}

impl DeltaSchema {
    pub(crate) fn of(schema: &Schema, mapping: Mapping) -> Result<Self, SampleError> {
        let mut maker = Maker { mapping, id: 0, has_ntz: false };
        let (json, physical) = maker.fields(schema.fields())?;
        Ok(Self {
            json: json!({"type": "struct", "fields": json}),
            physical: Arc::new(Schema::new(physical)),
            highest_id: maker.id,
            has_ntz: maker.has_ntz,
        })
    }
}

struct Maker {
    mapping: Mapping,
    id: i32,
    has_ntz: bool,
}

impl Maker {
    fn fields(&mut self, fields: &Fields) -> Result<(Vec<Value>, Vec<Field>), SampleError> {
        let made: Result<Vec<_>, _> = fields.iter().map(|field| self.field(field)).collect();
        Ok(made?.into_iter().unzip())
    }

    fn field(&mut self, field: &Field) -> Result<(Value, Field), SampleError> {
        self.id += 1;
        let id = self.id;
        let (json, physical) = self.data_type(field.name(), field.data_type())?;
        let (name, metadata) = match self.mapping {
            Mapping::None => (field.name().clone(), json!({})),
            Mapping::Name => {
                let name = format!("col-{id:08x}");
                let metadata = json!({"delta.columnMapping.id": id, "delta.columnMapping.physicalName": name});
                (name, metadata)
            }
        };
        let mut physical = Field::new(name, physical, field.is_nullable());
        if self.mapping == Mapping::Name {
            physical.set_metadata(HashMap::from([("PARQUET:field_id".to_owned(), id.to_string())]));
        }
        let json = json!({"name": field.name(), "type": json, "nullable": field.is_nullable(), "metadata": metadata});
        Ok((json, physical))
    }

    /// The type of an element, key or value. It has no name of its own that could be mapped.
    fn inner(&mut self, column: &str, field: &FieldRef) -> Result<(Value, Field), SampleError> {
        let (json, physical) = self.data_type(column, field.data_type())?;
        Ok((json, Field::new(field.name(), physical, field.is_nullable())))
    }

    fn data_type(&mut self, column: &str, data_type: &DataType) -> Result<(Value, DataType), SampleError> {
        let name: Value = match data_type {
            DataType::Boolean => "boolean".into(),
            DataType::Int8 => "byte".into(),
            DataType::Int16 => "short".into(),
            DataType::Int32 => "integer".into(),
            DataType::Int64 => "long".into(),
            DataType::Float32 => "float".into(),
            DataType::Float64 => "double".into(),
            DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})").into(),
            DataType::Date32 => "date".into(),
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp".into(),
            DataType::Timestamp(TimeUnit::Microsecond, None) => {
                self.has_ntz = true;
                "timestamp_ntz".into()
            }
            DataType::Utf8 => "string".into(),
            DataType::Binary => "binary".into(),
            DataType::Struct(fields) => {
                let (json, physical) = self.fields(fields)?;
                return Ok((json!({"type": "struct", "fields": json}), DataType::Struct(physical.into())));
            }
            DataType::List(element) => {
                let (json, physical) = self.inner(column, element)?;
                let json = json!({"type": "array", "elementType": json, "containsNull": element.is_nullable()});
                return Ok((json, DataType::List(physical.into())));
            }
            DataType::Map(entries, sorted) => return self.map(column, data_type, entries, *sorted),
            other => return Err(unknown(column, other)),
        };
        Ok((name, data_type.clone()))
    }

    fn map(
        &mut self,
        column: &str,
        data_type: &DataType,
        entries: &FieldRef,
        sorted: bool,
    ) -> Result<(Value, DataType), SampleError> {
        let DataType::Struct(pair) = entries.data_type() else { return Err(unknown(column, data_type)) };
        let [key, value] = pair.as_ref() else { return Err(unknown(column, data_type)) };
        let (key_json, key_field) = self.inner(column, key)?;
        let (value_json, value_field) = self.inner(column, value)?;
        let json = json!({
            "type": "map", "keyType": key_json, "valueType": value_json, "valueContainsNull": value.is_nullable(),
        });
        let pair = DataType::Struct(vec![key_field, value_field].into());
        Ok((json, DataType::Map(Arc::new(Field::new(entries.name(), pair, false)), sorted)))
    }
}

fn unknown(column: &str, data_type: &DataType) -> SampleError {
    SampleError::Type { column: column.to_owned(), data_type: data_type.to_string() }
}

/// The same values under the field names of `data_type`, which must have the array's shape.
pub(crate) fn rename(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, SampleError> {
    Ok(match data_type {
        DataType::Struct(fields) => {
            let from = array.as_struct();
            let columns: Result<Vec<_>, _> =
                from.columns().iter().zip(fields).map(|(c, f)| rename(c, f.data_type())).collect();
            Arc::new(StructArray::try_new(fields.clone(), columns?, from.nulls().cloned())?)
        }
        DataType::List(element) => {
            let from = array.as_list::<i32>();
            let values = rename(from.values(), element.data_type())?;
            Arc::new(ListArray::try_new(element.clone(), from.offsets().clone(), values, from.nulls().cloned())?)
        }
        DataType::Map(entries, sorted) => {
            let from = array.as_map();
            let pairs: ArrayRef = Arc::new(from.entries().clone());
            let pairs = rename(&pairs, entries.data_type())?.as_struct().clone();
            Arc::new(MapArray::try_new(entries.clone(), from.offsets().clone(), pairs, from.nulls().cloned(), *sorted)?)
        }
        _ => array.clone(),
    })
}
