//! Turns what the source reports about a table into records: the workspace's description, and the totals of its Delta log.

use mms_databricks::{TableInfo, TableKind};
use mms_delta::Snapshot;
use mms_proto::catalog::v1 as pb;

use crate::error::Result;
use crate::key;
use crate::record::{Column, TableFacts, Version};
use crate::survey::Survey;

/// A partition as the log describes it.
#[derive(Debug, Clone)]
pub struct FoundPartition {
    /// The last segment of its name.
    pub segment: String,
    /// The number of its files.
    pub file_count: i64,
    /// The size of its files.
    pub size_bytes: i64,
    /// The number of its rows; None unless the log has the count of every file.
    pub row_count: Option<i64>,
    /// The digest of its files.
    pub files: Vec<u8>,
}

/// A count as the contract carries it, capped at the largest i64.
pub fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The contract's kind of a table.
pub fn kind_of(kind: &TableKind) -> pb::TableKind {
    match kind {
        TableKind::Managed => pb::TableKind::Managed,
        TableKind::External => pb::TableKind::External,
        TableKind::View | TableKind::MetricView => pb::TableKind::View,
        TableKind::MaterializedView => pb::TableKind::MaterializedView,
        TableKind::StreamingTable => pb::TableKind::StreamingTable,
        TableKind::Foreign => pb::TableKind::Foreign,
        TableKind::ManagedShallowClone | TableKind::ExternalShallowClone => pb::TableKind::ShallowClone,
        TableKind::Other(_) => pb::TableKind::Unspecified,
    }
}

/// Whether the table is a managed or external Delta table, whose files a log describes.
pub fn is_delta(info: &TableInfo) -> bool {
    let kind = matches!(kind_of(&info.table_type), pb::TableKind::Managed | pb::TableKind::External);
    kind && info.data_source_format.as_deref().is_some_and(|format| format.eq_ignore_ascii_case("delta"))
}

/// The columns of the primary key; empty when there is none.
pub fn primary_key(info: &TableInfo) -> Vec<String> {
    let keys = info.table_constraints.iter().filter_map(|constraint| constraint.primary_key_constraint.as_ref());
    keys.map(|key| key.child_columns.clone()).next().unwrap_or_default()
}

/// The facts that the workspace reports.
pub fn of_workspace(info: &TableInfo) -> TableFacts {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let column = |column: &mms_databricks::ColumnInfo| Column {
        name: column.name.clone(),
        type_text: text(&column.type_text),
        nullable: column.nullable,
        comment: text(&column.comment),
        partition_index: column.partition_index.and_then(|index| i32::try_from(index).ok()),
    };
    TableFacts {
        source_id: info.table_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        kind: kind_of(&info.table_type) as i32,
        source_kind: info.table_type.as_str().to_owned(),
        source_format: text(&info.data_source_format),
        comment: text(&info.comment),
        owner: text(&info.owner),
        location: text(&info.storage_location),
        columns: info.columns.iter().map(column).collect(),
        partition_columns: info.partition_columns().iter().map(|column| column.name.clone()).collect(),
        primary_key: primary_key(info),
        properties: info.properties.clone().into_iter().collect(),
        update_time_ms: info.updated_at.unwrap_or(0),
        ..TableFacts::default()
    }
}

/// The version of a snapshot.
pub fn version_of(snapshot: &Snapshot) -> Version {
    Version { number: count(snapshot.version()), commit_time_ms: snapshot.timestamp_ms() }
}

/// Adds what the log says about the table itself.
pub fn add_log(facts: &mut TableFacts, snapshot: &Snapshot) {
    facts.version = Some(version_of(snapshot));
    facts.delta_id = snapshot.table_id().to_owned();
    facts.reader_features = snapshot.reader_features();
    facts.partition_columns = snapshot.partition_columns().to_vec();
    facts.properties = snapshot.properties().into_iter().collect();
    facts.update_time_ms = snapshot.timestamp_ms().unwrap_or(facts.update_time_ms);
}

/// Adds the totals of the log's files to the facts, and returns the partitions.
pub fn add_files(facts: &mut TableFacts, survey: &Survey) -> Result<Vec<FoundPartition>> {
    let all = survey.totals.all();
    facts.size_bytes = Some(count(all.bytes));
    facts.row_count = all.rows.map(count);
    let found = survey.totals.partitions().into_iter().map(|(number, partition)| {
        let digest = survey.digests.get(number).copied().unwrap_or_default();
        Ok(FoundPartition {
            segment: key::segment(&partition.values)?,
            file_count: count(partition.totals.files),
            size_bytes: count(partition.totals.bytes),
            row_count: partition.totals.rows.map(count),
            files: digest.to_be_bytes().to_vec(),
        })
    });
    found.collect()
}
