use super::*;

/// All items, with the items of the storage list in the place of their list.
fn flat() -> Vec<pb::ConfigItem> {
    let with_parts = |item: pb::ConfigItem| {
        let rows = if item.key == "databricks.storage" { item.items.clone() } else { Vec::new() };
        std::iter::once(item).chain(rows)
    };
    all().into_iter().flat_map(with_parts).collect()
}

fn item(key: &str) -> pb::ConfigItem {
    flat().into_iter().find(|item| item.key == key).unwrap_or_else(|| panic!("no item {key}"))
}

/// The paths of all fields that a caller can set, down to what a form shows as one item.
fn settable(message: &MessageDescriptor, at: &str, out: &mut Vec<String>) {
    for (field, _) in rules::of(message).iter().filter(|(_, rules)| !rules.output_only) {
        let path = if at.is_empty() { field.name().to_owned() } else { format!("{at}.{}", field.name()) };
        match field.kind() {
            Kind::Message(inner) if !at.starts_with("settings") && !field.is_map() => {
                if field.is_list() {
                    out.push(path.clone());
                }
                let choices = inner.oneofs().map(|oneof| format!("{path}.{}", oneof.name()));
                out.extend(choices.filter(|choice| !choice.contains("._")));
                settable(&inner, &path, out);
            }
            _ => out.push(path),
        }
    }
}

#[test]
fn every_settable_field_is_described_and_nothing_else() {
    let mut fields = Vec::new();
    settable(&descriptor::message::<pb::DataSource>(), "", &mut fields);
    fields.retain(|path| path != "etag");
    fields.sort();
    let mut described: Vec<String> = flat().into_iter().map(|item| item.key).collect();
    described.sort();
    assert_eq!(described, fields);
}

#[test]
fn a_form_can_be_built_of_what_items_depend_on() {
    let items = flat();
    for item in items.iter().filter(|item| !item.depends_on.is_empty()) {
        let (key, value) = item.depends_on.split_once('=').unwrap();
        let on = items.iter().find(|item| item.key == key).unwrap_or_else(|| panic!("{item:?}"));
        assert!(on.enum_values.iter().any(|known| known == value), "{item:?}");
    }
    let auth = item("databricks.workspace_auth");
    assert!(auth.required && auth.r#type() == Type::Choice);
    assert_eq!(auth.enum_values, ["access_token", "client_credentials"]);
    assert!(auth.not_yet_values.is_empty());
    let azure = item("databricks.storage.access");
    assert_eq!(azure.enum_values, ["azure_sas", "azure_service_principal", "vended", "local_files"]);
    assert!(azure.required && azure.not_yet_values.is_empty());
}

#[test]
fn options_of_the_contract_show() {
    assert!(item("databricks.catalog").required && !item("databricks.catalog").editable);
    assert_eq!(item("databricks.access_token.token").r#type(), Type::Secret);
    assert_eq!(item("max_compute.namespace_model").enum_values.len(), 3);
    assert_eq!(item("settings.idle_stop_after").r#type(), Type::Duration);
    assert_eq!(all()[0].label, "Name");
    for key in ["settings.concurrency", "settings.rate_limit"] {
        assert!(!item(key).not_yet, "{key}");
    }
    assert!(!item("databricks.client_credentials.client_id").not_yet);
    assert!(!item("databricks.access_token.token").not_yet && !item("settings.idle_stop_after").not_yet);
    assert_eq!(item("settings.target_kind").not_yet_values, ["TARGET_KIND_PK_DELTA"]);
}

#[test]
fn bounds_patterns_and_parts_are_those_of_the_contract() {
    let tasks = item("settings.max_concurrent_tasks");
    assert_eq!((tasks.min, tasks.max), (Some(0.0), Some(1000.0)));
    let project = item("max_compute.default_project");
    assert_eq!((project.max_length, project.pattern.as_str()), (128, "[A-Za-z][A-Za-z0-9_]*"));
    let patterns = item("settings.table_whitelist");
    assert_eq!((patterns.r#type(), patterns.max_length), (Type::List, 10_000));
    assert_eq!((patterns.items[0].r#type(), patterns.items[0].max_length), (Type::String, 511));
    let flags = item("settings.sql_parameters");
    assert_eq!(flags.items.iter().map(|part| part.max_length).collect::<Vec<_>>(), [256, 4_096]);
    let names = item("settings.table_names");
    let parts: Vec<&str> = names.items.iter().map(|part| part.key.as_str()).collect();
    let expected = ["characters", "other", "prefix"].map(|part| format!("settings.table_names.{part}"));
    assert_eq!((names.r#type(), parts), (Type::Message, expected.iter().map(String::as_str).collect()));
    let windows = item("settings.time_windows");
    assert_eq!(windows.r#type(), Type::MessageList);
    let start = windows.items.iter().find(|part| part.key == "settings.time_windows.start").unwrap();
    assert_eq!(start.items.iter().map(|part| part.max).collect::<Vec<_>>(), [Some(23.0), Some(59.0)]);
    let schedule = item("settings.scan_schedule");
    let daily = schedule.items.iter().find(|part| part.key == "settings.scan_schedule.daily").unwrap();
    assert_eq!(daily.depends_on, "settings.scan_schedule.schedule=daily");
    assert!(daily.description.starts_with("Once a day"), "{}", daily.description);
}

#[test]
fn defaults_are_those_that_the_services_take() {
    use mms_proto::defaults as d;
    for (key, text) in [
        ("settings.metadata_concurrency", d::METADATA_CONCURRENCY.to_string()),
        ("settings.max_concurrent_tasks", d::MAX_CONCURRENT_TASKS.to_string()),
        ("settings.max_partitions_per_task", d::MAX_PARTITIONS_PER_TASK.to_string()),
        ("settings.max_bytes_per_task", d::MAX_BYTES_PER_TASK.to_string()),
        ("settings.idle_stop_after", format!("{}s", d::IDLE_STOP_AFTER.as_secs())),
    ] {
        assert_eq!(item(key).default_value, text, "{key}");
    }
}
