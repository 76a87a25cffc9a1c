//! Names as people write and read them: `sales/j1` for `dataSources/sales/jobs/j1`, `tpch.lineitem` for a table. Owns
//! both directions. What only the services know is asked of them, never guessed.

use anyhow::bail;
use mms_proto::catalog::v1::GetTableRequest;
use mms_proto::name::{
    DataSourceName, PartitionId, PartitionName, ResourceId, ResourceName, SchemaName, Segment, SourceId, TableName,
};
use mms_proto::page;
use mms_proto::registry::v1::ListDataSourcesRequest;
use mms_proto::types::v1::{SourceTable, View};
use tonic::{Code, Status};

use crate::client::Clients;
use crate::{open, scope};

/// The name of a data source, given its name or its id.
pub fn source(word: &str) -> String {
    if word.contains('/') { word.to_owned() } else { format!("dataSources/{word}") }
}

/// A name without the names of its collections: `sales/j1`, `sales/j1/t1`.
pub fn short(name: &str) -> String {
    match name.strip_prefix("dataSources/") {
        Some(rest) => ["/jobs/", "/scans/", "/tasks/", "/timers/", "/runs/"]
            .into_iter()
            .fold(rest.to_owned(), |rest, collection| rest.replace(collection, "/")),
        None => name.to_owned(),
    }
}

/// A name relative to the parent of a list: `t1` within its job, `j1` within its source. A name elsewhere is [`short`].
pub fn within(name: &str, parent: &str) -> String {
    let rest = name.strip_prefix(parent).and_then(|rest| rest.strip_prefix('/')).and_then(|rest| rest.split_once('/'));
    rest.map_or_else(|| short(name), |(_, id)| id.to_owned())
}

/// A table by the names that it has in the source: `tpch.lineitem`.
pub fn table(name: &str) -> String {
    match TableName::parse(name) {
        Ok(name) => format!("{}.{}", name.parent().id().as_str(), name.id().as_str()),
        Err(_) => name.to_owned(),
    }
}

/// Resolves a job: its name, `SOURCE/JOB`, or its id alone, which must be unique.
pub async fn job(clients: &Clients, word: &str) -> anyhow::Result<String> {
    match segments(word).as_slice() {
        [source, job] => Ok(format!("dataSources/{source}/jobs/{job}")),
        [id] => {
            let all = open::jobs(clients, "dataSources/-", View::Basic).await?;
            let end = format!("/jobs/{id}");
            let found = all.into_iter().map(|job| job.name).filter(|name| name.ends_with(&end)).collect();
            one(found, word, "job", "mms job list")
        }
        _ => Ok(word.to_owned()),
    }
}

/// Resolves a task: its name, or `SOURCE/JOB/TASK`.
pub fn task(word: &str) -> String {
    match segments(word).as_slice() {
        [source, job, task] => format!("dataSources/{source}/jobs/{job}/tasks/{task}"),
        _ => word.to_owned(),
    }
}

/// Resolves a scan: its name, or `SOURCE/SCAN`.
pub fn scan(word: &str) -> String {
    match segments(word).as_slice() {
        [source, scan] => format!("dataSources/{source}/scans/{scan}"),
        _ => word.to_owned(),
    }
}

/// Resolves a timer: its name, or `SOURCE/TIMER`.
pub fn timer(word: &str) -> String {
    match segments(word).as_slice() {
        [source, timer] => format!("dataSources/{source}/timers/{timer}"),
        _ => word.to_owned(),
    }
}

/// Resolves a table: its name, `SOURCE/SCHEMA.TABLE`, or `SCHEMA.TABLE` if only one source has it.
pub async fn source_table(clients: &Clients, word: &str) -> anyhow::Result<String> {
    if word.starts_with("dataSources/") {
        return Ok(word.to_owned());
    }
    if let Some((source, table)) = word.split_once('/') {
        return table_of(source, table);
    }
    let mut found = Vec::new();
    for source in sources(clients).await? {
        let wanted = table_of(&source, word)?;
        if has_table(clients, &wanted).await? {
            found.push(wanted);
        }
    }
    one(found, word, "table", "mms table list SOURCE")
}

/// The name of a schema, given the name that it has in the source; `-` for all schemas if none is given.
pub fn schema(source: &str, schema: Option<&str>) -> anyhow::Result<String> {
    let Some(schema) = schema else { return Ok(format!("{source}/schemas/-")) };
    let parent = DataSourceName::parse(source)?;
    let id = SourceId::new(schema).map_err(|error| anyhow::anyhow!("{schema:?} is not a schema: {error}"))?;
    Ok(SchemaName::new(parent, id).to_string())
}

/// The name of a partition, given its source (`dataSources/…`), its table and the last segment of its name.
pub fn partition(source: &str, table: &SourceTable, segment: &str) -> anyhow::Result<String> {
    let wrong = |error: String| anyhow::anyhow!("{segment:?} is not a partition: {error}");
    let id = PartitionId::parse_segment(segment).map_err(wrong)?;
    let schema = SchemaName::new(DataSourceName::parse(source)?, SourceId::new(table.schema.as_str()).map_err(wrong)?);
    let table = TableName::new(schema, SourceId::new(table.table.as_str()).map_err(wrong)?);
    Ok(PartitionName::new(table, id).to_string())
}

fn table_of(source: &str, word: &str) -> anyhow::Result<String> {
    let table = scope::source_table(word).map_err(|error| anyhow::anyhow!("{word:?} is not a table: {error}"))?;
    let wrong = |error: String| anyhow::anyhow!("{word:?} is not a table: {error}");
    let source = DataSourceName::new(ResourceId::new(source).map_err(wrong)?);
    let schema = SchemaName::new(source, SourceId::new(table.schema).map_err(wrong)?);
    Ok(TableName::new(schema, SourceId::new(table.table).map_err(wrong)?).to_string())
}

async fn sources(clients: &Clients) -> anyhow::Result<Vec<String>> {
    let all = page::all(async |page_token| {
        let request = ListDataSourcesRequest { page_size: 500, page_token, ..Default::default() };
        let page = clients.sources.clone().list_data_sources(request).await?.into_inner();
        let names = page.data_sources.iter().map(|source| short(&source.name));
        Ok::<_, Status>((names.collect(), page.next_page_token))
    });
    Ok(all.await?)
}

async fn has_table(clients: &Clients, name: &str) -> anyhow::Result<bool> {
    let request = GetTableRequest { name: name.to_owned(), ..Default::default() };
    match clients.catalog.clone().get_table(request).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(status.into()),
    }
}

fn segments(word: &str) -> Vec<&str> {
    if word.starts_with("dataSources/") { Vec::new() } else { word.split('/').collect() }
}

fn one(mut found: Vec<String>, word: &str, kind: &str, list: &str) -> anyhow::Result<String> {
    match (found.pop(), found.as_slice()) {
        (Some(name), []) => Ok(name),
        (None, _) => bail!("there is no {kind} {word:?}; see what there is with: {list}"),
        (Some(last), others) => {
            let names: Vec<String> = others.iter().chain([&last]).map(|name| short(name)).collect();
            bail!("{word:?} is {} {kind}s: {}; write one of these", names.len(), names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_for_people_and_whole_for_services() {
        assert_eq!(short("dataSources/sales/jobs/j1"), "sales/j1");
        assert_eq!(short("dataSources/sales/jobs/j1/tasks/t1"), "sales/j1/t1");
        assert_eq!(within("dataSources/sales/jobs/j1", "dataSources/sales"), "j1");
        assert_eq!(within("dataSources/sales/jobs/j1/tasks/t1", "dataSources/sales/jobs/j1"), "t1");
        assert_eq!(within("dataSources/sales/jobs/j1", "dataSources/-"), "sales/j1");
        assert_eq!(task("sales/j1/t1"), "dataSources/sales/jobs/j1/tasks/t1");
        assert_eq!(scan("sales/s1"), "dataSources/sales/scans/s1");
        assert_eq!(task("dataSources/sales/jobs/j1/tasks/t1"), "dataSources/sales/jobs/j1/tasks/t1");
        assert_eq!(table_of("sales", "tpch.line item").unwrap(), "dataSources/sales/schemas/tpch/tables/line%20item");
        assert_eq!(table("dataSources/sales/schemas/tpch/tables/line%20item"), "tpch.line item");
    }

    #[test]
    fn a_word_that_means_two_says_which() {
        let two = vec!["dataSources/a/jobs/j1".to_owned(), "dataSources/b/jobs/j1".to_owned()];
        let told = one(two, "j1", "job", "mms job list").unwrap_err().to_string();
        assert!(told.contains("a/j1, b/j1"), "{told}");
        assert!(one(Vec::new(), "j1", "job", "mms job list").unwrap_err().to_string().contains("mms job list"));
    }
}
