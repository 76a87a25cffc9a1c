//! The rules of migration settings.

use mms_proto::registry::v1 as pb;
use mms_schedule::{Schedule, Windows};

use super::judge::Judge;

pub(super) fn judge(settings: &pb::MigrationSettings, judge: &mut Judge<'_>) {
    let schedule = settings.scan_schedule.as_ref();
    let schedule = schedule.and_then(|schedule| Schedule::read(schedule, "settings.scan_schedule").err());
    let windows = Windows::read(&settings.time_windows, "settings.time_windows").err();
    for wrong in [schedule, windows].into_iter().flatten().flatten() {
        judge.add(&wrong.field, wrong.description);
    }
    for (field, list, dots) in [
        ("schema_whitelist", &settings.schema_whitelist, 0),
        ("schema_blacklist", &settings.schema_blacklist, 0),
        ("table_whitelist", &settings.table_whitelist, 1),
        ("table_blacklist", &settings.table_blacklist, 1),
    ] {
        for (at, entry) in list.iter().enumerate() {
            if entry.is_empty() || entry.matches('.').count() > dots || entry.split('.').any(str::is_empty) {
                let form =
                    if dots == 0 { "a schema's name or glob" } else { "\"table\" or \"schema.table\", or globs" };
                judge.add(&format!("settings.{field}[{at}]"), format!("value {entry:?} is not {form}"));
            }
        }
    }
    for (key, value) in sorted(&settings.sql_parameters) {
        let field = format!("settings.sql_parameters[{key:?}]");
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
            judge.add(&field, "its name is not that of a flag, such as odps.sql.mapper.split.size");
        }
        if value.contains(';') || value.chars().any(char::is_control) {
            judge.add(&field, "its value cannot have ; or a line break: it becomes part of SET name=value;");
        }
    }
    mapping("table_names", settings.table_names.as_ref(), true, judge);
    mapping("column_names", settings.column_names.as_ref(), false, judge);
    mapping("partition_values", settings.partition_values.as_ref(), false, judge);
}

fn sorted(map: &std::collections::HashMap<String, String>) -> Vec<(&String, &String)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort();
    entries
}

/// Names at the target consist of letters, digits and `_`; names of columns also of Chinese characters. A partition value is free
/// text.
fn mapping(kind: &str, mapping: Option<&pb::CharacterMapping>, tables: bool, judge: &mut Judge<'_>) {
    let Some(mapping) = mapping else { return };
    let is_value = kind == "partition_values";
    let legal = |text: &str| {
        text.chars().all(|c| {
            let name = c.is_ascii_alphanumeric() || c == '_';
            if is_value { !c.is_control() } else { name || (!tables && ('\u{4e00}'..='\u{9fff}').contains(&c)) }
        })
    };
    for (key, value) in sorted(&mapping.characters) {
        let field = format!("settings.{kind}.characters[{key:?}]");
        if key.chars().count() != 1 {
            judge.add(&field, "its key must be one single character");
        }
        if !legal(value) {
            judge.add(&field, format!("value {value:?} has a character that the target does not take"));
        }
    }
    if !legal(&mapping.other) {
        let text = format!("value {:?} has a character that the target does not take", mapping.other);
        judge.add(&format!("settings.{kind}.other"), text);
    }
    let prefix = &mapping.prefix;
    if !prefix.is_empty() && !tables {
        judge.add(&format!("settings.{kind}.prefix"), "is only for tables");
    } else if !prefix.is_empty() && (!legal(prefix) || !prefix.starts_with(|c: char| c.is_ascii_alphabetic())) {
        let text = format!("value {prefix:?} must begin with a letter and go on with letters, digits and _");
        judge.add(&format!("settings.{kind}.prefix"), text);
    }
}
