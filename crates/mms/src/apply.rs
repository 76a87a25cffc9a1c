//! Applies a data source's file: creates the data source, or compares the existing one with the file, prints the
//! differences and changes them.
//!
//! Owns the comparison. What the service makes of the file, such as its defaults and what cannot change, is asked of
//! the service, never computed here.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use mms_proto::ApiError;
use mms_proto::json::{self, Fields, UnknownField};
use mms_proto::registry::v1::{DataSource, GetDataSourceRequest, UpdateDataSourceRequest};
use mms_proto::{redact, rules};
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, Value};
use prost_types::FieldMask;
use tonic::Code;

use crate::client::{Clients, Remote};
use crate::spec::{self, Spec};
use crate::{names, output};

/// Creates the data source of a file, or changes the existing one to match the file, and prints what it does. With
/// `dry_run` it only prints.
pub async fn apply(clients: &Clients, spec: &Spec, remote: &Remote, dry_run: bool) -> anyhow::Result<DataSource> {
    if spec.message.data_source_id.is_empty() {
        bail!("{}: dataSourceId is required here, so that a second run finds the same data source", spec.file);
    }
    let name = names::source(&spec.message.data_source_id);
    let mut sources = clients.sources.clone();
    let current = match sources.get_data_source(GetDataSourceRequest { name: name.clone() }).await {
        Ok(answer) => answer.into_inner().data_source.unwrap_or_default(),
        Err(status) if ApiError::from_status(&status).code == Code::NotFound => {
            let mut request = spec.message.clone();
            request.validate_only |= dry_run;
            let created = sources.create_data_source(request).await.map_err(|status| spec.explained(status))?;
            output::note(&format!(
                "data source {} {}",
                names::short(&name),
                if dry_run { "would be created" } else { "created" }
            ));
            return Ok(created.into_inner().data_source.unwrap_or_default());
        }
        Err(status) => return Err(status.into()),
    };
    // With the mask `*` and validate_only, the service answers with what it would store.
    let everything = update(spec, &name, vec!["*".into()], true);
    let wanted = match sources.update_data_source(everything).await {
        Ok(answer) => answer.into_inner().data_source.unwrap_or_default(),
        Err(status) => return Err(refused(spec, &name, remote, status)),
    };
    let (changed, secrets) =
        (differences(&current, &wanted), secrets(&spec.message.data_source.clone().unwrap_or_default()));
    tell(&name, &changed, &secrets, dry_run);
    let paths = mask(&changed, &secrets);
    if paths.is_empty() || dry_run {
        return Ok(current);
    }
    let answer = sources.update_data_source(update(spec, &name, paths, false)).await;
    let answer = answer.map_err(|status| refused(spec, &name, remote, status)).context("updating the data source")?;
    Ok(answer.into_inner().data_source.unwrap_or_default())
}

fn update(spec: &Spec, name: &str, paths: Vec<String>, validate_only: bool) -> UpdateDataSourceRequest {
    UpdateDataSourceRequest {
        name: name.to_owned(),
        data_source: spec.message.data_source.clone(),
        update_mask: Some(FieldMask { paths }),
        validate_only,
    }
}

/// The service's error; if a field cannot be changed at all, with the ways out.
fn refused(spec: &Spec, name: &str, remote: &Remote, status: tonic::Status) -> anyhow::Error {
    let fixed =
        ApiError::from_status(&status).violations.iter().any(|broken| broken.description == "cannot be changed");
    let error = spec.explained(status);
    if !fixed {
        return error;
    }
    let short = names::short(name);
    let delete = remote.command(&format!("source delete {short}"));
    anyhow::anyhow!(
        "{error}\n  help: the catalog and the default project of a data source cannot change; give the file another \
         dataSourceId, or delete {short} first: {delete}"
    )
}

fn tell(name: &str, changed: &[Change], secrets: &BTreeSet<String>, dry_run: bool) {
    let short = names::short(name);
    match changed {
        [] => output::note(&format!("data source {short} unchanged")),
        _ => output::note(&format!("data source {short} {}:", if dry_run { "would change" } else { "changes" })),
    }
    for Change { shown, before, after, .. } in changed {
        output::note(&format!("  {shown}: {before} -> {after}"));
    }
    if !secrets.is_empty() {
        let shown = secrets.iter().map(|path| path.split('.').map(spec::camel).collect::<Vec<_>>().join("."));
        output::note(&format!("  secrets sent again: {}", shown.collect::<Vec<_>>().join(", ")));
    }
}

/// A field that differs.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    /// The field's path in the contract.
    path: String,
    /// The field's path in the file.
    shown: String,
    before: String,
    after: String,
}

/// The fields in which two data sources differ and that callers may set. Secrets are left out.
fn differences(before: &DataSource, after: &DataSource) -> Vec<Change> {
    let (mut found, values) = (Vec::new(), [before, after].map(|source| json::to_value(source, Fields::All)));
    compare(&dynamic(before), &dynamic(after), &mut Vec::new(), &mut |path, shown| {
        let [before, after] = values.each_ref().map(|value| {
            let at = shown.split('.').try_fold(value, |value, name| value.get(name));
            at.map_or_else(|| "unset".into(), ToString::to_string)
        });
        found.push(Change { path, shown: shown.to_owned(), before, after });
    });
    found
}

type At = Vec<(String, String)>;

fn compare(before: &DynamicMessage, after: &DynamicMessage, at: &mut At, found: &mut impl FnMut(String, &str)) {
    let descriptor = prost_reflect::ReflectMessage::descriptor(before);
    for (field, rules) in rules::of(&descriptor).iter() {
        if rules.output_only || rules.secret || field.name() == "etag" {
            continue;
        }
        at.push((field.name().to_owned(), field.json_name().to_owned()));
        let (old, new) = (before.get_field(field), after.get_field(field));
        let both = before.has_field(field) && after.has_field(field);
        match (old.as_ref(), new.as_ref()) {
            // Another member of a oneof is one change, not a change of each of its fields.
            (Value::Message(old), Value::Message(new)) if both || field.containing_oneof().is_none() => {
                compare(old, new, at, found);
            }
            (old, new)
                if old != new
                    || (field.containing_oneof().is_some() && before.has_field(field) != after.has_field(field)) =>
            {
                let join = |parts: Vec<&str>| parts.join(".");
                found(
                    join(at.iter().map(|(path, _)| &**path).collect()),
                    &join(at.iter().map(|(_, shown)| &**shown).collect()),
                );
            }
            _ => {}
        }
        at.pop();
    }
}

/// The paths of the secrets in a file. The path of a secret within a list is that of the list, which is sent as a
/// whole.
fn secrets(source: &DataSource) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    find_secrets(&dynamic(source), "", &mut found);
    found
}

fn find_secrets(message: &DynamicMessage, at: &str, found: &mut BTreeSet<String>) {
    for (field, value) in message.fields() {
        let path = if at.is_empty() { field.name().to_owned() } else { format!("{at}.{}", field.name()) };
        match value {
            _ if redact::is_secret(&field) => drop(found.insert(path)),
            Value::Message(inner) => find_secrets(inner, &path, found),
            Value::List(items) => {
                let mut within = BTreeSet::new();
                items.iter().filter_map(Value::as_message).for_each(|item| find_secrets(item, "", &mut within));
                if !within.is_empty() {
                    found.insert(path);
                }
            }
            _ => {}
        }
    }
}

/// The update mask: changed fields and secrets, without paths that lie within another one.
fn mask(changed: &[Change], secrets: &BTreeSet<String>) -> Vec<String> {
    let all: BTreeSet<&str> =
        changed.iter().map(|change| &*change.path).chain(secrets.iter().map(|path| &**path)).collect();
    let within =
        |path: &str| all.iter().any(|outer| path.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.')));
    all.iter().filter(|path| !within(path)).map(|path| (*path).to_owned()).collect()
}

fn dynamic(source: &DataSource) -> DynamicMessage {
    let mut dynamic = DynamicMessage::new(mms_proto::descriptor::message::<DataSource>());
    // A generated message always fits its own descriptor.
    drop(dynamic.transcode_from(source));
    dynamic
}

/// The contract's path of a field, written as in a file or as in the contract.
pub fn field_path(word: &str) -> anyhow::Result<String> {
    let mut path = Vec::new();
    let mut within: Option<MessageDescriptor> = Some(mms_proto::descriptor::message::<DataSource>());
    for part in word.strip_prefix("dataSource.").unwrap_or(word).split('.') {
        let known = within.iter().flat_map(MessageDescriptor::fields).collect::<Vec<_>>();
        let Some(field) = known.iter().find(|field| field.json_name() == part || field.name() == part) else {
            let known = known.iter().map(|field| field.json_name().to_owned()).collect();
            let typed = path.iter().map(String::as_str).chain([part]).collect::<Vec<_>>().join(".");
            bail!("a data source has no field {}", spec::unknown(&UnknownField { path: typed, known }));
        };
        path.push(field.name().to_owned());
        within = match field.kind() {
            Kind::Message(inner) if !field.is_list() && !field.is_map() => Some(inner),
            _ => None,
        };
    }
    Ok(path.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: serde_json::Value) -> DataSource {
        json::from_value(text).unwrap()
    }

    #[test]
    fn what_differs_is_told_by_the_names_of_the_file_and_changed_by_those_of_the_contract() {
        let before = source(serde_json::json!({
            "databricks": {"workspaceUrl": "https://a", "accessToken": {"isSet": true}},
            "settings": {"maxConcurrentTasks": 2, "schemaBlacklist": ["scratch"]}}));
        let after = source(serde_json::json!({
            "databricks": {"workspaceUrl": "https://a", "accessToken": {"token": "canary"}},
            "settings": {"maxConcurrentTasks": 3}}));
        let found = differences(&before, &after);
        let told: Vec<_> = found.iter().map(|c| format!("{}: {} -> {}", c.shown, c.before, c.after)).collect();
        assert_eq!(told, ["settings.schemaBlacklist: [\"scratch\"] -> []", "settings.maxConcurrentTasks: 2 -> 3"]);
        let secrets = secrets(&after);
        assert_eq!(secrets.iter().collect::<Vec<_>>(), ["databricks.access_token.token"]);
        let mask = mask(&found, &secrets);
        let expected = ["databricks.access_token.token", "settings.max_concurrent_tasks", "settings.schema_blacklist"];
        assert_eq!(mask, expected);
    }

    #[test]
    fn a_secret_in_a_list_is_sent_with_its_list_and_a_choice_changes_as_a_whole() {
        let sas = source(serde_json::json!({"databricks": {"storage": [{"azureSas": {"sas": "canary"}}]}}));
        assert_eq!(secrets(&sas).into_iter().collect::<Vec<_>>(), ["databricks.storage"]);
        let other = source(serde_json::json!({"databricks": {"storage": [{"localFiles": {"root": "/t"}}]}}));
        let found = differences(&sas, &other);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(!format!("{found:?}").contains("canary"));
        assert_eq!(mask(&found, &secrets(&sas)), ["databricks.storage"]);
    }

    #[test]
    fn fields_are_named_as_in_the_file_or_as_in_the_contract() {
        for word in
            ["settings.maxConcurrentTasks", "settings.max_concurrent_tasks", "dataSource.settings.maxConcurrentTasks"]
        {
            assert_eq!(field_path(word).unwrap(), "settings.max_concurrent_tasks");
        }
        let told = field_path("settings.maxConcurentTasks").unwrap_err().to_string();
        assert!(told.contains("did you mean maxConcurrentTasks?"), "{told}");
    }
}
