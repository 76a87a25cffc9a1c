//! The calls of Unity Catalog that read metadata.

use serde::Deserialize;

use crate::workspace::{name, path};
use crate::{
    CatalogInfo, DatabricksError, MetastoreAssignment, MetastoreSummary, Pages, SchemaInfo, TableInfo, TableSummary,
    Workspace,
};

pub(crate) const UNITY: &str = "/api/2.1/unity-catalog";

impl Workspace {
    /// All catalogs that the token may see.
    pub fn list_catalogs(&self) -> Pages<CatalogInfo> {
        Pages::new(self, path(UNITY, &["catalogs"]), vec![("include_browse", "true".to_owned())], "catalogs")
    }

    /// One catalog.
    pub async fn get_catalog(&self, catalog: &str) -> Result<CatalogInfo, DatabricksError> {
        self.get(&path(UNITY, &["catalogs", name("catalog", catalog)?]), &[("include_browse", "true".to_owned())]).await
    }

    /// The schemas of a catalog, its `information_schema` included. What the token may not see at all is silently missing.
    pub fn list_schemas(&self, catalog: &str) -> Result<Pages<SchemaInfo>, DatabricksError> {
        let query = vec![("catalog_name", name("catalog", catalog)?.to_owned()), ("include_browse", "true".to_owned())];
        Ok(Pages::new(self, path(UNITY, &["schemas"]), query, "schemas"))
    }

    /// The tables of a schema, with columns but without constraints.
    pub fn list_tables(&self, catalog: &str, schema: &str) -> Result<Pages<TableInfo>, DatabricksError> {
        let query = vec![
            ("catalog_name", name("catalog", catalog)?.to_owned()),
            ("schema_name", name("schema", schema)?.to_owned()),
            ("include_browse", "true".to_owned()),
        ];
        Ok(Pages::new(self, path(UNITY, &["tables"]), query, "tables"))
    }

    /// Names and kinds of a catalog's tables, up to 10 000 a page: the cheap inventory. Patterns are those of SQL's LIKE.
    pub fn list_table_summaries(
        &self,
        catalog: &str,
        schema_pattern: Option<&str>,
        table_pattern: Option<&str>,
    ) -> Result<Pages<TableSummary>, DatabricksError> {
        let mut query = vec![("catalog_name", name("catalog", catalog)?.to_owned())];
        query.extend(schema_pattern.map(|pattern| ("schema_name_pattern", pattern.to_owned())));
        query.extend(table_pattern.map(|pattern| ("table_name_pattern", pattern.to_owned())));
        Ok(Pages::new(self, path(UNITY, &["table-summaries"]), query, "tables"))
    }

    /// One table with everything: columns, properties, constraints.
    pub async fn get_table(&self, catalog: &str, schema: &str, table: &str) -> Result<TableInfo, DatabricksError> {
        let full_name = full_name(catalog, schema, table)?;
        self.get(&path(UNITY, &["tables", &full_name]), &[("include_browse", "true".to_owned())]).await
    }

    /// Whether the table exists and may be seen.
    pub async fn table_exists(&self, catalog: &str, schema: &str, table: &str) -> Result<bool, DatabricksError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            table_exists: bool,
        }
        let full_name = full_name(catalog, schema, table)?;
        let answer: Answer = self.get(&path(UNITY, &["tables", &full_name, "exists"]), &[]).await?;
        Ok(answer.table_exists)
    }

    /// The metastore of this workspace.
    pub async fn metastore_summary(&self) -> Result<MetastoreSummary, DatabricksError> {
        self.get(&path(UNITY, &["metastore_summary"]), &[]).await
    }

    /// Which metastore this workspace uses, and its default catalog.
    pub async fn current_metastore_assignment(&self) -> Result<MetastoreAssignment, DatabricksError> {
        self.get(&path(UNITY, &["current-metastore-assignment"]), &[]).await
    }
}

pub(crate) fn full_name(catalog: &str, schema: &str, table: &str) -> Result<String, DatabricksError> {
    Ok(format!("{}.{}.{}", name("catalog", catalog)?, name("schema", schema)?, name("table", table)?))
}
