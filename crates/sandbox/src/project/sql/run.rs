//! Runs a statement against the catalog. The settings decide how names are resolved.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::catalog::{Catalog, DEFAULT_SCHEMA};
use super::super::error::ApiError;
use super::super::partition::{PartKey, key_of};
use super::super::schema::TableMeta;
use super::super::state::State;
use super::super::table::Table;
use super::ddl::{Change, CreateTable, Ddl, Path, Spec};
use super::tokens::SqlError;
use super::{ResultSet, ddl, select};

/// The context in which a statement runs.
pub struct Session<'a> {
    pub catalog: &'a Catalog,
    pub project: &'a str,
    /// Other projects that names may refer to.
    pub others: &'a [Arc<State>],
    /// The settings of the instance.
    pub settings: &'a BTreeMap<String, String>,
    /// The schema of the request, in which names of one part are looked up.
    pub schema: Option<&'a str>,
    /// Seconds since the epoch.
    pub now: i64,
}

/// An error of the catalog as an SQL error. One that has an ODPS code keeps it.
fn from_api(error: ApiError) -> SqlError {
    let message = error.message;
    if message.starts_with("ODPS-") { SqlError(message) } else { SqlError::semantic(&message) }
}

impl Session<'_> {
    /// Runs one statement. Only a SELECT returns rows.
    ///
    /// # Errors
    /// The message that the instance fails with.
    pub fn run(&self, sql: &str) -> Result<Option<ResultSet>, SqlError> {
        if sql.trim_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case("select")) {
            return self.select(sql).map(Some);
        }
        let (ddl, place) = ddl::parse(sql)?;
        self.define(ddl).map(|()| None).map_err(|error| error.at(place))
    }

    fn namespace(&self) -> bool {
        self.settings.get("odps.namespace.schema").is_none_or(|v| v.eq_ignore_ascii_case("true"))
    }

    fn of_project(&self, name: &str) -> Result<&Catalog, SqlError> {
        if name.eq_ignore_ascii_case(self.project) {
            return Ok(self.catalog);
        }
        let other = self.others.iter().find(|state| state.name.eq_ignore_ascii_case(name));
        other.map(|state| &state.catalog).ok_or_else(|| SqlError(format!("ODPS-0420111:Project not found - '{name}'")))
    }

    /// The catalog, schema and table that a path names.
    fn resolve(&self, path: &Path) -> Result<(&Catalog, String, String), SqlError> {
        let setting = self.settings.get("odps.default.schema").map(String::as_str);
        let default = setting.or(self.schema).unwrap_or(DEFAULT_SCHEMA);
        match path.as_slice() {
            [table] => Ok((self.catalog, default.to_owned(), table.clone())),
            [schema, table] if self.namespace() => Ok((self.catalog, schema.clone(), table.clone())),
            [project, table] => Ok((self.of_project(project)?, DEFAULT_SCHEMA.to_owned(), table.clone())),
            [project, schema, table] if self.namespace() => {
                Ok((self.of_project(project)?, schema.clone(), table.clone()))
            }
            _ => Err(SqlError::parse(1, 1, "three-part names need odps.namespace.schema=true")),
        }
    }

    fn table(&self, path: &Path) -> Result<Arc<Table>, SqlError> {
        let (catalog, schema, table) = self.resolve(path)?;
        catalog.table(&schema, &table).map_err(from_api)
    }

    fn schema_name<'p>(&self, path: &'p Path) -> Result<(&Catalog, &'p str), SqlError> {
        match path.as_slice() {
            [schema] => Ok((self.catalog, schema)),
            [project, schema] => self.of_project(project).map(|catalog| (catalog, schema.as_str())),
            _ => Err(SqlError::parse(1, 1, "a schema's name has one or two parts")),
        }
    }

    fn keys(meta: &TableMeta, specs: &[Spec]) -> Result<Vec<PartKey>, SqlError> {
        specs.iter().map(|spec| key_of(meta, spec).map_err(from_api)).collect()
    }

    fn define(&self, ddl: Ddl) -> Result<(), SqlError> {
        match ddl {
            Ddl::CreateSchema { path, if_not_exists } => {
                let (catalog, schema) = self.schema_name(&path)?;
                catalog.create_schema(schema, if_not_exists, self.now).map_err(from_api)
            }
            Ddl::DropSchema { path, if_exists } => {
                let (catalog, schema) = self.schema_name(&path)?;
                catalog.drop_schema(schema, if_exists).map_err(from_api)
            }
            Ddl::CreateTable(table) => self.create_table(*table),
            Ddl::DropTable { path, if_exists } => {
                let (catalog, schema, table) = self.resolve(&path)?;
                catalog.drop_table(&schema, &table, if_exists).map_err(from_api)
            }
            Ddl::Truncate { path, specs } => {
                let table = self.table(&path)?;
                let meta = table.meta();
                let keys = Self::keys(&meta, &specs)?;
                if keys.is_empty() && !meta.partition_columns.is_empty() {
                    return Err(SqlError::semantic("TRUNCATE of a partitioned table needs PARTITION specs"));
                }
                table.truncate((!keys.is_empty()).then_some(keys.as_slice()), self.now).map_err(from_api)
            }
            Ddl::Alter { path, change } => self.alter(&path, change),
        }
    }

    fn create_table(&self, table: CreateTable) -> Result<(), SqlError> {
        let (catalog, schema, name) = self.resolve(&table.path)?;
        let meta = TableMeta {
            id: uuid::Uuid::new_v4().simple().to_string(),
            name: name.to_ascii_lowercase(),
            columns: table.columns,
            partition_columns: table.partition_columns,
            primary_key: table.primary_key,
            comment: table.comment,
            lifecycle: table.lifecycle,
            properties: table.properties,
            created: self.now,
            last_ddl: self.now,
        };
        meta.check().map_err(|message| SqlError::semantic(&message))?;
        catalog.create_table(&schema, meta, table.if_not_exists).map_err(from_api)
    }

    fn alter(&self, path: &Path, change: Change) -> Result<(), SqlError> {
        let table = self.table(path)?;
        let meta = table.meta();
        let now = self.now;
        let partitioned = |specs: &[Spec]| {
            if meta.partition_columns.is_empty() {
                return Err(SqlError::semantic(&format!("table {} has no partitions", meta.name)));
            }
            Self::keys(&meta, specs)
        };
        match change {
            Change::Add { if_not_exists, specs } => table.add(&partitioned(&specs)?, if_not_exists, now),
            Change::Drop { if_exists, specs } => table.remove(&partitioned(&specs)?, if_exists),
            Change::Columns { if_not_exists, columns } => table.alter(|meta| {
                meta.add_columns(columns, if_not_exists)?;
                meta.last_ddl = now;
                Ok(())
            }),
            Change::Properties(properties) => table.alter(|meta| {
                meta.properties.extend(properties);
                meta.last_ddl = now;
                Ok(())
            }),
            Change::Comment(comment) => table.alter(|meta| {
                meta.comment = Some(comment);
                meta.last_ddl = now;
                meta.check().map_err(ApiError::invalid)
            }),
            Change::Lifecycle(days) => table.alter(|meta| {
                meta.lifecycle = Some(days);
                meta.last_ddl = now;
                Ok(())
            }),
        }
        .map_err(from_api)
    }

    fn select(&self, sql: &str) -> Result<ResultSet, SqlError> {
        if !sql.trim_end().ends_with(';') {
            return Err(SqlError::parse(1, 1, "a statement ends with ';'"));
        }
        if let Some(constant) = select::constant(sql) {
            return Ok(constant);
        }
        let query = select::parse(sql)?;
        self.count(&query).map_err(|error| error.at(query.place))
    }

    fn count(&self, query: &select::CountQuery) -> Result<ResultSet, SqlError> {
        let table = self.table(&query.path)?;
        let meta = table.meta();
        let refused = self.settings.get("odps.sql.allow.fullscan").is_some_and(|v| v == "false");
        if refused && query.is_full_scan() && !meta.partition_columns.is_empty() {
            let message =
                format!("{} is full scan with all partitions, please specify partition predicates", meta.name);
            return Err(SqlError::semantic(&message));
        }
        let parts: Vec<(PartKey, u64)> = table.all().into_iter().map(|(key, part)| (key, part.rows())).collect();
        query.run(&meta, &parts)
    }
}
