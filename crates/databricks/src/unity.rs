//! Reads the metadata of Unity Catalog.

use crate::workspace::{name, path};
use crate::{CatalogInfo, DatabricksError, Pages, SchemaInfo, TableInfo, Workspace};

pub(crate) const UNITY: &str = "/api/2.1/unity-catalog";

impl Workspace {
    /// Reads one catalog.
    pub async fn get_catalog(&self, catalog: &str) -> Result<CatalogInfo, DatabricksError> {
        self.get(&path(UNITY, &["catalogs", name("catalog", catalog)?]), &[("include_browse", "true".to_owned())]).await
    }

    /// Lists the schemas of a catalog, with its `information_schema`. Schemas that the token's owner may not even browse are
    /// missing without a notice.
    pub fn list_schemas(&self, catalog: &str) -> Result<Pages<SchemaInfo>, DatabricksError> {
        let query = vec![("catalog_name", name("catalog", catalog)?.to_owned()), ("include_browse", "true".to_owned())];
        Ok(Pages::new(self, path(UNITY, &["schemas"]), query, "schemas"))
    }

    /// Lists the tables of a schema, with columns but without constraints.
    pub fn list_tables(&self, catalog: &str, schema: &str) -> Result<Pages<TableInfo>, DatabricksError> {
        let query = vec![
            ("catalog_name", name("catalog", catalog)?.to_owned()),
            ("schema_name", name("schema", schema)?.to_owned()),
            ("include_browse", "true".to_owned()),
        ];
        Ok(Pages::new(self, path(UNITY, &["tables"]), query, "tables"))
    }

    /// Reads one table with its columns, properties and constraints.
    pub async fn get_table(&self, catalog: &str, schema: &str, table: &str) -> Result<TableInfo, DatabricksError> {
        let full_name = full_name(catalog, schema, table)?;
        self.get(&path(UNITY, &["tables", &full_name]), &[("include_browse", "true".to_owned())]).await
    }
}

pub(crate) fn full_name(catalog: &str, schema: &str, table: &str) -> Result<String, DatabricksError> {
    Ok(format!("{}.{}.{}", name("catalog", catalog)?, name("schema", schema)?, name("table", table)?))
}
