//! The parameters of a data source for a console that builds a form: labels as the managed service has them. What the
//! contract says (required, immutable, secret, values of an enum, ways of a choice) is read from it and stands nowhere else.

use mms_proto::registry::v1 as pb;
use mms_proto::{descriptor, redact, rules};
use prost_reflect::{FieldDescriptor, Kind};

/// Path, label, description, default, what it depends on.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

const BASIC: &[Row] = &[
    ("display_name", "Name", "Name for people: letters, digits and Chinese characters, unique.", "", ""),
    ("network_connection", "Network Connection", "Egress settings for both ends. Empty: direct.", "", ""),
    ("databricks.workspace_url", "Databricks Workspace URL", "Workspace URL from the Azure portal.", "", ""),
    ("databricks.catalog", "Databricks Unity Catalog", "The catalog to migrate.", "", ""),
    (
        "databricks.cluster_id",
        "Databricks Cluster ID",
        "The cluster that runs SQL: metadata that REST does not give, and the JDBC read path.",
        "",
        "",
    ),
    ("databricks.workspace_auth", "Workspace Authentication", "How the workspace knows us.", "", ""),
    (
        "databricks.access_token.token",
        "Databricks Access Token",
        "A personal access token with BROWSE, EXECUTE, SELECT, USE CATALOG and USE SCHEMA.",
        "",
        "databricks.workspace_auth=access_token",
    ),
    (
        "databricks.client_credentials.client_id",
        "OAuth Client ID",
        "The OAuth client's id.",
        "",
        "databricks.workspace_auth=client_credentials",
    ),
    (
        "databricks.client_credentials.client_secret",
        "OAuth Client Secret",
        "The OAuth client's secret.",
        "",
        "databricks.workspace_auth=client_credentials",
    ),
    (
        "databricks.read_path",
        "Use Databricks JDBC to read table data",
        "Where rows are read from.",
        "READ_PATH_STORAGE",
        "",
    ),
    ("databricks.jdbc_url", "Databricks JDBC URL", "URL without a token.", "", "databricks.read_path=READ_PATH_JDBC"),
    ("databricks.storage_access", "Azure Authentication", "How the tables' files are read.", "", ""),
    (
        "databricks.sas.sas",
        "Azure Authentication: SAS Token",
        "A shared access signature with Read and List.",
        "",
        "databricks.storage_access=sas",
    ),
    (
        "databricks.service_principal.tenant_id",
        "Azure Authentication: Tenant ID",
        "Directory of the service principal.",
        "",
        "databricks.storage_access=service_principal",
    ),
    (
        "databricks.service_principal.client_id",
        "Azure Authentication: Application ID",
        "The service principal, with the role Storage Blob Data Reader.",
        "",
        "databricks.storage_access=service_principal",
    ),
    (
        "databricks.service_principal.client_secret",
        "Azure Authentication: Client Secret",
        "Its secret.",
        "",
        "databricks.storage_access=service_principal",
    ),
    (
        "databricks.service_principal.authority_host",
        "Azure Authentication: Authority Host",
        "Where tokens are asked for.",
        "https://login.microsoftonline.com",
        "databricks.storage_access=service_principal",
    ),
    (
        "databricks.local_files.root",
        "Local Folder",
        "Absolute folder below which all tables lie; for the sandbox.",
        "",
        "databricks.storage_access=local_files",
    ),
    ("max_compute.endpoint", "MaxCompute Endpoint", "Service endpoint, ending in /api.", "", ""),
    ("max_compute.region", "Region", "Region for signatures.", "read from the endpoint's host", ""),
    ("max_compute.tunnel_endpoint", "Tunnel Endpoint", "Where rows are sent.", "the one that the service names", ""),
    ("max_compute.account", "MaxCompute Account", "Who we are to MaxCompute.", "", ""),
    (
        "max_compute.access_key.access_key_id",
        "AccessKey ID",
        "The access key's id.",
        "",
        "max_compute.account=access_key",
    ),
    (
        "max_compute.access_key.access_key_secret",
        "AccessKey Secret",
        "Its secret.",
        "",
        "max_compute.account=access_key",
    ),
    (
        "max_compute.access_key.security_token",
        "Security Token",
        "Token of a temporary key.",
        "",
        "max_compute.account=access_key",
    ),
    (
        "max_compute.bearer_token.token",
        "Bearer Token",
        "A bearer token instead of an access key.",
        "",
        "max_compute.account=bearer_token",
    ),
    (
        "max_compute.default_project",
        "Default Destination MaxCompute Project",
        "Where schemas and tables go unless they are mapped elsewhere.",
        "",
        "",
    ),
    ("max_compute.projects", "Destination MaxCompute Project List", "Further projects that mappings may name.", "", ""),
    (
        "max_compute.job_project",
        "MaxCompute Project For Migration Jobs",
        "Where SQL runs and whose quota pays.",
        "max_compute.default_project",
        "",
    ),
    (
        "max_compute.tunnel_quota",
        "Tunnel Quota",
        "Name of an exclusive Data Transmission Service quota.",
        "the shared one",
        "",
    ),
    ("max_compute.compute_quota", "Compute Quota", "Name of a compute quota.", "the job project's", ""),
    (
        "max_compute.namespace_model",
        "Namespace Model",
        "Whether target names have three tiers.",
        "NAMESPACE_MODEL_AUTO",
        "",
    ),
];

const OTHER: &[Row] = &[
    ("settings.scan_schedule", "Meta Timer", "When the catalog is scanned by itself.", "never", ""),
    ("settings.metadata_concurrency", "Metastore Access Concurrency", "Concurrent metadata calls.", "8", ""),
    ("settings.schema_whitelist", "Schema Whitelist", "Schemas to take: names or globs.", "all", ""),
    (
        "settings.schema_blacklist",
        "Schema Blacklist",
        "Schemas to leave, taken from what the white list keeps.",
        "",
        "",
    ),
    (
        "settings.table_whitelist",
        "Table Whitelist",
        "Tables to take: \"table\" or \"schema.table\", names or globs.",
        "all",
        "",
    ),
    ("settings.table_blacklist", "Table Blacklist", "Tables to leave, taken from what the white list keeps.", "", ""),
    (
        "settings.max_concurrent_tasks",
        "Maximum Concurrency For Data Migration Tasks",
        "Tasks that run at once.",
        "20",
        "",
    ),
    (
        "settings.sql_parameters",
        "SQL Parameters For MaxCompute Migration Tasks",
        "SET flags sent with every MaxCompute statement.",
        "",
        "",
    ),
    (
        "settings.table_names",
        "Table Name Character Mapping",
        "What becomes of characters of table names that MaxCompute does not take.",
        "",
        "",
    ),
    (
        "settings.column_names",
        "Column Name Character Mapping",
        "What becomes of characters of column names that MaxCompute does not take.",
        "",
        "",
    ),
    (
        "settings.partition_values",
        "Partition Value Character Mapping",
        "What becomes of characters of partition values that MaxCompute does not take.",
        "",
        "",
    ),
    ("settings.max_partitions_per_task", "Maximum Partitions Per Task", "Partitions in one task.", "50", ""),
    (
        "settings.max_bytes_per_task",
        "Maximum Data Size Per Task",
        "Bytes of source files in one task.",
        "5368709120",
        "",
    ),
    ("settings.time_window", "Migration Time Window", "Hours in which tasks may start.", "always", ""),
    ("settings.target_kind", "Target Table Kind", "Kind of target tables.", "TARGET_KIND_APPEND_DELTA", ""),
    ("settings.rate_limit", "Rate Limit", "Bounds of what all workers together read for this source.", "none", ""),
    (
        "settings.idle_stop_after",
        "Idle Stop",
        "A started source that nobody uses for so long stops by itself; 0s: never.",
        "1800s",
        "",
    ),
    ("settings.auto_start", "Automatic Start", "Whether a scan or job may start a stopped source.", "false", ""),
    (
        "settings.concurrency",
        "Concurrency Per Schema And Table",
        "Tasks of one schema or table that run at once, below the bound of the source.",
        "no bound of their own",
        "",
    ),
];

/// All parameters, in the order of the form.
pub fn all() -> Vec<pb::ConfigItem> {
    let groups = [("basic", BASIC), ("other", OTHER)];
    groups.iter().flat_map(|(group, rows)| rows.iter().filter_map(|row| item(group, row))).collect()
}

fn item(group: &str, (key, label, description, default_value, depends_on): &Row) -> Option<pb::ConfigItem> {
    let Some((field, rules, not_yet)) = find(key) else { return choice(group, key, label, description) };
    let secret = redact::is_secret(&field);
    // A secret is required by our own judgement: what is stored need not be sent again.
    let required = rules.required || (secret && !key.ends_with("security_token"));
    let enum_values = match field.kind() {
        Kind::Enum(kind) => kind.values().skip(1).map(|value| value.name().to_owned()).collect(),
        _ => Vec::new(),
    };
    Some(pb::ConfigItem {
        key: (*key).into(),
        label: (*label).into(),
        description: (*description).into(),
        group: group.into(),
        r#type: kind(&field, secret).into(),
        required,
        editable: !rules.immutable,
        default_value: (*default_value).into(),
        enum_values,
        depends_on: (*depends_on).into(),
        not_yet,
        not_yet_values: rules.not_yet_values.clone(),
    })
}

/// A oneof: its values are the messages of which one is set.
fn choice(group: &str, key: &str, label: &str, description: &str) -> Option<pb::ConfigItem> {
    let (parent, name) = key.rsplit_once('.')?;
    let Kind::Message(message) = find(parent)?.0.kind() else { return None };
    let oneof = message.oneofs().find(|oneof| oneof.name() == name)?;
    let ways: Vec<String> = oneof.fields().map(|field| field.name().to_owned()).collect();
    let refused = |way: &String| find(&format!("{parent}.{way}")).is_some_and(|(_, _, not_yet)| not_yet);
    Some(pb::ConfigItem {
        key: key.into(),
        label: label.into(),
        description: description.into(),
        group: group.into(),
        r#type: "choice".into(),
        required: rules::required_oneofs(&message).contains(&oneof),
        editable: true,
        not_yet_values: ways.iter().filter(|way| refused(way)).cloned().collect(),
        enum_values: ways,
        ..pb::ConfigItem::default()
    })
}

/// The field of a path with its rules, and whether this version refuses it: by itself, by what it lies in, or because it
/// refuses everything in it.
fn find(path: &str) -> Option<(FieldDescriptor, rules::Rules, bool)> {
    let mut message = descriptor::message::<pb::DataSource>();
    let (mut found, mut not_yet) = (None, false);
    for name in path.split('.') {
        let entry = rules::of(&message).iter().find(|(field, _)| field.name() == name).cloned()?;
        if let Kind::Message(inner) = entry.0.kind() {
            message = inner;
        }
        not_yet |= entry.1.not_yet;
        found = Some(entry);
    }
    let (field, own) = found?;
    let inside = match field.kind() {
        Kind::Message(inner) if !field.is_map() => rules::of(&inner).iter().all(|(_, rules)| rules.not_yet),
        _ => false,
    };
    let empty = matches!(field.kind(), Kind::Message(inner) if inner.fields().next().is_none());
    Some((field, own, not_yet || (inside && !empty)))
}

fn kind(field: &FieldDescriptor, secret: bool) -> &'static str {
    if secret {
        return "secret";
    }
    if field.is_map() {
        return "map";
    }
    if field.is_list() {
        return "list";
    }
    match field.kind() {
        Kind::Bool => "bool",
        Kind::Int32 | Kind::Int64 => "int",
        Kind::Enum(_) => "enum",
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Duration" => "duration",
            "mms.type.v1.Schedule" => "schedule",
            "mms.type.v1.TimeWindow" => "window",
            // Messages of plain entries: character mappings, rate limits, concurrency.
            _ => "map",
        },
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths of everything that a caller can set, down to what a form shows as one item.
    fn settable(message: &prost_reflect::MessageDescriptor, at: &str, out: &mut Vec<String>) {
        for (field, rules) in rules::of(message).iter().filter(|(_, rules)| !rules.output_only) {
            let path = if at.is_empty() { field.name().to_owned() } else { format!("{at}.{}", field.name()) };
            let _ = rules;
            match field.kind() {
                Kind::Message(inner) if !at.starts_with("settings") && !field.is_list() && !field.is_map() => {
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
        let mut described: Vec<String> = all().into_iter().map(|item| item.key).collect();
        described.sort();
        assert_eq!(described, fields);
    }

    #[test]
    fn a_form_can_be_built_of_what_items_depend_on() {
        let items = all();
        for item in items.iter().filter(|item| !item.depends_on.is_empty()) {
            let (key, value) = item.depends_on.split_once('=').unwrap();
            let on = items.iter().find(|item| item.key == key).unwrap_or_else(|| panic!("{item:?}"));
            assert!(on.enum_values.iter().any(|known| known == value), "{item:?}");
        }
        let auth = items.iter().find(|item| item.key == "databricks.workspace_auth").unwrap();
        assert!(auth.required && auth.r#type == "choice");
        assert_eq!(auth.not_yet_values, ["client_credentials"]);
        let azure = items.iter().find(|item| item.label == "Azure Authentication").unwrap();
        assert_eq!(azure.enum_values, ["sas", "service_principal", "vended", "local_files"]);
        assert_eq!((azure.required, &*azure.not_yet_values), (false, &["vended".to_owned()][..]));
    }

    #[test]
    fn options_of_the_contract_show() {
        let item = |key: &str| all().into_iter().find(|item| item.key == key).unwrap();
        assert!(item("databricks.catalog").required && !item("databricks.catalog").editable);
        assert_eq!(item("databricks.access_token.token").r#type, "secret");
        assert_eq!(item("max_compute.namespace_model").enum_values.len(), 3);
        assert_eq!(item("settings.time_window").r#type, "window");
        assert_eq!(item("settings.idle_stop_after").r#type, "duration");
        assert_eq!(all()[0].label, "Name");
        for key in ["settings.time_window", "settings.rate_limit", "databricks.client_credentials.client_id"] {
            assert!(item(key).not_yet, "{key}");
        }
        assert!(!item("databricks.access_token.token").not_yet && !item("settings.idle_stop_after").not_yet);
        assert_eq!(item("settings.target_kind").not_yet_values, ["TARGET_KIND_PK_DELTA"]);
    }
}
