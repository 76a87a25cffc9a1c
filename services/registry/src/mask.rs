//! Applies update masks, and finds the immutable fields that an update would change. Pure; the paths must have been validated.

use mms_proto::rules;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use crate::secrets::{dynamic, generated};

/// The current message with the fields of the mask taken from `new`; a field that is unset there is cleared.
pub fn apply<T: prost::Message + prost::Name + Default>(current: &T, new: &T, paths: &[String]) -> T {
    let (mut target, source) = (dynamic(current), dynamic(new));
    for path in paths {
        if path == "*" {
            for (field, _) in rules::of(&source.descriptor()).iter().filter(|(_, rules)| !rules.output_only) {
                set(&mut target, Some(&source), &[field.name()]);
            }
        } else {
            set(&mut target, Some(&source), &path.split('.').collect::<Vec<_>>());
        }
    }
    generated(&target)
}

fn set(target: &mut DynamicMessage, source: Option<&DynamicMessage>, path: &[&str]) {
    let Some((name, rest)) = path.split_first() else { return };
    let Some(field) = target.descriptor().get_field_by_name(name) else { return };
    let given = source.filter(|source| source.has_field(&field)).map(|source| source.get_field(&field));
    if rest.is_empty() {
        match given {
            Some(value) => target.set_field(&field, value.into_owned()),
            None => target.clear_field(&field),
        }
        return;
    }
    // A message that neither side has stays unset: an empty one would mean something else.
    if (given.is_some() || target.has_field(&field))
        && let Value::Message(inner) = target.get_field_mut(&field)
    {
        set(inner, given.as_deref().and_then(Value::as_message), rest);
    }
}

/// The paths of immutable fields in which the two differ.
pub fn changed_immutables<T: prost::Message + prost::Name>(before: &T, after: &T) -> Vec<String> {
    let mut changed = Vec::new();
    compare(&dynamic(before), &dynamic(after), "", &mut changed);
    changed
}

fn compare(before: &DynamicMessage, after: &DynamicMessage, at: &str, changed: &mut Vec<String>) {
    for (field, rules) in rules::of(&before.descriptor()).iter() {
        let path = if at.is_empty() { field.name().to_owned() } else { format!("{at}.{}", field.name()) };
        let (old, new) = (before.get_field(field), after.get_field(field));
        if rules.immutable && old != new {
            changed.push(path);
        } else if let (Value::Message(old), Value::Message(new)) = (old.as_ref(), new.as_ref())
            && before.has_field(field)
        {
            compare(old, new, &path, changed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_proto::registry::v1 as pb;

    fn source(url: &str, catalog: &str, tasks: i32) -> pb::DataSource {
        pb::DataSource {
            source: Some(
                pb::DatabricksSource {
                    workspace_url: url.into(),
                    catalog: catalog.into(),
                    ..pb::DatabricksSource::default()
                }
                .into(),
            ),
            settings: Some(pb::MigrationSettings { max_concurrent_tasks: tasks, ..pb::MigrationSettings::default() }),
            ..pb::DataSource::default()
        }
    }

    #[test]
    fn only_the_paths_of_the_mask_change() {
        let new = source("https://b", "other", 9);
        let changed = apply(&source("https://a", "c", 1), &new, &["settings.max_concurrent_tasks".into()]);
        assert_eq!(changed, source("https://a", "c", 9));
        assert_eq!(apply(&source("https://a", "c", 1), &new, &["*".into()]), new);
    }

    #[test]
    fn a_masked_field_that_is_not_sent_is_cleared() {
        let cleared = apply(&source("https://a", "c", 1), &pb::DataSource::default(), &["settings".into()]);
        assert_eq!(cleared.settings, None);
        let cleared =
            apply(&source("https://a", "c", 1), &pb::DataSource::default(), &["settings.max_concurrent_tasks".into()]);
        assert_eq!(cleared.settings, Some(pb::MigrationSettings::default()));
    }

    #[test]
    fn a_change_of_an_immutable_field_is_found_however_it_came() {
        let before = source("https://a", "c", 1);
        assert_eq!(changed_immutables(&before, &source("https://b", "other", 1)), ["databricks.catalog"]);
        assert!(changed_immutables(&before, &source("https://b", "c", 2)).is_empty());
    }
}
