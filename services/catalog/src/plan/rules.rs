//! Gathers what operators decided about one table, from its data source, schema, table and job, into the rules of the mapping.
//! The job's decision precedes the table's, which precedes the schema's and the data source's. Pure.

use std::collections::BTreeMap;

use mms_mapping::{CharacterMap, MappingError, MappingRules, Others, SchemaRule, TargetPolicy};
use mms_maxcompute::name::{ProjectName, SchemaName};
use mms_maxcompute::table::TableKind;
use mms_proto::FindingReason;
use mms_proto::registry::v1 as pb;
use mms_proto::types::v1::{Severity, TargetKind};

use super::finding::Note;
use crate::record::Target;

/// What a job decides, which precedes what the catalog has stored.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// The version to pin; None: the newest.
    pub version: Option<u64>,
    /// Where this job writes the table; parts left empty come from the catalog.
    pub target: Target,
    /// Target names of columns, by source name.
    pub columns: BTreeMap<String, String>,
    /// The kind of the target table; unspecified: the data source's setting.
    pub kind: TargetKind,
    /// The target's lifecycle: the days without a change after which the target drops data.
    pub lifecycle_days: Option<u32>,
    /// What the job may do with an existing target table; None when the plan is not for a job.
    pub policy: Option<TargetPolicy>,
    /// The source partitions that the job takes, as the last segments of their names. Empty: all.
    pub partitions: Vec<String>,
    /// Keeps those of them for which this filter holds. Empty: all.
    pub partition_filter: String,
    /// Units that are at the target already are marked.
    pub marks_unchanged: bool,
    /// Target partitions whose source is gone are named.
    pub names_gone: bool,
}

/// The first part that is not empty.
fn first<'a>(parts: &[&'a str]) -> &'a str {
    parts.iter().copied().find(|part| !part.is_empty()).unwrap_or_default()
}

/// The target project of a table.
pub fn project<'a>(ask: &'a Ask, table: &'a Target, schema: &'a Target, end: &'a pb::MaxComputeConfig) -> &'a str {
    first(&[&ask.target.project, &table.project, &schema.project, &end.default_project])
}

/// Whether a project is one that the data source may write to. Case is ignored.
pub fn may_use(project: &str, end: &pb::MaxComputeConfig) -> bool {
    std::iter::once(&end.default_project).chain(&end.projects).any(|known| known.eq_ignore_ascii_case(project))
}

fn characters(mapping: Option<&pb::CharacterMapping>, others: Others) -> Result<CharacterMap, MappingError> {
    let Some(mapping) = mapping else { return Ok(CharacterMap::default()) };
    let map = CharacterMap::new(mapping.characters.clone().into_iter().collect())?;
    if mapping.other.is_empty() { Ok(map) } else { map.with_fallback(others, mapping.other.clone()) }
}

/// The target kind to create. The contract rejects kinds that this version cannot create.
fn kind(asked: TargetKind, settings: TargetKind) -> TableKind {
    match if asked == TargetKind::Unspecified { settings } else { asked } {
        TargetKind::Ordinary => TableKind::Ordinary,
        TargetKind::Unspecified | TargetKind::AppendDelta => TableKind::AppendDelta,
        TargetKind::PkDelta => TableKind::PkDelta,
    }
}

/// The mapping's rules for one table.
///
/// # Errors
/// When a character mapping of the settings is invalid.
#[allow(clippy::too_many_arguments, reason = "each is one place where an operator decides")]
pub fn rules(
    source_uid: &str,
    source_schema: &str,
    project: ProjectName,
    has_schemas: bool,
    ask: &Ask,
    table: &Target,
    schema: &Target,
    settings: &pb::MigrationSettings,
    notes: &mut Vec<Note>,
) -> Result<MappingRules, MappingError> {
    let table_characters = characters(settings.table_names.as_ref(), Others::OutsideWords)?;
    let target_schema = if has_schemas {
        let named = first(&[&ask.target.schema, &table.schema, &schema.schema]);
        let mapped = if named.is_empty() { table_characters.apply(source_schema) } else { named.to_owned() };
        if mapped != source_schema && named.is_empty() {
            let text = format!("schema `{source_schema}` becomes `{mapped}`");
            notes.push(Note::new(Severity::Note, FindingReason::SchemaRenamed, text, ""));
        }
        // An invalid name falls back to the source's; if that is invalid too, the plan reports it.
        SchemaName::new(mapped).map_or(SchemaRule::LikeSource, SchemaRule::Named)
    } else {
        SchemaRule::TwoTier
    };
    let name = first(&[&ask.target.table, &table.table]);
    let prefix = settings.table_names.as_ref().map(|mapping| mapping.prefix.clone());
    let mut rules = MappingRules::plain(project, target_schema, source_uid);
    rules.table_name = (!name.is_empty()).then(|| name.to_owned());
    rules.table_characters = table_characters;
    rules.table_name_prefix = prefix.filter(|prefix| !prefix.is_empty());
    rules.column_characters = characters(settings.column_names.as_ref(), Others::OutsideWords)?;
    rules.column_names.clone_from(&ask.columns);
    rules.partition_value_characters = characters(settings.partition_values.as_ref(), Others::OutsidePartitionValues)?;
    rules.table_kind = Some(kind(ask.kind, settings.target_kind()));
    rules.lifecycle_days = ask.lifecycle_days;
    Ok(rules)
}
