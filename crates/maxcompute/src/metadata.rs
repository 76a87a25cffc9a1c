//! Tables and partitions as the service describes them.

use std::collections::BTreeMap;

use mms_http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::MaxComputeError;
use crate::name::{ColumnName, SchemaName};
use crate::project::{Project, exists};
use crate::table::{Column, PartitionSpec, TableKind, TableRef};
use crate::transport::Call;
use crate::xml::Element;

/// What the service tells about a table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableInfo {
    /// Its address.
    pub target: TableRef,
    /// Data columns in order.
    pub columns: Vec<Column>,
    /// Partition columns in order.
    pub partition_columns: Vec<Column>,
    /// Its comment.
    pub comment: Option<String>,
    /// Days after which unchanged data may be reclaimed.
    pub lifecycle_days: Option<u32>,
    /// Its table properties and reserved attributes; empty for a view.
    pub properties: BTreeMap<String, String>,
    /// Names of the key columns of a PK delta table.
    pub primary_key: Vec<String>,
    /// Whether it is a view of any kind.
    pub is_view: bool,
    /// The service's own id of it, where it tells one. A table that is dropped and made anew has another.
    pub id: Option<String>,
    /// When it was made.
    pub created: Option<jiff::Timestamp>,
    /// When its data last changed.
    pub last_modified: Option<jiff::Timestamp>,
    /// Rows, where the service keeps count.
    pub record_count: Option<u64>,
    /// Stored bytes.
    pub size_bytes: Option<u64>,
}

impl TableInfo {
    /// Its kind, as its properties tell it; none when the service does not tell any.
    pub fn kind(&self) -> Option<TableKind> {
        let flag = |name: &str, value: &str| self.properties.get(name).is_some_and(|found| found == value);
        match () {
            () if flag("transactional", "true") && !self.primary_key.is_empty() => Some(TableKind::PkDelta),
            () if flag("table.format.version", "2") => Some(TableKind::AppendDelta),
            () if self.properties.is_empty() => None,
            () => Some(TableKind::Ordinary),
        }
    }
}

/// What the service tells about a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its address.
    pub spec: PartitionSpec,
    /// When it was made.
    pub created: Option<jiff::Timestamp>,
    /// When its data last changed.
    pub last_modified: Option<jiff::Timestamp>,
    /// Rows, where the service keeps count.
    pub record_count: Option<u64>,
    /// Stored bytes.
    pub size_bytes: Option<u64>,
}

/// What tells a table from another of its name, in one question: less than [`TableInfo`] has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableMarks {
    /// As in [`TableInfo`].
    pub id: Option<String>,
    /// As in [`TableInfo`].
    pub created: Option<jiff::Timestamp>,
    /// As in [`TableInfo`].
    pub properties: BTreeMap<String, String>,
}

/// A digest of a table and its partitions as the service describes them: two that are equal mean that nobody wrote in between, as
/// far as times of a second and the service's counts tell. The property of the name `mark` is to be equal, too.
pub fn state_digest(table: &TableInfo, partitions: &[PartitionInfo], mark: &str) -> [u8; 32] {
    let mark = [table.properties.get(mark).map(String::as_str).unwrap_or_default()];
    let time = |time: Option<jiff::Timestamp>| time.map(jiff::Timestamp::as_second);
    let mut lines: Vec<String> = partitions
        .iter()
        .map(|part| {
            let (made, changed) = (time(part.created), time(part.last_modified));
            format!("{:?} {made:?} {changed:?} {:?} {:?}", part.spec.0, part.record_count, part.size_bytes)
        })
        .collect();
    lines.sort_unstable();
    let mut hash = Sha256::new();
    hash.update(format!("{mark:?} {:?} {:?}\n", table.id, time(table.created)));
    if table.partition_columns.is_empty() {
        // Of a partitioned table its partitions tell; what counts as a change of the table itself is the service's own business.
        let changed = time(table.last_modified);
        hash.update(format!("{changed:?} {:?} {:?}\n", table.record_count, table.size_bytes));
    }
    for line in lines {
        hash.update(line);
        hash.update("\n");
    }
    hash.finalize().into()
}

impl Project {
    fn table_call(&self, target: &TableRef) -> Call {
        self.call(Method::GET, &["projects", target.project.as_str(), "tables", target.table.as_str()])
            .param_if("curr_schema", target.schema.as_ref().map(SchemaName::as_str))
    }

    /// A table, or none if it does not exist.
    ///
    /// # Errors
    /// Refusals, and descriptions that cannot be read (a type this client does not know).
    pub async fn table(&self, target: &TableRef) -> Result<Option<TableInfo>, MaxComputeError> {
        match self.table_summary(target).await? {
            Some(table) => self.with_properties(table).await,
            None => Ok(None),
        }
    }

    /// A table without its properties and key columns, by one request: [`Project::with_properties`] adds them.
    ///
    /// # Errors
    /// As [`Project::table`].
    pub async fn table_summary(&self, target: &TableRef) -> Result<Option<TableInfo>, MaxComputeError> {
        let call = self.table_call(target);
        let Some(root) = self.found(&call).await? else { return Ok(None) };
        read_table(target, &root).map(Some).map_err(|why| answer(&call, why))
    }

    /// Adds the properties and key columns to a summary; none if the table was dropped meanwhile. A view has neither.
    ///
    /// # Errors
    /// As [`Project::table`].
    pub async fn with_properties(&self, mut table: TableInfo) -> Result<Option<TableInfo>, MaxComputeError> {
        if table.is_view {
            return Ok(Some(table));
        }
        let call = self.table_call(&table.target).param("extended", "");
        let Some(root) = self.found(&call).await? else { return Ok(None) };
        read_extended(&mut table, &root).map_err(|why| answer(&call, why))?;
        Ok(Some(table))
    }

    /// The answer to a question about a table; none if there is no such table.
    async fn found(&self, call: &Call) -> Result<Option<Element>, MaxComputeError> {
        match self.shared.service.xml(call).await {
            Ok(root) => Ok(Some(root)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What tells a table from another of its name, or none if there is no table.
    ///
    /// # Errors
    /// Refusals, and an answer that cannot be read.
    pub async fn table_marks(&self, target: &TableRef) -> Result<Option<TableMarks>, MaxComputeError> {
        let call = self.table_call(target).param("extended", "");
        let Some(root) = self.found(&call).await? else { return Ok(None) };
        read_marks(&root).map(Some).map_err(|why| answer(&call, why))
    }

    /// All partitions of a table.
    ///
    /// # Errors
    /// Refusals.
    pub async fn partitions(&self, target: &TableRef) -> Result<Vec<PartitionInfo>, MaxComputeError> {
        let call = self.table_call(target).param("partitions", "");
        let items = self.pages(call.clone(), "Partition").await?;
        items.iter().map(|item| read_partition(item).map_err(|why| answer(&call, why))).collect()
    }

    /// Whether a partition exists.
    ///
    /// # Errors
    /// Any refusal but that it does not exist; a value that has no spelling in a request.
    pub async fn partition_exists(&self, target: &TableRef, spec: &PartitionSpec) -> Result<bool, MaxComputeError> {
        spec.check().map_err(|source| MaxComputeError::PartitionValue { table: target.to_string(), source })?;
        let quoted: Vec<String> = spec.0.iter().map(|(name, value)| format!("{name}='{value}'")).collect();
        let call = self.table_call(target).param("partition", quoted.join(","));
        exists(self.shared.service.call(&call).await)
    }
}

fn answer(call: &Call, why: String) -> MaxComputeError {
    MaxComputeError::Answer { what: call.what(), why, request_id: None }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TableJson {
    columns: Vec<ColumnJson>,
    #[serde(default)]
    partition_keys: Vec<ColumnJson>,
    comment: Option<String>,
    lifecycle: Option<i64>,
    #[serde(default)]
    is_virtual_view: bool,
    #[serde(default)]
    is_materialized_view: bool,
    create_time: Option<i64>,
    last_modified_time: Option<i64>,
    record_num: Option<i64>,
    size: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ColumnJson {
    name: String,
    #[serde(rename = "type")]
    type_text: String,
    comment: Option<String>,
    /// The service's word on tables.
    is_nullable: Option<bool>,
    /// The tunnel's word.
    nullable: Option<Value>,
}

impl ColumnJson {
    /// The column, if its name and type are known to this client.
    pub fn read(&self) -> Result<Column, String> {
        let told = self.is_nullable.map(Value::Bool);
        column(&self.name, &self.type_text, told.as_ref().or(self.nullable.as_ref()), &self.comment)
    }
}

/// A column by its texts, if its name and type are known to this client. NULL is allowed where nobody says otherwise.
pub(crate) fn column(
    name: &str,
    type_text: &str,
    nullable: Option<&Value>,
    comment: &Option<String>,
) -> Result<Column, String> {
    // Older servers write the flag as text.
    let nullable = match nullable {
        Some(Value::Bool(nullable)) => *nullable,
        Some(Value::String(text)) => !text.eq_ignore_ascii_case("false"),
        _ => true,
    };
    Ok(Column {
        name: ColumnName::new(name).map_err(|error| error.to_string())?,
        data_type: type_text.parse().map_err(|error| format!("column {name}: {error}"))?,
        nullable,
        comment: comment.clone().filter(|comment| !comment.is_empty()),
    })
}

/// The JSON that the service puts into the XML's `Schema`.
fn schema_json<T: DeserializeOwned>(root: &Element) -> Result<T, String> {
    let text = root.text_of("Schema").ok_or("there is no Schema in it")?;
    serde_json::from_str(text).map_err(|error| format!("its Schema: {error}"))
}

fn seconds(seconds: Option<i64>) -> Option<jiff::Timestamp> {
    seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
}

fn table_id(root: &Element) -> Option<String> {
    root.text_of("TableId").filter(|id| !id.is_empty()).map(str::to_owned)
}

fn read_marks(root: &Element) -> Result<TableMarks, String> {
    let json: ExtendedJson = schema_json(root)?;
    let created = seconds(json.create_time);
    let mut properties = BTreeMap::new();
    json.each_property(|key, value| {
        properties.insert(key, text_of(value));
    })?;
    Ok(TableMarks { id: table_id(root), created, properties })
}

fn read_table(target: &TableRef, root: &Element) -> Result<TableInfo, String> {
    let json: TableJson = schema_json(root)?;
    let columns = |list: &[ColumnJson]| list.iter().map(ColumnJson::read).collect::<Result<Vec<_>, _>>();
    let comment = json.comment.clone().or_else(|| root.text_of("Comment").map(str::to_owned));
    Ok(TableInfo {
        target: target.clone(),
        columns: columns(&json.columns)?,
        partition_columns: columns(&json.partition_keys)?,
        comment: comment.filter(|comment| !comment.is_empty()),
        lifecycle_days: json.lifecycle.and_then(|days| u32::try_from(days).ok()).filter(|days| *days > 0),
        properties: BTreeMap::new(),
        primary_key: Vec::new(),
        is_view: json.is_virtual_view || json.is_materialized_view,
        id: table_id(root),
        created: seconds(json.create_time),
        last_modified: seconds(json.last_modified_time),
        record_count: json.record_num.and_then(|count| u64::try_from(count).ok()),
        size_bytes: json.size.and_then(|size| u64::try_from(size).ok()),
    })
}

#[derive(Deserialize)]
struct ExtendedJson {
    #[serde(rename = "Reserved")]
    reserved: Option<Value>,
    #[serde(rename = "tableProperties")]
    table_properties: Option<Value>,
    #[serde(rename = "createTime")]
    create_time: Option<i64>,
}

impl ExtendedJson {
    /// Properties stand in `Reserved` and `tableProperties`, each an object or the text of one.
    fn each_property(self, mut each: impl FnMut(String, Value)) -> Result<(), String> {
        for value in [self.reserved, self.table_properties].into_iter().flatten() {
            let object = match value {
                Value::String(text) if text.trim().is_empty() => continue,
                Value::String(text) => serde_json::from_str(&text).map_err(|error| format!("its Reserved: {error}"))?,
                value => value,
            };
            let Value::Object(object) = object else { continue };
            object.into_iter().for_each(|(key, value)| each(key, value));
        }
        Ok(())
    }
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        value => value.to_string(),
    }
}

fn read_extended(table: &mut TableInfo, root: &Element) -> Result<(), String> {
    let json: ExtendedJson = schema_json(root)?;
    json.each_property(|key, value| {
        if key == "PrimaryKey" {
            let names = value.as_array().map(Vec::as_slice).unwrap_or_default();
            table.primary_key = names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
        }
        table.properties.insert(key, text_of(value));
    })
}

fn read_partition(item: &Element) -> Result<PartitionInfo, String> {
    let mut spec = Vec::new();
    for column in item.children("Column") {
        let (Some(name), Some(value)) = (column.attribute("Name"), column.attribute("Value")) else {
            return Err("a partition's Column has no Name or no Value".to_owned());
        };
        spec.push((ColumnName::new(name).map_err(|error| error.to_string())?, value.to_owned()));
    }
    if spec.is_empty() {
        return Err("a partition without columns".to_owned());
    }
    let number = |name: &str| item.text_of(name).and_then(|text| text.parse::<i64>().ok());
    let count = |name: &str| number(name).and_then(|count| u64::try_from(count).ok());
    Ok(PartitionInfo {
        spec: PartitionSpec(spec),
        created: seconds(number("CreationTime")),
        last_modified: seconds(number("LastModifiedTime")),
        record_count: count("PartitionRecordCount"),
        size_bytes: count("PartitionSize"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{ProjectName, TableName};

    fn target() -> TableRef {
        TableRef { project: ProjectName::new("p").unwrap(), schema: None, table: TableName::new("t").unwrap() }
    }

    #[test]
    fn a_table_is_read_from_its_json() {
        let root = Element::parse(
            r#"<Table><Name>t</Name><TableId>4f0a</TableId><Schema format="Json"><![CDATA[{"columns":[
                {"name":"a","type":"array<struct<x:bigint>>","comment":"","label":"","isNullable":false},
                {"name":"b","type":"decimal(10,2)","comment":"money"}],
                "partitionKeys":[{"name":"pt","type":"string"}],"comment":"hi","lifecycle":-1,"isVirtualView":false,
                "createTime":1709210000,"lastModifiedTime":1709210096,"recordNum":7,"size":100}]]></Schema></Table>"#,
        )
        .unwrap();
        let mut table = read_table(&target(), &root).unwrap();
        assert_eq!(table.columns.len(), 2);
        assert_eq!(table.columns[0].data_type.to_string(), "ARRAY<STRUCT<x:BIGINT>>");
        assert!(!table.columns[0].nullable && table.columns[1].nullable);
        assert_eq!(table.columns[1].comment.as_deref(), Some("money"));
        assert_eq!((table.comment.as_deref(), table.lifecycle_days, table.record_count), (Some("hi"), None, Some(7)));
        assert_eq!(table.last_modified.unwrap().to_string(), "2024-02-29T12:34:56Z");
        assert_eq!((table.id.as_deref(), table.created.unwrap().as_second()), (Some("4f0a"), 1_709_210_000));
        let extended = Element::parse(
            r#"<Table><Schema format="Json"><![CDATA[{"IsArchived":false,"Reserved":"{\"Transactional\":\"true\",\"PrimaryKey\":[\"a\"],\"mms.source\":\"ds\"}"}]]></Schema></Table>"#,
        )
        .unwrap();
        read_extended(&mut table, &extended).unwrap();
        assert_eq!(table.primary_key, ["a"]);
        assert_eq!(table.properties.get("mms.source").map(String::as_str), Some("ds"));
        let marks = read_marks(&extended).unwrap();
        assert_eq!((marks.id, marks.created, marks.properties), (None, None, table.properties));
    }

    #[test]
    fn whatever_is_written_to_a_table_changes_its_digest() {
        let root = Element::parse(
            r#"<Table><TableId>4f0a</TableId><Schema><![CDATA[{"columns":[{"name":"a","type":"bigint"}],"createTime":1,"lastModifiedTime":2,"recordNum":7}]]></Schema></Table>"#,
        );
        let plain = read_table(&target(), &root.unwrap()).unwrap();
        let part = |value: &str, changed: i64, rows: u64| PartitionInfo {
            spec: PartitionSpec(vec![(ColumnName::new("pt").unwrap(), value.to_owned())]),
            created: None,
            last_modified: jiff::Timestamp::from_second(changed).ok(),
            record_count: Some(rows),
            size_bytes: None,
        };
        let partitioned = TableInfo { partition_columns: plain.columns.clone(), ..plain.clone() };
        let digest = |table: &TableInfo, parts: &[PartitionInfo]| state_digest(table, parts, "mark");
        let (a, b) = (part("a", 1, 1), part("b", 1, 1));
        assert_eq!(digest(&partitioned, &[a.clone(), b.clone()]), digest(&partitioned, &[b.clone(), a.clone()]));
        let states = [
            digest(&plain, &[]),
            digest(&TableInfo { id: Some("other".to_owned()), ..plain.clone() }, &[]),
            digest(&TableInfo { created: None, ..plain.clone() }, &[]),
            digest(&TableInfo { last_modified: None, ..plain.clone() }, &[]),
            digest(&TableInfo { record_count: Some(8), ..plain.clone() }, &[]),
            digest(&TableInfo { properties: [("mark".to_owned(), "m".to_owned())].into(), ..plain.clone() }, &[]),
            digest(&partitioned, &[]),
            digest(&partitioned, std::slice::from_ref(&a)),
            digest(&partitioned, &[a.clone(), b]),
            digest(&partitioned, &[part("a", 2, 1)]),
            digest(&partitioned, &[part("a", 1, 2)]),
        ];
        assert_eq!(states.iter().collect::<std::collections::HashSet<_>>().len(), states.len());
    }

    #[test]
    fn an_unknown_type_is_told_by_column() {
        let root = Element::parse(
            r#"<Table><Schema><![CDATA[{"columns":[{"name":"g","type":"geography"}]}]]></Schema></Table>"#,
        )
        .unwrap();
        assert!(read_table(&target(), &root).unwrap_err().contains("column g"));
    }

    #[test]
    fn a_partition_is_read_with_its_time() {
        let item = Element::parse(
            r#"<Partition><Column Name="pt" Value="a"/><Column Name="h" Value="01"/><LastModifiedTime>1709210096</LastModifiedTime></Partition>"#,
        )
        .unwrap();
        let partition = read_partition(&item).unwrap();
        assert_eq!(partition.spec.to_string(), "pt=a,h=01");
        assert!(partition.last_modified.is_some());
        assert!(read_partition(&Element::default()).is_err());
    }
}
