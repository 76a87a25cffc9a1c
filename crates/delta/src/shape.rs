//! What a worker must know of a table to read its files: schema, partition columns, column mapping and root, as a text
//! that planning writes once. It holds no credential and nothing of the log.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use delta_kernel::engine::arrow_conversion::TryIntoArrow;
use delta_kernel::schema::{ArrayType, DataType, MapType, SchemaRef, StructField, StructType};
use delta_kernel::table_features::ColumnMappingMode;
use mms_storage::{LocalFiles, StorageLocation};
use object_store::path::Path as ObjectPath;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::DeltaError;

/// The format of the text. A reader refuses any other.
const FORMAT: u32 = 1;

/// How the columns of the data files are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnMapping {
    /// By their logical names.
    None,
    /// By physical names in the metadata of the schema.
    Name,
    /// By Parquet field ids.
    Id,
}

impl ColumnMapping {
    fn mode(self) -> ColumnMappingMode {
        match self {
            Self::None => ColumnMappingMode::None,
            Self::Name => ColumnMappingMode::Name,
            Self::Id => ColumnMappingMode::Id,
        }
    }
}

impl From<ColumnMappingMode> for ColumnMapping {
    fn from(mode: ColumnMappingMode) -> Self {
        match mode {
            ColumnMappingMode::None => Self::None,
            ColumnMappingMode::Name => Self::Name,
            ColumnMappingMode::Id => Self::Id,
        }
    }
}

/// All that is needed to read the files of a pinned version.
#[derive(Clone)]
pub struct TableShape {
    text: ShapeText,
    arrow: ArrowSchemaRef,
    /// The logical schema without metadata: batches are shaped by it, so that none of them carries traces of Delta.
    output: SchemaRef,
    physical: StructType,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ShapeText {
    format: u32,
    root: Url,
    column_mapping: ColumnMapping,
    partition_columns: Vec<String>,
    schema: SchemaRef,
}

impl TableShape {
    pub(crate) fn new(
        root: Url,
        schema: SchemaRef,
        partition_columns: Vec<String>,
        column_mapping: ColumnMapping,
    ) -> Result<Self, DeltaError> {
        Self::derive(ShapeText { format: FORMAT, root, column_mapping, partition_columns, schema })
    }

    /// Reads the text of [`TableShape::to_json`].
    ///
    /// # Errors
    /// Refuses what this version did not write.
    pub fn from_json(text: &str) -> Result<Self, DeltaError> {
        let text: ShapeText = serde_json::from_str(text).map_err(|e| DeltaError::InvalidShape(e.to_string()))?;
        if text.format != FORMAT {
            return Err(DeltaError::InvalidShape(format!("format {} is not {FORMAT}", text.format)));
        }
        Self::derive(text)
    }

    /// The shape as text, for the manifest of the table.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.text).expect("a schema that was parsed can be written")
    }

    fn derive(text: ShapeText) -> Result<Self, DeltaError> {
        let invalid = |e: delta_kernel::KernelError| DeltaError::InvalidShape(e.to_string());
        if !text.root.path().ends_with('/') {
            return Err(DeltaError::InvalidShape(format!("root {} does not end in /", text.root)));
        }
        if let Some(name) = text.partition_columns.iter().find(|name| text.schema.field(name.as_str()).is_none()) {
            return Err(DeltaError::InvalidShape(format!("partition column {name:?} is not in the schema")));
        }
        let output = Arc::new(bare_struct(&text.schema).map_err(invalid)?);
        let arrow: ArrowSchema =
            output.as_ref().try_into_arrow().map_err(|e| DeltaError::InvalidShape(e.to_string()))?;
        let physical = text.schema.make_physical(text.column_mapping.mode()).map_err(invalid)?;
        Ok(Self { text, arrow: Arc::new(arrow), output, physical })
    }

    /// The table's root, ending in `/`.
    pub fn root(&self) -> &Url {
        &self.text.root
    }

    /// The logical schema with all its metadata.
    pub fn schema(&self) -> &SchemaRef {
        &self.text.schema
    }

    /// The schema of every batch: the logical columns in order, partition columns among them.
    pub fn arrow_schema(&self) -> &ArrowSchemaRef {
        &self.arrow
    }

    /// Logical names of the partition columns, in the table's order.
    pub fn partition_columns(&self) -> &[String] {
        &self.text.partition_columns
    }

    /// How the columns of the data files are found.
    pub fn column_mapping(&self) -> ColumnMapping {
        self.text.column_mapping
    }

    /// Whether the logical column is a partition column.
    pub(crate) fn is_partition_column(&self, name: &str) -> bool {
        self.text.partition_columns.iter().any(|column| column == name)
    }

    pub(crate) fn output(&self) -> &SchemaRef {
        &self.output
    }

    /// Each logical field beside the physical one, in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&StructField, &StructField)> {
        self.text.schema.fields().zip(self.physical.fields())
    }

    /// The name by which the log knows a partition column.
    pub(crate) fn physical_name(&self, logical: &str) -> String {
        self.fields().find(|(field, _)| field.name() == logical).map_or(logical, |(_, field)| field.name()).to_owned()
    }

    /// Where a path of the log lies: decoded once, and under the root.
    pub(crate) fn locate(&self, path: &str) -> Result<(Url, ObjectPath), DeltaError> {
        let outside = || DeltaError::OutsideRoot { root: self.text.root.to_string(), path: path.to_owned() };
        let mut url = self.text.root.join(path).map_err(|_| outside())?;
        if url.scheme() != self.text.root.scheme() || url.authority() != self.text.root.authority() {
            // The same place under another of its names, as wasbs for abfss.
            let parse = |text: &str| StorageLocation::parse(text, LocalFiles::Allowed).map_err(|_| outside());
            let (there, here) = (parse(url.as_str())?, parse(self.text.root.as_str())?);
            if !there.same_store(&here) {
                return Err(outside());
            }
            url = there.url();
            let trimmed = url.path().trim_end_matches('/').to_owned();
            url.set_path(&trimmed);
        }
        let root = ObjectPath::from_url_path(self.text.root.path()).map_err(|_| outside())?;
        let object = ObjectPath::from_url_path(url.path()).map_err(|_| outside())?;
        let below = object.prefix_match(&root).is_some_and(|mut rest| rest.next().is_some());
        if !below || url.query().is_some() || url.fragment().is_some() {
            return Err(outside());
        }
        Ok((url, object))
    }
}

impl fmt::Debug for TableShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

fn bare_struct(schema: &StructType) -> Result<StructType, delta_kernel::KernelError> {
    let fields: Result<Vec<_>, delta_kernel::KernelError> = schema
        .fields()
        .map(|field| Ok(StructField::new(field.name(), bare(field.data_type())?, field.is_nullable())))
        .collect();
    StructType::try_new(fields?)
}

fn bare(data_type: &DataType) -> Result<DataType, delta_kernel::KernelError> {
    Ok(match data_type {
        DataType::Struct(inner) => bare_struct(inner)?.into(),
        DataType::Array(array) => ArrayType::new(bare(array.element_type())?, array.contains_null()).into(),
        DataType::Map(map) => {
            MapType::new(bare(map.key_type())?, bare(map.value_type())?, map.value_contains_null()).into()
        }
        other => other.clone(),
    })
}

#[cfg(test)]
#[path = "shape_tests.rs"]
mod tests;
