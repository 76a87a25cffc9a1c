//! What a worker must know of a table to read its files: schema, partition columns, column mapping and root, in plain
//! fields that planning writes once. It holds no credential and nothing of the log.

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

/// How the columns of the data files are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnMapping {
    /// By their logical names.
    None,
    /// By physical names in the metadata of the schema.
    Name,
    /// By Parquet field ids.
    Id,
}

/// A shape in plain fields, so that a manifest can store it in any format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeText {
    /// The table's root, ending in `/`.
    pub root: String,
    /// How the columns of the data files are found.
    pub column_mapping: ColumnMapping,
    /// Logical names of the partition columns, in the table's order.
    pub partition_columns: Vec<String>,
    /// The schema as the Delta protocol writes it.
    pub schema: String,
}

/// All that is needed to read the files of a pinned version.
#[derive(Clone)]
pub struct TableShape {
    parts: Parts,
    /// The logical schema without metadata: batches are shaped by it, so that none of them carries traces of Delta.
    arrow: ArrowSchemaRef,
    /// The same without partition columns: what data files are read for.
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

    /// The shape that plain fields describe.
    ///
    /// # Errors
    /// Refuses a root or a schema that is none, and partition columns that the schema does not have.
    pub fn read(text: ShapeText) -> Result<Self, DeltaError> {
        let root =
            Url::parse(&text.root).map_err(|e| DeltaError::InvalidShape(format!("root {:?}: {e}", text.root)))?;
        let schema = serde_json::from_str(&text.schema).map_err(|e| DeltaError::InvalidShape(e.to_string()))?;
        Self::new(root, schema, text.partition_columns, text.column_mapping)
    }

    /// The shape in plain fields, for the manifest of the table.
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

    /// The table's root, ending in `/`.
    pub fn root(&self) -> &Url {
        &self.parts.root
    }

    /// The table's root as people write it, for texts.
    pub(crate) fn shown_root(&self) -> String {
        decoded(self.parts.root.as_str())
    }

    /// A file of the table as people write it, with the table that it is of.
    pub(crate) fn shown_file(&self, path: &str) -> String {
        format!("{} of {}", decoded(path), self.shown_root())
    }

    /// The logical schema with all its metadata.
    pub fn schema(&self) -> &SchemaRef {
        &self.parts.schema
    }

    /// The schema of every batch: the logical columns in order, partition columns among them.
    pub fn arrow_schema(&self) -> &ArrowSchemaRef {
        &self.arrow
    }

    /// Logical names of the partition columns, in the table's order.
    pub fn partition_columns(&self) -> &[String] {
        &self.parts.partition_columns
    }

    /// How the columns of the data files are found.
    pub fn column_mapping(&self) -> ColumnMapping {
        self.parts.column_mapping
    }

    /// Whether the logical column is a partition column.
    pub(crate) fn is_partition_column(&self, name: &str) -> bool {
        self.parts.partition_columns.iter().any(|column| column == name)
    }

    /// The columns that data files are read for.
    pub(crate) fn stored_schema(&self) -> &ArrowSchemaRef {
        &self.stored
    }

    /// The name by which the log knows a partition column.
    pub(crate) fn physical_name(&self, logical: &str) -> String {
        let finder = Finder { mapping: self.parts.column_mapping };
        self.parts.schema.field(logical).map_or(logical, |field| finder.stored_name(field)).to_owned()
    }

    /// The one spelling of a path of the log. None if it leads out of the table.
    pub(crate) fn place<'a>(&self, path: &'a str) -> Option<Cow<'a, str>> {
        self.places.place(path)
    }

    /// Where a path of the log lies: decoded once, and under the root.
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
