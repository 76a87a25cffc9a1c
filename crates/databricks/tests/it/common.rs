//! A sandbox workspace over a folder of small Delta logs, and clients of it.

use std::fs;
use std::path::Path;

use mms_databricks::{Credential, Workspace, WorkspaceUrl};
use mms_http::{HttpClient, NetworkConnection, retry::RetryPolicy};
use mms_sandbox::workspace::{Client, Workspace as Sandbox, WorkspaceConfig};
use std::time::Duration;
use tempfile::TempDir;

pub const TOKEN: &str = "dapi-of-the-test";

/// A client of `url` that tries each call twice, almost without a pause.
pub fn client(url: &str, token: &str) -> Workspace {
    client_as(url, Credential::Token(token.to_owned().into()))
}

/// The same with any credential.
pub fn client_as(url: &str, credential: Credential) -> Workspace {
    let http = HttpClient::new(&NetworkConnection::default()).unwrap();
    let url: WorkspaceUrl = url.parse().unwrap();
    Workspace::new(http, url, credential).with_policy(RetryPolicy {
        first_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(5),
        max_attempts: Some(2),
        ..RetryPolicy::default()
    })
}

/// Writes the log of an empty table with the columns `id bigint` and the partition column `day date`.
pub fn write_table(root: &Path, schema: &str, table: &str) {
    let log = root.join(schema).join(table).join("_delta_log");
    fs::create_dir_all(&log).unwrap();
    let fields = r#"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":false,\"metadata\":{}},{\"name\":\"day\",\"type\":\"date\",\"nullable\":true,\"metadata\":{\"comment\":\"of sale\"}}]}"#;
    let metadata = format!(
        r#"{{"metaData":{{"id":"id-of-{table}","format":{{"provider":"parquet"}},"schemaString":"{fields}","partitionColumns":["day"],"configuration":{{"owner":"us"}},"createdTime":1700000000000}}}}"#
    );
    fs::write(
        log.join("00000000000000000000.json"),
        format!("{{\"protocol\":{{\"minReaderVersion\":1}}}}\n{metadata}\n"),
    )
    .unwrap();
}

pub struct Running {
    pub root: TempDir,
    pub sandbox: Sandbox,
}

impl Running {
    pub async fn start(page_size: usize, tables: &[(&str, &str)]) -> Self {
        Self::with(None, page_size, tables).await
    }

    /// The same, with an OAuth client.
    pub async fn with(client: Option<Client>, page_size: usize, tables: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        for (schema, table) in tables {
            write_table(root.path(), schema, table);
        }
        let sandbox = Sandbox::start(WorkspaceConfig {
            client,
            page_size,
            ..WorkspaceConfig::new(root.path().to_owned(), "main", TOKEN)
        })
        .await
        .unwrap();
        Self { root, sandbox }
    }

    pub fn client(&self) -> Workspace {
        client(&self.sandbox.url(), TOKEN)
    }
}
