//! Somebody else at the target, who drops, creates and counts tables with the project's own keys.

use std::time::Duration;

use anyhow::Context;
use arrow::array::{Int64Array, StringArray};
use mms_http::{HttpClient, NetworkConnection, Url};
use mms_maxcompute::metadata::TableInfo;
use mms_maxcompute::name::{ProjectName, SchemaName, TableName};
use mms_maxcompute::sql::Statement;
use mms_maxcompute::table::TableRef;
use mms_maxcompute::{Account, Project, ProjectConfig, SqlRows};

use crate::sandbox::Sandbox;

/// How long a statement may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of the target that is not the suite.
pub struct Outsider {
    project: Project,
    name: ProjectName,
}

impl Outsider {
    /// A client of a sandbox's project.
    ///
    /// # Errors
    /// What the sandbox printed does not describe a project.
    pub fn at(sandbox: &Sandbox) -> anyhow::Result<Self> {
        Self::with(sandbox, |_| {})
    }

    /// As [`Self::at`], with a changed configuration.
    ///
    /// # Errors
    /// What the sandbox printed does not describe a project.
    pub fn with(sandbox: &Sandbox, change: impl FnOnce(&mut ProjectConfig)) -> anyhow::Result<Self> {
        mms_http::install_crypto_provider();
        let [endpoint, name, id, key] = sandbox.project();
        let name = ProjectName::new(name)?;
        let http = HttpClient::new(&NetworkConnection::default())?;
        let mut config = ProjectConfig::new(Url::parse(&endpoint)?, name.clone(), Account::new(id, key.into()));
        change(&mut config);
        Ok(Self { project: Project::new(http, config)?, name })
    }

    /// The name of a table as statements write it.
    pub fn table(&self, schema: &str, table: &str) -> String {
        format!("`{}`.`{schema}`.`{table}`", self.name)
    }

    /// Runs a statement to its end.
    ///
    /// # Errors
    /// The statement fails.
    pub async fn run(&self, sql: &str) -> anyhow::Result<SqlRows> {
        let statement = Statement::new(sql.to_owned(), uuid::Uuid::new_v4(), true);
        self.project.run(&statement, PATIENCE).await.with_context(|| sql.to_owned())
    }

    /// The number of rows in a table.
    ///
    /// # Errors
    /// The statement fails, or its result is not a number.
    pub async fn count(&self, schema: &str, table: &str) -> anyhow::Result<u64> {
        let rows = self.run(&format!("SELECT COUNT(*) FROM {};", self.table(schema, table))).await?;
        rows.single_number().context("a count")
    }

    fn reference(&self, schema: &str, table: &str) -> anyhow::Result<TableRef> {
        let (schema, table) = (Some(SchemaName::new(schema)?), TableName::new(table)?);
        Ok(TableRef { project: self.name.clone(), schema, table })
    }

    /// A table as the project describes it; `None` if it does not exist.
    ///
    /// # Errors
    /// The project does not answer.
    pub async fn info(&self, schema: &str, table: &str) -> anyhow::Result<Option<TableInfo>> {
        Ok(self.project.table(&self.reference(schema, table)?).await?)
    }

    /// The partitions of a table, as `name=value`.
    ///
    /// # Errors
    /// There is no such table.
    pub async fn partitions(&self, schema: &str, table: &str) -> anyhow::Result<Vec<String>> {
        let found = self.project.partitions(&self.reference(schema, table)?).await?;
        Ok(found.iter().map(|partition| partition.spec.to_string()).collect())
    }

    /// The ids of all rows of a partitioned table, sorted, so that duplicate rows can be seen.
    ///
    /// # Errors
    /// There is no such table, or it cannot be read.
    pub async fn ids(&self, schema: &str, table: &str) -> anyhow::Result<Vec<i64>> {
        let table = self.reference(schema, table)?;
        let tunnel = self.project.tunnel().await?;
        let mut found = Vec::new();
        for partition in self.project.partitions(&table).await? {
            for batch in tunnel.create_download(&table, Some(&partition.spec)).await?.read_all().await? {
                let ids = batch.column_by_name("id").context("a column")?;
                let ids = ids.as_any().downcast_ref::<Int64Array>().context("bigint")?;
                found.extend(ids.iter().flatten());
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The values of a text column of a table without partitions, in the order of its `id`.
    ///
    /// # Errors
    /// There is no such table or column, or it cannot be read.
    pub async fn texts(&self, schema: &str, table: &str, column: &str) -> anyhow::Result<Vec<Option<String>>> {
        let table = self.reference(schema, table)?;
        let session = self.project.tunnel().await?.create_download(&table, None).await?;
        let mut found = Vec::new();
        for batch in session.read_all().await? {
            let ids = batch.column_by_name("id").context("a column")?;
            let ids = ids.as_any().downcast_ref::<Int64Array>().context("bigint")?;
            let texts = batch.column_by_name(column).context("the column")?;
            let texts = texts.as_any().downcast_ref::<StringArray>().context("string")?;
            found.extend(ids.iter().zip(texts.iter().map(|text| text.map(str::to_owned))));
        }
        found.sort_unstable();
        Ok(found.into_iter().map(|(_, text)| text).collect())
    }
}
