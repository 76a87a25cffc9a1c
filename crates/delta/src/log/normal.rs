//! Normalises or rejects actions before the kernel sees them, where it would trust them: a path gets its one normal spelling,
//! a schema loses the types that the kernel cannot parse, and a commit that both adds and removes one file is an error.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, StructArray};
use delta_kernel::KernelError;
use delta_kernel::schema::{ArrayType, DataType, MapType, SchemaRef, StructField, StructType};

use super::LogReading;
use super::schema_text::SchemaText;

/// The same schema in which every map and list may hold NULLs: writers leave them where the protocol allows none.
pub(super) fn relaxed(schema: &SchemaRef) -> Result<SchemaRef, KernelError> {
    Ok(Arc::new(relaxed_struct(schema)?))
}

fn relaxed_struct(schema: &StructType) -> Result<StructType, KernelError> {
    StructType::try_new(
        schema
            .fields()
            .map(|field| Ok(StructField { data_type: relaxed_type(field.data_type())?, ..field.clone() }))
            .collect::<Result<Vec<_>, KernelError>>()?,
    )
}

fn relaxed_type(data_type: &DataType) -> Result<DataType, KernelError> {
    Ok(match data_type {
        DataType::Struct(inner) => relaxed_struct(inner)?.into(),
        DataType::Array(array) => ArrayType::new(relaxed_type(array.element_type())?, array.contains_null()).into(),
        DataType::Map(map) => MapType::new(map.key_type().clone(), relaxed_type(map.value_type())?, true).into(),
        other => other.clone(),
    })
}

/// A file and its deletion vector, if any: what a log distinguishes files by.
type Key = (String, Option<String>);

/// Normalises the actions of one file of the log.
pub(super) struct Normalizer {
    reading: Arc<LogReading>,
    /// Whether the file is a commit, whose actions have no order.
    commit: bool,
    added: HashMap<Key, String>,
    removed: HashSet<Key>,
}

impl Normalizer {
    pub(super) fn new(reading: Arc<LogReading>, commit: bool) -> Self {
        Self { reading, commit, added: HashMap::new(), removed: HashSet::new() }
    }

    /// The same actions in normal form.
    ///
    /// # Errors
    /// What in them the protocol does not allow.
    pub(super) fn normal(&mut self, batch: RecordBatch) -> Result<RecordBatch, String> {
        let schema = batch.schema();
        let mut columns = batch.columns().to_vec();
        for (column, field) in columns.iter_mut().zip(schema.fields()) {
            let Some(action) = column.as_struct_opt() else { continue };
            let normal = match field.name().as_str() {
                "metaData" => texts(action, "schemaString", |text| self.schema(text))?,
                "add" | "remove" => texts(action, "path", |path| self.reading.places.normal(path))?,
                _ => None,
            };
            let Some(normal) = normal else { continue };
            if self.commit && field.name() != "metaData" {
                self.file_actions(&normal, field.name() == "add")?;
            }
            *column = Arc::new(normal);
        }
        RecordBatch::try_new(schema, columns).map_err(|e| e.to_string())
    }

    /// Checks, at the end of the file, that no file was both added and removed.
    pub(super) fn end(&self) -> Result<(), String> {
        // The least one, so that the error is the same each time.
        match self.added.keys().filter(|key| self.removed.contains(*key)).min() {
            Some((path, _)) => Err(format!(
                "it adds and removes {} in one version, which the Delta protocol does not allow: nobody can say whether the file is live",
                crate::place::decoded(path)
            )),
            None => Ok(()),
        }
    }

    fn schema(&self, text: &str) -> String {
        let schema = SchemaText::of(text);
        let readable = schema.readable.clone();
        self.reading.saw_schema(schema);
        readable
    }

    fn file_actions(&mut self, action: &StructArray, is_add: bool) -> Result<(), String> {
        let Some(paths) = strings(action, "path") else { return Ok(()) };
        let vectors = action.column_by_name("deletionVector").and_then(|vector| vector.as_struct_opt());
        for row in (0..action.len()).filter(|row| action.is_valid(*row) && paths.is_valid(*row)) {
            let key = (paths.value(row).to_owned(), vectors.and_then(|vectors| vector_id(vectors, row)));
            if !is_add {
                self.removed.insert(key);
                continue;
            }
            let told = fingerprint(action, row);
            if let Some(before) = self.added.get(&key)
                && *before != told
            {
                return Err(format!(
                    "it adds {} twice in one version, each time with another size or other partition values",
                    crate::place::decoded(&key.0)
                ));
            }
            self.added.insert(key, told);
        }
        Ok(())
    }
}

/// What distinguishes the deletion vectors of one file: storage type, path or inline bytes, and offset.
fn vector_id(vectors: &StructArray, row: usize) -> Option<String> {
    let kind = strings(vectors, "storageType").filter(|kind| vectors.is_valid(row) && kind.is_valid(row))?;
    let path = strings(vectors, "pathOrInlineDv")?;
    let offset = vectors.column_by_name("offset").and_then(|offset| offset.as_any().downcast_ref::<Int32Array>());
    let offset = offset.filter(|offset| offset.is_valid(row)).map(|offset| offset.value(row));
    Some(format!("{}{}@{offset:?}", kind.value(row), path.value(row)))
}

/// Size and partition values, as far as these columns were read.
fn fingerprint(action: &StructArray, row: usize) -> String {
    let size = action.column_by_name("size").and_then(|size| size.as_any().downcast_ref::<Int64Array>());
    let size = size.filter(|size| size.is_valid(row)).map(|size| size.value(row));
    let values = action.column_by_name("partitionValues").and_then(|values| values.as_map_opt());
    let values = values.filter(|values| values.is_valid(row)).map(|values| {
        let entries = values.value(row);
        let (keys, values) = (entries.column(0).as_string_opt::<i32>(), entries.column(1).as_string_opt::<i32>());
        let mut pairs: Vec<_> = keys.into_iter().flatten().zip(values.into_iter().flatten()).collect();
        pairs.sort();
        format!("{pairs:?}")
    });
    format!("{size:?} {values:?}")
}

fn strings<'a>(array: &'a StructArray, name: &str) -> Option<&'a StringArray> {
    array.column_by_name(name).and_then(|column| column.as_string_opt::<i32>())
}

/// The struct with one of its text fields changed. None if it has no such field.
fn texts(array: &StructArray, name: &str, change: impl Fn(&str) -> String) -> Result<Option<StructArray>, String> {
    let Some(at) = array.fields().iter().position(|field| field.name() == name) else { return Ok(None) };
    let Some(old) = array.columns().get(at).and_then(|column| column.as_string_opt::<i32>()) else { return Ok(None) };
    let changed: StringArray = (0..array.len())
        .map(|row| (array.is_valid(row) && old.is_valid(row)).then(|| change(old.value(row))))
        .collect();
    let mut columns = array.columns().to_vec();
    // NULL exactly where the struct is NULL: the kernel recognises an absent action by that.
    if let Some(column) = columns.get_mut(at) {
        *column = Arc::new(changed);
    }
    let made = StructArray::try_new(array.fields().clone(), columns, array.nulls().cloned());
    made.map(Some).map_err(|e| format!("an action without a {name}: {e}"))
}
