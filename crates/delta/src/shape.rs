//! What a worker must know of a table to read its files: schema, partition columns, column mapping and root, in plain
//! fields that planning writes once. It holds no credential and nothing of the log.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use delta_kernel::engine::arrow_conversion::TryIntoArrow;
use delta_kernel::schema::{ArrayType, DataType, MapType, SchemaRef, StructField, StructType};
use delta_kernel::table_features::ColumnMappingMode;
use mms_storage::{LocalFiles, StorageLocation};
use object_store::path::Path as ObjectPath;
use url::Url;

use crate::DeltaError;

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
    arrow: ArrowSchemaRef,
    /// The logical schema without metadata: batches are shaped by it, so that none of them carries traces of Delta.
    output: SchemaRef,
    physical: StructType,
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
        let invalid = |e: delta_kernel::KernelError| DeltaError::InvalidShape(e.to_string());
        if !parts.root.path().ends_with('/') {
            return Err(DeltaError::InvalidShape(format!("root {} does not end in /", parts.root)));
        }
        if let Some(name) = parts.partition_columns.iter().find(|name| parts.schema.field(name.as_str()).is_none()) {
            return Err(DeltaError::InvalidShape(format!("partition column {name:?} is not in the schema")));
        }
        let output = Arc::new(bare_struct(&parts.schema).map_err(invalid)?);
        let arrow: ArrowSchema =
            output.as_ref().try_into_arrow().map_err(|e| DeltaError::InvalidShape(e.to_string()))?;
        let physical = parts.schema.make_physical(parts.column_mapping.mode()).map_err(invalid)?;
        Ok(Self { parts, arrow: Arc::new(arrow), output, physical })
    }

    /// The table's root, ending in `/`.
    pub fn root(&self) -> &Url {
        &self.parts.root
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

    pub(crate) fn output(&self) -> &SchemaRef {
        &self.output
    }

    /// Each logical field beside the physical one, in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&StructField, &StructField)> {
        self.parts.schema.fields().zip(self.physical.fields())
    }

    /// The name by which the log knows a partition column.
    pub(crate) fn physical_name(&self, logical: &str) -> String {
        self.fields().find(|(field, _)| field.name() == logical).map_or(logical, |(_, field)| field.name()).to_owned()
    }

    /// Where a path of the log lies: decoded once, and under the root.
    pub(crate) fn locate(&self, path: &str) -> Result<(Url, ObjectPath), DeltaError> {
        let outside = || DeltaError::OutsideRoot { root: self.parts.root.to_string(), path: path.to_owned() };
        let mut url = self.parts.root.join(path).map_err(|_| outside())?;
        if url.scheme() != self.parts.root.scheme() || url.authority() != self.parts.root.authority() {
            // The same place under another of its names, as wasbs for abfss.
            let parse = |text: &str| StorageLocation::parse(text, LocalFiles::Allowed).map_err(|_| outside());
            let (there, here) = (parse(url.as_str())?, parse(self.parts.root.as_str())?);
            if !there.same_store(&here) {
                return Err(outside());
            }
            url = there.url();
            let trimmed = url.path().trim_end_matches('/').to_owned();
            url.set_path(&trimmed);
        }
        let root = ObjectPath::from_url_path(self.parts.root.path()).map_err(|_| outside())?;
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
