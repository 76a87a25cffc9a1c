use std::collections::BTreeMap;

use crate::ddl;
use crate::name::{ColumnName, ProjectName, SchemaName, TableName};
use crate::table::{Column, PartitionSpec, TableDefinition, TableKind, TableRef};

fn column(name: &str, data_type: &str, nullable: bool, comment: Option<&str>) -> Column {
    Column {
        name: ColumnName::new(name).unwrap(),
        data_type: data_type.parse().unwrap(),
        nullable,
        comment: comment.map(str::to_owned),
    }
}

fn target(schema: Option<&str>) -> TableRef {
    TableRef {
        project: ProjectName::new("proj").unwrap(),
        schema: schema.map(|s| SchemaName::new(s).unwrap()),
        table: TableName::new("Orders").unwrap(),
    }
}

fn definition(kind: TableKind) -> TableDefinition {
    TableDefinition {
        target: target(Some("sales")),
        kind,
        columns: vec![
            column("id", "bigint", false, None),
            column("note", "string", true, Some("it's a \\ note")),
            column("tags", "array<struct<k:string,v:decimal(10,2)>>", true, None),
        ],
        partition_columns: vec![column("pt", "string", true, Some("day")), column("h", "int", true, None)],
        primary_key: Vec::new(),
        comment: Some("orders;".into()),
        lifecycle_days: Some(30),
        properties: BTreeMap::from([("mms.source".to_owned(), "ds/a'b".to_owned())]),
    }
}

fn spec(values: &[(&str, &str)]) -> PartitionSpec {
    PartitionSpec(values.iter().map(|(k, v)| (ColumnName::new(*k).unwrap(), (*v).to_owned())).collect())
}

#[test]
fn an_ordinary_partitioned_table() {
    let expected = r"CREATE TABLE IF NOT EXISTS `proj`.`sales`.`Orders` (
  `id` BIGINT NOT NULL,
  `note` STRING COMMENT 'it\'s a \\ note',
  `tags` ARRAY<STRUCT<`k`:STRING,`v`:DECIMAL(10,2)>>
)
COMMENT 'orders;'
PARTITIONED BY (
  `pt` STRING COMMENT 'day',
  `h` INT
)
TBLPROPERTIES ('mms.source'='ds/a\'b')
LIFECYCLE 30;";
    assert_eq!(ddl::create_table(&definition(TableKind::Ordinary)), expected);
}

#[test]
fn a_plain_append_delta_table_in_a_two_tier_project() {
    let mut plain = definition(TableKind::AppendDelta);
    plain.target = target(None);
    plain.partition_columns.clear();
    plain.columns.truncate(1);
    plain.comment = None;
    plain.lifecycle_days = None;
    plain.properties.clear();
    let expected = "CREATE TABLE IF NOT EXISTS `proj`.`Orders` (\n  `id` BIGINT NOT NULL\n)\nTBLPROPERTIES ('table.format.version'='2');";
    assert_eq!(ddl::create_table(&plain), expected);
}

#[test]
fn a_pk_delta_table_has_its_key_inside_the_column_list() {
    let mut keyed = definition(TableKind::PkDelta);
    keyed.primary_key = vec![ColumnName::new("id").unwrap()];
    keyed.partition_columns.clear();
    keyed.columns.truncate(1);
    let expected = r"CREATE TABLE IF NOT EXISTS `proj`.`sales`.`Orders` (
  `id` BIGINT NOT NULL,
  PRIMARY KEY (`id`)
)
COMMENT 'orders;'
TBLPROPERTIES ('mms.source'='ds/a\'b', 'transactional'='true')
LIFECYCLE 30;";
    assert_eq!(ddl::create_table(&keyed), expected);
}

#[test]
fn partitions_are_added_in_batches() {
    let table = target(Some("sales"));
    let two = [spec(&[("pt", "a"), ("h", "1")]), spec(&[("pt", "it's"), ("h", "2")])];
    assert_eq!(
        ddl::add_partitions(&table, &two),
        [
            r"ALTER TABLE `proj`.`sales`.`Orders` ADD IF NOT EXISTS PARTITION (`pt`='a', `h`='1') PARTITION (`pt`='it\'s', `h`='2');"
        ]
    );
    assert!(ddl::add_partitions(&table, &[]).is_empty());
    let many: Vec<PartitionSpec> = (0..600).map(|i| spec(&[("pt", &i.to_string())])).collect();
    let statements = ddl::add_partitions(&table, &many);
    assert_eq!(statements.iter().map(|s| s.matches("PARTITION (").count()).collect::<Vec<_>>(), [256, 256, 88]);
    let long = vec![spec(&[("pt", &"x".repeat(300_000))]); 3];
    assert_eq!(ddl::add_partitions(&table, &long).len(), 3);
}

#[test]
fn counts_and_drop() {
    let table = target(None);
    let columns = definition(TableKind::Ordinary).partition_columns;
    let specs = [spec(&[("pt", "1"), ("h", "01")]), spec(&[("pt", "b"), ("h", "-2")])];
    assert_eq!(ddl::count(&table, &columns, &[]), "SELECT COUNT(*) FROM `proj`.`Orders`;");
    assert_eq!(
        ddl::count_by_partition(&table, &columns, &specs),
        "SELECT `pt`, `h`, COUNT(*) FROM `proj`.`Orders` WHERE (`pt`='1' AND `h`=1) OR (`pt`='b' AND `h`=-2) GROUP BY `pt`, `h`;"
    );
    assert_eq!(ddl::drop_table(&table), "DROP TABLE IF EXISTS `proj`.`Orders`;");
}
