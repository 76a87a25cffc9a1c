//! What a worker must know of a table to read its files: schema, partition columns, column mapping and root, in plain fields
//! that planning stores once. Holds no credential, and nothing else of the log.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Fields, Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use delta_kernel::engine::arrow_conversion::TryIntoArrow;
use delta_kernel::schema::{ArrayType, DataType, MapType, SchemaRef, StructField, StructType};
use object_store::path::Path as ObjectPath;
use url::Url;

use crate::DeltaError;
use crate::data_file::Finder;
use crate::error::kernel_text;
use crate::place::{Places, decoded};

/// How columns are found in the data files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnMapping {
    /// By their logical names.
    None,
    /// By the physical names in the schema's metadata.
    Name,
    /// By Parquet field ids.
    Id,
}

/// A [`TableShape`] in plain fields, so that a manifest of any format can store it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeText {
    /// URL of the table's root, ending in `/`.
    pub root: String,
    /// How columns are found in the data files.
    pub column_mapping: ColumnMapping,
    /// Logical names of the partition columns, in the table's order.
    pub partition_columns: Vec<String>,
    /// The schema as JSON, as the Delta protocol defines it.
    pub schema: String,
}

/// Everything that is needed to read the files of a pinned version.
#[derive(Clone)]
pub struct TableShape {
    parts: Parts,
    /// The logical schema without its metadata. Batches have this schema, so that they carry nothing of Delta.
    arrow: ArrowSchemaRef,
    /// The same without partition columns: what is read from data files.
    stored: ArrowSchemaRef,
    places: Places,
}

#[derive(Clone, Debug)]
struct Parts {
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
        Self::derive(Parts { root, column_mapping, partition_columns, schema })
    }

    /// Rebuilds the shape from its plain fields.
    ///
    /// # Errors
    /// [`DeltaError::InvalidShape`]: the root is not a URL of a folder, the schema cannot be parsed, or a partition column is
    /// not in it.
    pub fn read(text: ShapeText) -> Result<Self, DeltaError> {
        let root =
            Url::parse(&text.root).map_err(|e| DeltaError::InvalidShape(format!("root {:?}: {e}", text.root)))?;
        let schema = serde_json::from_str(&text.schema).map_err(|e| DeltaError::InvalidShape(e.to_string()))?;
        Self::new(root, schema, text.partition_columns, text.column_mapping)
    }

    /// The shape in plain fields, for the table's manifest.
    pub fn text(&self) -> ShapeText {
        ShapeText {
            root: self.parts.root.to_string(),
            column_mapping: self.parts.column_mapping,
            partition_columns: self.parts.partition_columns.clone(),
            schema: serde_json::to_string(&self.parts.schema).expect("a schema that was parsed can be written"),
        }
    }

    fn derive(parts: Parts) -> Result<Self, DeltaError> {
        let invalid = |e: delta_kernel::KernelError| DeltaError::InvalidShape(kernel_text(&e));
        if !parts.root.path().ends_with('/') {
            return Err(DeltaError::InvalidShape(format!("root {} does not end in /", parts.root)));
        }
        if let Some(name) = parts.partition_columns.iter().find(|name| parts.schema.field(name.as_str()).is_none()) {
            return Err(DeltaError::InvalidShape(format!("partition column {name:?} is not in the schema")));
        }
        let bare = bare_struct(&parts.schema).map_err(invalid)?;
        let arrow: ArrowSchema = (&bare).try_into_arrow().map_err(|e| DeltaError::InvalidShape(e.to_string()))?;
        let is_stored = |name: &str| !parts.partition_columns.iter().any(|column| column == name);
        let stored = arrow.fields().iter().filter(|field| is_stored(field.name())).cloned().collect::<Fields>();
        let places = Places::new(parts.root.clone());
        Ok(Self { parts, arrow: Arc::new(arrow), stored: Arc::new(ArrowSchema::new(stored)), places })
    }

    /// URL of the table's root, ending in `/`.
    pub fn root(&self) -> &Url {
        &self.parts.root
    }

    /// The table's root, percent-decoded, for messages.
    pub(crate) fn shown_root(&self) -> String {
        decoded(self.parts.root.as_str())
    }

    /// A file and its table, percent-decoded, for messages.
    pub(crate) fn shown_file(&self, path: &str) -> String {
        format!("{} of {}", decoded(path), self.shown_root())
    }

    /// The logical schema with all its metadata.
    pub fn schema(&self) -> &SchemaRef {
        &self.parts.schema
    }

    /// Schema of every batch: the logical columns in order, with the partition columns.
    pub fn arrow_schema(&self) -> &ArrowSchemaRef {
        &self.arrow
    }

    /// Logical names of the partition columns, in the table's order.
    pub fn partition_columns(&self) -> &[String] {
        &self.parts.partition_columns
    }

    /// How columns are found in the data files.
    pub fn column_mapping(&self) -> ColumnMapping {
        self.parts.column_mapping
    }

    /// Whether the logical column is a partition column.
    pub(crate) fn is_partition_column(&self, name: &str) -> bool {
        self.parts.partition_columns.iter().any(|column| column == name)
    }

    /// The columns that are read from data files.
    pub(crate) fn stored_schema(&self) -> &ArrowSchemaRef {
        &self.stored
    }

    /// The name that the log uses for a partition column.
    pub(crate) fn physical_name(&self, logical: &str) -> String {
        let finder = Finder { mapping: self.parts.column_mapping };
        self.parts.schema.field(logical).map_or(logical, |field| finder.stored_name(field)).to_owned()
    }

    /// The normal spelling of a path of the log. None if it leads out of the table.
    pub(crate) fn place<'a>(&self, path: &'a str) -> Option<Cow<'a, str>> {
        self.places.place(path)
    }

    /// The URL and the store's path of a path of the log, which must lie under the root.
    pub(crate) fn locate(&self, path: &str) -> Result<(Url, ObjectPath), DeltaError> {
        let outside = |_| DeltaError::OutsideRoot { root: self.shown_root(), path: decoded(path) };
        self.places.locate(path).map_err(outside)
    }
}

impl fmt::Debug for TableShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.fmt(f)
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
