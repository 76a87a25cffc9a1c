//! Finds the field of a file that is a column of the table: by name if the table has no column mapping or mode `name`, by
//! field id in mode `id`. Never by both: files also have ids and names that mean nothing here.

use delta_kernel::schema::{ColumnMetadataKey, MetadataValue, StructField};
use parquet::schema::types::TypePtr;

use crate::ColumnMapping;

/// Finds fields.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finder {
    pub(crate) mapping: ColumnMapping,
}

/// Why no field of a struct can be found.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) String);

impl Finder {
    /// Index of the table's field among these, if the file has it. Case is ignored, as in Spark; two matches are an error.
    pub(crate) fn find(self, field: &StructField, there: &[TypePtr]) -> Result<Option<usize>, String> {
        let (matching, what): (Vec<usize>, String) = match self.mapping {
            ColumnMapping::Id => {
                let id = id(field).ok_or("the table maps columns by id, and this one has no delta.columnMapping.id")?;
                (places(there, |other| field_id(other) == Some(id)), format!("id {id}"))
            }
            ColumnMapping::None | ColumnMapping::Name => {
                let name = self.stored_name(field);
                let folded = name.to_lowercase();
                (
                    places(there, |other| other.name().to_lowercase() == folded),
                    format!("name `{name}`, whatever the case"),
                )
            }
        };
        match matching[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => {
                let names: Vec<String> = matching.iter().map(|at| format!("`{}`", there[*at].name())).collect();
                Err(format!("the file has {} fields of {what}: {}", matching.len(), names.join(", ")))
            }
        }
    }

    /// The name of a field in files.
    pub(crate) fn stored_name(self, field: &StructField) -> &str {
        match (self.mapping, field.get_config_value(&ColumnMetadataKey::ColumnMappingPhysicalName)) {
            (ColumnMapping::Name | ColumnMapping::Id, Some(MetadataValue::String(name))) => name,
            _ => field.name(),
        }
    }

    /// Fails in mode `id` if no field of a struct has an id: then nothing says which is which.
    pub(crate) fn has_ids(self, wanted: &[&StructField], there: &[TypePtr]) -> Result<(), Missing> {
        let silent = there.iter().all(|field| field_id(field).is_none());
        if self.mapping == ColumnMapping::Id && silent && !wanted.is_empty() && !there.is_empty() {
            return Err(Missing(
                "the table maps columns by id, and the file's fields have no ids: rewrite the file with them, or set delta.columnMapping.mode to name"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

fn places(there: &[TypePtr], matches: impl Fn(&TypePtr) -> bool) -> Vec<usize> {
    there.iter().enumerate().filter(|(_, field)| matches(field)).map(|(at, _)| at).collect()
}

fn id(field: &StructField) -> Option<i64> {
    field.column_mapping_id()
}

fn field_id(field: &TypePtr) -> Option<i64> {
    let info = field.get_basic_info();
    info.has_id().then(|| i64::from(info.id()))
}
