//! Unity Catalog objects above the tables: metastore, catalog and schemas.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::auth::Known;
use super::folder::Folder;
use super::ids::uuid_of;
use super::paging::cut;
use super::vending::Vending;
use super::{USER_NAME, routes::WORKSPACE_ID, sql};

/// The schema that every catalog has and no folder represents.
pub const INFORMATION_SCHEMA: &str = "information_schema";

/// The state that all requests share.
#[derive(Debug)]
pub struct State {
    pub folder: Folder,
    pub catalog: String,
    pub known: Known,
    /// The storage account for which credentials are vended; `None` if the tables are on a local disk.
    pub vending: Option<Vending>,
    pub page_size: usize,
    pub sql: sql::Service,
}

pub type Query = HashMap<String, String>;

/// A parameter that must be present and not empty.
pub fn required<'q>(query: &'q Query, name: &str) -> Result<&'q str, Refusal> {
    query
        .get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| Refusal::invalid(format!("Missing required field: {name}")))
}

/// The answer with a list: the array under `key`, and the token of the next page. Callers must accept two forms of the
/// end, an empty token and no token, so both are used.
pub fn list(key: &str, objects: Vec<Value>, next: Option<String>) -> Value {
    let end = objects.len().is_multiple_of(2).then(String::new);
    let mut answer = json!({ key: objects });
    if let Some(token) = next.or(end) {
        answer["next_page_token"] = Value::from(token);
    }
    answer
}

impl State {
    pub fn metastore_id(&self) -> String {
        uuid_of(&["metastore", &self.catalog]).to_string()
    }

    pub fn check_catalog(&self, catalog: &str) -> Result<(), Refusal> {
        if catalog == self.catalog { Ok(()) } else { Err(Refusal::missing("Catalog", catalog)) }
    }

    pub fn has_schema(&self, schema: &str) -> bool {
        schema == INFORMATION_SCHEMA || self.folder.has_schema(schema)
    }

    pub fn metastore_summary(&self) -> Value {
        json!({
            "metastore_id": self.metastore_id(),
            "name": "sandbox",
            "cloud": "azure",
            "region": "local",
            "global_metastore_id": format!("azure:local:{}", self.metastore_id()),
            "owner": USER_NAME,
            "privilege_model_version": "1.0",
            "external_access_enabled": self.vending.is_some(),
        })
    }

    pub fn metastore_assignment(&self) -> Value {
        json!({ "metastore_id": self.metastore_id(), "workspace_id": WORKSPACE_ID, "default_catalog_name": self.catalog })
    }

    fn catalog_object(&self) -> Value {
        json!({
            "name": self.catalog,
            "full_name": self.catalog,
            "catalog_type": "MANAGED_CATALOG",
            "metastore_id": self.metastore_id(),
            "owner": USER_NAME,
            "isolation_mode": "OPEN",
            "securable_type": "CATALOG",
            "browse_only": false,
        })
    }

    pub fn catalogs(&self, query: &Query) -> Answer {
        let page = cut("catalogs", vec![self.catalog.clone()], query, self.page_size)?;
        Ok(list("catalogs", page.names.iter().map(|_| self.catalog_object()).collect(), page.next))
    }

    pub fn catalog(&self, name: &str) -> Answer {
        self.check_catalog(name)?;
        Ok(self.catalog_object())
    }

    fn schema_object(&self, name: &str) -> Value {
        json!({
            "name": name,
            "catalog_name": self.catalog,
            "full_name": format!("{}.{name}", self.catalog),
            "schema_id": uuid_of(&["schema", &self.catalog, name]),
            "catalog_type": "MANAGED_CATALOG",
            "metastore_id": self.metastore_id(),
            "owner": USER_NAME,
            "securable_type": "SCHEMA",
            "browse_only": false,
        })
    }

    pub fn schemas(&self, query: &Query) -> Answer {
        self.check_catalog(required(query, "catalog_name")?)?;
        let mut names = self.folder.schemas()?;
        names.retain(|name| name != INFORMATION_SCHEMA);
        names.push(INFORMATION_SCHEMA.to_owned());
        let page = cut("schemas", names, query, self.page_size)?;
        Ok(list("schemas", page.names.iter().map(|name| self.schema_object(name)).collect(), page.next))
    }

    pub fn schema(&self, full_name: &str) -> Answer {
        let missing = || Refusal::missing("Schema", full_name);
        let (catalog, name) = full_name.split_once('.').ok_or_else(missing)?;
        self.check_catalog(catalog)?;
        if self.has_schema(name) { Ok(self.schema_object(name)) } else { Err(missing()) }
    }
}
