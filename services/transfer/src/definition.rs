//! Converts the planned table from the contract into the model of the target. Validates what it says and adds nothing.

use std::collections::BTreeMap;

use mms_mapping::OWNER_PROPERTY;
use mms_maxcompute::name::{ColumnName, ProjectName, SchemaName, TableName};
use mms_maxcompute::table::{Column, TableDefinition, TableKind, TableRef};
use mms_maxcompute::types::DataType;
use mms_proto::types::v1 as pb;

use crate::error::{Result, TransferError};

fn unusable(what: &str) -> impl Fn(String) -> TransferError {
    move |error| TransferError::Plan(format!("target.{what}: {error}"))
}

fn column(mapping: &pb::ColumnMapping) -> Result<Column> {
    let name = ColumnName::new(mapping.target_column.as_str());
    let data_type = mapping.target_type.parse::<DataType>();
    Ok(Column {
        name: name.map_err(|error| unusable("columns")(error.to_string()))?,
        data_type: data_type.map_err(|error| unusable("columns")(error.to_string()))?,
        nullable: mapping.nullable,
        comment: given(&mapping.comment),
    })
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The table that is to be made at the target.
///
/// # Errors
/// [`TransferError::Plan`] for a part that the contract does not allow.
pub fn definition(planned: &pb::TargetDefinition) -> Result<TableDefinition> {
    let table = planned.table.clone().unwrap_or_default();
    let bad_table = unusable("table");
    let schema = given(&table.schema).map(SchemaName::new).transpose();
    let of_role = |role: pb::ColumnRole| {
        let columns = planned.columns.iter().filter(move |column| column.role() == role);
        columns.map(column).collect::<Result<Vec<_>>>()
    };
    let key = planned.primary_key.iter().map(|name| ColumnName::new(name.as_str()));
    Ok(TableDefinition {
        target: TableRef {
            project: ProjectName::new(table.project).map_err(|error| bad_table(error.to_string()))?,
            schema: schema.map_err(|error| bad_table(error.to_string()))?,
            table: TableName::new(table.table).map_err(|error| bad_table(error.to_string()))?,
        },
        kind: match planned.kind() {
            pb::TargetKind::Ordinary => TableKind::Ordinary,
            pb::TargetKind::AppendDelta => TableKind::AppendDelta,
            pb::TargetKind::PkDelta => TableKind::PkDelta,
            pb::TargetKind::Unspecified => return Err(unusable("kind")("it is not set".to_owned())),
        },
        columns: of_role(pb::ColumnRole::Data)?,
        partition_columns: of_role(pb::ColumnRole::Partition)?,
        primary_key: key.collect::<Result<_, _>>().map_err(|error| unusable("primary_key")(error.to_string()))?,
        comment: given(&planned.comment),
        lifecycle_days: u32::try_from(planned.lifecycle_days).ok().filter(|days| *days > 0),
        properties: BTreeMap::from([(OWNER_PROPERTY.to_owned(), planned.ownership.clone())]),
    })
}

#[cfg(test)]
mod tests {
    use mms_maxcompute::ddl;

    use super::*;

    fn planned() -> pb::TargetDefinition {
        let column = |name: &str, text: &str, role: pb::ColumnRole| pb::ColumnMapping {
            source_column: name.to_owned(),
            target_column: name.to_owned(),
            target_type: text.to_owned(),
            role: role as i32,
            nullable: name != "id",
            comment: if name == "id" { "it's".to_owned() } else { String::new() },
            ..pb::ColumnMapping::default()
        };
        pb::TargetDefinition {
            table: Some(pb::TargetTable { project: "p".into(), schema: "s".into(), table: "t".into() }),
            kind: pb::TargetKind::AppendDelta as i32,
            columns: vec![
                column("id", "BIGINT", pb::ColumnRole::Data),
                column("v", "ARRAY<STRUCT<`x y`:DECIMAL(38,18)>>", pb::ColumnRole::Data),
                column("pt", "STRING", pb::ColumnRole::Partition),
            ],
            ownership: "uid/s/t".into(),
            comment: "c".into(),
            lifecycle_days: 7,
            ..pb::TargetDefinition::default()
        }
    }

    #[test]
    fn the_statement_made_of_it_is_the_planned_one() {
        let made = definition(&planned()).expect("usable");
        let sql = ddl::create_table(&made);
        for part in ["`id` BIGINT NOT NULL COMMENT", "DECIMAL(38,18)", "PARTITIONED BY", "LIFECYCLE 7", "uid/s/t"] {
            assert!(sql.contains(part), "{part}: {sql}");
        }
    }

    #[test]
    fn what_it_cannot_be_is_named() {
        type Spoil = fn(&mut pb::TargetDefinition);
        let cases: [(&str, Spoil); 4] = [
            ("target.table", |planned| planned.table = None),
            ("target.kind", |planned| planned.kind = 0),
            ("target.columns", |planned| planned.columns[0].target_type = "NUMBER".into()),
            ("target.columns", |planned| planned.columns[0].target_column = String::new()),
        ];
        for (field, spoil) in cases {
            let mut planned = planned();
            spoil(&mut planned);
            assert!(definition(&planned).expect_err("unusable").to_string().contains(field), "{field}");
        }
    }
}
