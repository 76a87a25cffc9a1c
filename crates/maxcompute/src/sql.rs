//! A SQL statement with the settings under which it runs, and the XML that submits it. The settings that make values exact and
//! names unambiguous are always sent and cannot be overridden.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::error::MaxComputeError;
use crate::name::SchemaName;
use crate::xml::{cdata, escape};

/// The name of the SQL task; the service's own clients use the same.
pub(crate) const TASK: &str = "AnonymousSQLTask";
/// The priority of every statement: the lowest, which is also the default.
const PRIORITY: u8 = 9;

/// A SQL statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The SQL text; a missing final `;` is added.
    pub text: String,
    /// Identifies the instance: the service creates no second one for the same id. Every repetition of a request must use the
    /// same id. A statement that does harm when it runs again later (DROP) needs one permanent id, which the caller stores where
    /// whoever repeats the statement finds it.
    pub id: Uuid,
    /// The schema of names that have none. Setting it also switches three-tier names on.
    pub default_schema: Option<SchemaName>,
    /// Whether names of the form `a.b.c` mean project, schema and table.
    pub three_tier: bool,
    /// Additional settings. Those of [`OWN_SETTINGS`] are ignored, whatever their case.
    pub settings: BTreeMap<String, String>,
}

/// Settings that every statement of this crate sends itself: they keep values exact and decide how names are read.
pub const OWN_SETTINGS: [&str; 9] = [
    "odps.default.schema",
    "odps.namespace.schema",
    "odps.sql.allow.fullscan",
    "odps.sql.allow.namespace.schema",
    "odps.sql.decimal.odps2",
    "odps.sql.hive.compatible",
    "odps.sql.submit.mode",
    "odps.sql.timezone",
    "odps.sql.type.system.odps2",
];

impl Statement {
    /// A statement without additional settings.
    #[must_use]
    pub fn new(text: impl Into<String>, id: Uuid, three_tier: bool) -> Self {
        Self { text: text.into(), id, default_schema: None, three_tier, settings: BTreeMap::new() }
    }

    /// All settings that are sent with the statement.
    pub(crate) fn all_settings(&self, compute_quota: Option<&str>) -> BTreeMap<String, String> {
        let three_tier = if self.three_tier || self.default_schema.is_some() { "true" } else { "false" };
        let mut settings: BTreeMap<String, String> = [
            ("odps.sql.type.system.odps2", "true"),
            ("odps.sql.decimal.odps2", "true"),
            ("odps.sql.hive.compatible", "false"),
            ("odps.sql.timezone", "UTC"),
            ("odps.sql.allow.fullscan", "true"),
            ("odps.sql.submit.mode", ""),
            // Always sent explicitly: a project's own default would decide what `a.b` means.
            ("odps.namespace.schema", three_tier),
            ("odps.sql.allow.namespace.schema", three_tier),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        if let Some(schema) = &self.default_schema {
            settings.insert("odps.default.schema".to_owned(), schema.to_string());
        }
        if let Some(quota) = compute_quota {
            settings.insert("odps.task.wlm.quota".to_owned(), quota.to_owned());
        }
        let own = |name: &str| OWN_SETTINGS.iter().any(|own| own.eq_ignore_ascii_case(name));
        settings.extend(self.settings.clone().into_iter().filter(|(name, _)| !own(name)));
        settings
    }

    /// The body of the request that submits the statement.
    pub(crate) fn instance_xml(&self, compute_quota: Option<&str>) -> Result<String, MaxComputeError> {
        let settings = serde_json::to_string(&self.all_settings(compute_quota))
            .map_err(|error| MaxComputeError::Config { what: format!("SQL settings: {error}") })?;
        let mut query = self.text.trim().to_owned();
        if !query.ends_with(';') {
            query.push(';');
        }
        Ok(format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Instance><Job><Priority>{PRIORITY}</Priority><Guid>{id}</Guid>\
             <Tasks><SQL><Name>{TASK}</Name><Config>\
             <Property><Name>settings</Name><Value>{settings}</Value></Property>\
             <Property><Name>uuid</Name><Value>{id}</Value></Property></Config>\
             <Query>{query}</Query></SQL></Tasks><DAG><RunMode>Sequence</RunMode></DAG></Job></Instance>",
            id = self.id,
            settings = escape(&settings),
            query = cdata(&query),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::Element;

    #[test]
    fn the_instance_says_what_was_asked() {
        let mut statement = Statement::new("SELECT ']]>' < 1 ", Uuid::from_u128(7), true);
        statement.settings.insert("odps.sql.Timezone".into(), "Asia/Shanghai".into());
        statement.settings.insert("odps.sql.mapper.split.size".into(), "64".into());
        let root = Element::parse(&statement.instance_xml(Some("q1")).unwrap()).unwrap();
        let job = root.child("Job").unwrap();
        assert_eq!(
            (job.text_of("Priority"), job.text_of("Guid")),
            (Some("9"), Some("00000000-0000-0000-0000-000000000007"))
        );
        let sql = job.child("Tasks").unwrap().child("SQL").unwrap();
        assert_eq!(sql.text_of("Query"), Some("SELECT ']]>' < 1;"));
        let settings = sql.child("Config").unwrap().children("Property").next().unwrap().text_of("Value").unwrap();
        let settings: BTreeMap<String, String> = serde_json::from_str(settings).unwrap();
        assert_eq!(settings["odps.namespace.schema"], "true");
        assert_eq!(settings["odps.sql.mapper.split.size"], "64");
        assert_eq!(settings["odps.sql.timezone"], "UTC", "values are exact by what is our own to say");
        assert!(!settings.contains_key("odps.sql.Timezone"));
        assert_eq!(settings["odps.task.wlm.quota"], "q1");
    }

    #[test]
    fn what_is_always_said_is_our_own() {
        let mut statement = Statement::new("SELECT 1;", Uuid::nil(), true);
        statement.default_schema = Some(SchemaName::new("s").unwrap());
        assert!(statement.all_settings(None).into_keys().eq(OWN_SETTINGS.map(str::to_owned)));
    }

    #[test]
    fn the_namespace_is_always_explicit() {
        let statement = Statement::new("SELECT 1;", Uuid::nil(), false);
        assert_eq!(statement.all_settings(None)["odps.namespace.schema"], "false");
    }
}
