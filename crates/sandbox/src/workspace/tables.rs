//! Tables: lists, single objects, and the table summaries.

use std::path::Path;

use http::StatusCode;
use serde_json::{Map, Value, json};
use url::Url;

use super::USER_NAME;
use super::answer::{Answer, Refusal};
use super::columns::columns;
use super::delta_log;
use super::folder;
use super::ids::uuid_of;
use super::objects::{Query, State, list, required};
use super::paging::{cut, like};

/// The most entries on a page of table summaries.
const SUMMARY_PAGE: usize = 10_000;

impl State {
    pub fn table_object(&self, schema: &str, name: &str, path: &Path) -> Answer {
        let log = delta_log::read(path);
        let metadata = log.metadata.as_ref();
        let id = metadata.map_or("", |metadata| metadata.id.as_str());
        let mut properties: Map<String, Value> = metadata
            .map(|metadata| {
                metadata.configuration.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect()
            })
            .unwrap_or_default();
        if let Some(version) = log.version {
            properties.insert("delta.lastUpdateVersion".to_owned(), version.to_string().into());
        }
        let mut table = json!({
            "name": name,
            "catalog_name": self.catalog,
            "schema_name": schema,
            "full_name": format!("{}.{schema}.{name}", self.catalog),
            "table_id": uuid_of(&["table", &self.catalog, schema, name, id]),
            "metastore_id": self.metastore_id(),
            "table_type": "EXTERNAL",
            "data_source_format": "DELTA",
            "securable_type": "TABLE",
            "columns": metadata.map(columns).unwrap_or_default(),
            "properties": properties,
            "owner": USER_NAME,
            "browse_only": false,
        });
        let location = Url::from_file_path(path).ok();
        let optional = [
            ("storage_location", location.map(|url| Value::from(String::from(url)))),
            ("comment", metadata.and_then(|metadata| metadata.description.as_deref()).map(Value::from)),
            ("created_at", metadata.and_then(|metadata| metadata.created_time).map(Value::from)),
            ("updated_at", log.changed.map(Value::from)),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                table[key] = value;
            }
        }
        for (key, value) in folder::shown(path)? {
            table[key] = value;
        }
        let members = table.as_object_mut().into_iter().flatten();
        Ok(members.filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.take())).collect())
    }

    pub fn tables(&self, query: &Query) -> Answer {
        self.check_catalog(required(query, "catalog_name")?)?;
        let schema = required(query, "schema_name")?;
        if !self.has_schema(schema) {
            return Err(Refusal::missing("Schema", &format!("{}.{schema}", self.catalog)));
        }
        let page = cut(&format!("tables of {schema}"), self.folder.tables(schema)?, query, self.page_size)?;
        let omitted = |key: &str| query.get(&format!("omit_{key}")).is_some_and(|value| value == "true");
        let mut objects = Vec::new();
        for name in &page.names {
            // A table that was removed in the meantime is left out.
            let Some(path) = self.folder.table(schema, name) else { continue };
            let mut table = self.table_object(schema, name, &path)?;
            for key in ["columns", "properties"].into_iter().filter(|key| omitted(key)) {
                table.as_object_mut().map(|table| table.remove(key));
            }
            objects.push(table);
        }
        Ok(list("tables", objects, page.next))
    }

    pub fn table(&self, full_name: &str) -> Answer {
        let (schema, name, path) = self.find_table(full_name)?;
        self.table_object(&schema, &name, &path)
    }

    pub fn find_table(&self, full_name: &str) -> Result<(String, String, std::path::PathBuf), Refusal> {
        let (catalog, rest) = full_name
            .split_once('.')
            .ok_or_else(|| Refusal::invalid(format!("'{full_name}' is not a name of three parts.")))?;
        self.check_catalog(catalog)?;
        self.folder.find(rest).ok_or_else(|| {
            let schema = rest.split('.').next().unwrap_or_default();
            match rest.match_indices('.').any(|(at, _)| self.has_schema(&rest[..at])) {
                true => Refusal::missing("Table", full_name),
                false => Refusal::missing("Schema", &format!("{catalog}.{schema}")),
            }
        })
    }

    pub fn table_exists(&self, full_name: &str) -> Answer {
        let exists = match self.find_table(full_name) {
            Ok(_) => true,
            Err(refusal) if refusal.status == StatusCode::NOT_FOUND => false,
            Err(refusal) => return Err(refusal),
        };
        Ok(json!({ "table_exists": exists, "supports_foreign_metadata_update": false }))
    }

    pub fn table_summaries(&self, query: &Query) -> Answer {
        self.check_catalog(required(query, "catalog_name")?)?;
        let pattern = |key: &str| query.get(key).filter(|pattern| !pattern.is_empty()).map_or("%", String::as_str);
        let (schemas, tables) = (pattern("schema_name_pattern"), pattern("table_name_pattern"));
        let mut names = Vec::new();
        for schema in self.folder.schemas()?.into_iter().filter(|schema| like(schemas, schema)) {
            let of_schema = self.folder.tables(&schema)?.into_iter().filter(|table| like(tables, table));
            names.extend(of_schema.map(|table| format!("{}.{schema}.{table}", self.catalog)));
        }
        let page = cut(&format!("summaries {schemas} {tables}"), names, query, SUMMARY_PAGE)?;
        let mut summaries = Vec::new();
        for name in &page.names {
            let Ok((_, _, path)) = self.find_table(name) else { continue };
            let shown = folder::shown(&path)?;
            let kind = shown.get("table_type").cloned().unwrap_or_else(|| "EXTERNAL".into());
            summaries.push(json!({ "full_name": name, "table_type": kind }));
        }
        Ok(list("tables", summaries, page.next))
    }
}
