//! What the operator decides about one table, gathered from its data source, schema, table and job. Pure.

use std::collections::BTreeMap;

use mms_mapping::{CharacterMap, MappingError, MappingRules, Others, SchemaRule, TargetPolicy};
use mms_maxcompute::name::{ProjectName, SchemaName};
use mms_maxcompute::table::TableKind;
use mms_proto::FindingReason;
use mms_proto::registry::v1 as pb;
use mms_proto::types::v1::{Severity, TargetKind};

use super::finding::Note;
use crate::record::Target;

/// What one job says over what the catalog has.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Pin this version rather than the newest.
    pub version: Option<u64>,
    /// Where this job sends the table; empty parts: as the catalog says.
    pub target: Target,
    /// Columns by name, source to target.
    pub columns: BTreeMap<String, String>,
    /// Kind of the target table; unset: as the data source says.
    pub kind: TargetKind,
    /// Days after which the target drops what was not changed since.
    pub lifecycle_days: Option<u32>,
    /// What the job may do with a table that is there; none when there is no job.
    pub policy: Option<TargetPolicy>,
    /// The source partitions that the job takes, as last segments of their names. Empty: all.
    pub partitions: Vec<String>,
    /// Of those, the ones for which this holds. Empty: all.
    pub partition_filter: String,
    /// Units that are at the target already are marked.
    pub marks_unchanged: bool,
    /// Target partitions whose source is gone are named.
    pub names_gone: bool,
}

/// The parts of a target, the first set one wins.
fn first<'a>(parts: &[&'a str]) -> &'a str {
    parts.iter().copied().find(|part| !part.is_empty()).unwrap_or_default()
}

/// The project that a table goes to.
pub fn project<'a>(ask: &'a Ask, table: &'a Target, schema: &'a Target, end: &'a pb::MaxComputeConfig) -> &'a str {
    first(&[&ask.target.project, &table.project, &schema.project, &end.default_project])
}

/// Whether the data source may write to a project.
pub fn may_use(project: &str, end: &pb::MaxComputeConfig) -> bool {
    std::iter::once(&end.default_project).chain(&end.projects).any(|known| known.eq_ignore_ascii_case(project))
}

fn characters(mapping: Option<&pb::CharacterMapping>, others: Others) -> Result<CharacterMap, MappingError> {
    let Some(mapping) = mapping else { return Ok(CharacterMap::default()) };
    let map = CharacterMap::new(mapping.characters.clone().into_iter().collect())?;
    if mapping.other.is_empty() { Ok(map) } else { map.with_fallback(others, mapping.other.clone()) }
}

/// The kind to make: what the job says, else what the data source says. The contract refuses what this version does not make.
fn kind(asked: TargetKind, settings: TargetKind) -> TableKind {
    match if asked == TargetKind::Unspecified { settings } else { asked } {
        TargetKind::Ordinary => TableKind::Ordinary,
        TargetKind::Unspecified | TargetKind::AppendDelta => TableKind::AppendDelta,
        TargetKind::PkDelta => TableKind::PkDelta,
    }
}

/// The rules for one table.
///
/// # Errors
/// A character mapping that is none.
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
        // An illegal name is left to the plan, which says so.
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
