//! The schemas and tables of the project, in memory and on disk.
//!
//! A change is on disk before it is visible in memory. Names are kept in lower case; a lookup ignores case.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::disk;
use super::error::{ApiError, ApiResult, ProjectError};
use super::schema::{TableMeta, is_word};
use super::table::Table;

/// The schema that always exists.
pub const DEFAULT_SCHEMA: &str = "default";

/// A schema as it is stored in `schema.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SchemaMeta {
    /// Lower case.
    pub name: String,
    /// Seconds since the epoch.
    pub created: i64,
}

struct Schema {
    meta: SchemaMeta,
    tables: BTreeMap<String, Arc<Table>>,
}

pub struct Catalog {
    data: PathBuf,
    trash: PathBuf,
    schemas: RwLock<BTreeMap<String, Schema>>,
    sessions_outlive_tables: AtomicBool,
}

fn no_schema(name: &str) -> ApiError {
    ApiError::new(404, "NoSuchSchema", format!("ODPS-0130131:Schema not found - schema `{name}`"))
}

fn names_in(dir: &Path) -> Result<Vec<String>, ProjectError> {
    let listing = |e| disk::io_error(format!("listing {}", dir.display()))(e);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(listing)? {
        let entry = entry.map_err(listing)?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

impl Catalog {
    /// Whether upload sessions outlive the table they were created for.
    pub fn sessions_outlive_tables(&self) -> bool {
        self.sessions_outlive_tables.load(Ordering::Relaxed)
    }

    /// Sets whether upload sessions outlive the table they were created for.
    pub fn let_sessions_outlive_tables(&self, outlive: bool) {
        self.sessions_outlive_tables.store(outlive, Ordering::Relaxed);
    }

    /// Opens the schemas and tables under `dir`, or starts empty. `in_use` names the files of open sessions, which are
    /// kept.
    pub fn open(dir: &Path, in_use: &HashSet<String>, now: i64) -> Result<Self, ProjectError> {
        let (data, trash) = (dir.join("data"), dir.join("trash"));
        let making = |e| disk::io_error(format!("making directories under {}", dir.display()))(e);
        if trash.exists() {
            fs::remove_dir_all(&trash).map_err(making)?;
        }
        disk::make_dir(&data).map_err(making)?;
        disk::make_dir(&trash).map_err(making)?;
        let mut schemas = BTreeMap::new();
        for name in names_in(&data)? {
            let schema_dir = data.join(&name);
            if !schema_dir.join("schema.json").is_file() {
                continue;
            }
            let mut tables = BTreeMap::new();
            for table in names_in(&schema_dir)? {
                match Table::open(&schema_dir.join(&table), in_use)? {
                    Some(open) => drop(tables.insert(table, Arc::new(open))),
                    None => fs::remove_dir_all(schema_dir.join(&table)).map_err(making)?,
                }
            }
            schemas.insert(name, Schema { meta: disk::read_json(&schema_dir.join("schema.json"))?, tables });
        }
        let sessions_outlive_tables = AtomicBool::new(false);
        let catalog = Self { data, trash, schemas: RwLock::new(schemas), sessions_outlive_tables };
        catalog.create_schema(DEFAULT_SCHEMA, true, now).map_err(|error| ProjectError::Damaged {
            path: catalog.data.display().to_string(),
            reason: error.message,
        })?;
        Ok(catalog)
    }

    pub fn create_schema(&self, name: &str, if_not_exists: bool, now: i64) -> ApiResult<()> {
        let name = name.to_ascii_lowercase();
        if !is_word(&name) {
            return Err(ApiError::invalid(format!("`{name}` is not a schema name: letters, digits and _, 128 bytes")));
        }
        let mut schemas = self.schemas.write();
        if schemas.contains_key(&name) {
            if if_not_exists {
                return Ok(());
            }
            return Err(ApiError::new(409, "ObjectAlreadyExists", format!("schema {name} already exists")));
        }
        let dir = self.data.join(&name);
        disk::make_dir(&dir)?;
        let meta = SchemaMeta { name: name.clone(), created: now };
        disk::write_json(&dir.join("schema.json"), &meta)?;
        schemas.insert(name, Schema { meta, tables: BTreeMap::new() });
        Ok(())
    }

    /// Drops a schema, which must be empty and not `default`.
    pub fn drop_schema(&self, name: &str, if_exists: bool) -> ApiResult<()> {
        let name = name.to_ascii_lowercase();
        let mut schemas = self.schemas.write();
        match schemas.get(&name) {
            None if if_exists => return Ok(()),
            None => return Err(no_schema(&name)),
            Some(_) if name == DEFAULT_SCHEMA => return Err(ApiError::invalid("schema default cannot be dropped")),
            Some(schema) if !schema.tables.is_empty() => {
                return Err(ApiError::invalid(format!("schema {name} holds tables: drop them first")));
            }
            Some(_) => {}
        }
        self.discard(&self.data.join(&name))?;
        schemas.remove(&name);
        Ok(())
    }

    /// Deletes a directory. A rename into the trash makes it vanish at once; the removal there may be slow or
    /// interrupted.
    fn discard(&self, dir: &Path) -> ApiResult<()> {
        let away = self.trash.join(uuid::Uuid::new_v4().simple().to_string());
        fs::rename(dir, &away)?;
        dir.parent().map_or(Ok(()), disk::sync_dir)?;
        if let Err(error) = fs::remove_dir_all(&away) {
            tracing::debug!(%error, "a dropped table or schema stays in the trash until the next start");
        }
        Ok(())
    }

    /// All schemas, sorted by name.
    pub fn schemas(&self) -> Vec<SchemaMeta> {
        self.schemas.read().values().map(|s| s.meta.clone()).collect()
    }

    pub fn schema(&self, name: &str) -> ApiResult<SchemaMeta> {
        let name = name.to_ascii_lowercase();
        self.schemas.read().get(&name).map(|s| s.meta.clone()).ok_or_else(|| no_schema(&name))
    }

    /// All tables of a schema, sorted by name.
    pub fn tables(&self, schema: &str) -> ApiResult<Vec<Arc<Table>>> {
        let name = schema.to_ascii_lowercase();
        let schemas = self.schemas.read();
        Ok(schemas.get(&name).ok_or_else(|| no_schema(&name))?.tables.values().cloned().collect())
    }

    pub fn table(&self, schema: &str, table: &str) -> ApiResult<Arc<Table>> {
        let (schema, table) = (schema.to_ascii_lowercase(), table.to_ascii_lowercase());
        let schemas = self.schemas.read();
        schemas
            .get(&schema)
            .and_then(|s| s.tables.get(&table))
            .cloned()
            .ok_or_else(|| ApiError::no_table(&schema, &table))
    }

    /// Creates a table whose definition was already checked.
    pub fn create_table(&self, schema: &str, meta: TableMeta, if_not_exists: bool) -> ApiResult<()> {
        let name = schema.to_ascii_lowercase();
        let mut schemas = self.schemas.write();
        let schema = schemas.get_mut(&name).ok_or_else(|| no_schema(&name))?;
        if schema.tables.contains_key(&meta.name) {
            if if_not_exists {
                return Ok(());
            }
            let what = "Semantic analysis exception - Table or view already exists";
            let message = format!("ODPS-0130071:{what} - {name}.{}", meta.name);
            return Err(ApiError::new(409, "ObjectAlreadyExists", message));
        }
        let table = meta.name.clone();
        let made = Table::create(self.data.join(&name).join(&table), meta)?;
        schema.tables.insert(table, Arc::new(made));
        Ok(())
    }

    pub fn drop_table(&self, schema: &str, table: &str, if_exists: bool) -> ApiResult<()> {
        let (schema, table) = (schema.to_ascii_lowercase(), table.to_ascii_lowercase());
        let mut schemas = self.schemas.write();
        let Some(tables) = schemas.get_mut(&schema).map(|s| &mut s.tables) else {
            return if if_exists { Ok(()) } else { Err(no_schema(&schema)) };
        };
        let Some(found) = tables.get(&table).cloned() else {
            return if if_exists { Ok(()) } else { Err(ApiError::no_table(&schema, &table)) };
        };
        found.drop_with(|dir| self.discard(dir))?;
        tables.remove(&table);
        Ok(())
    }
}
