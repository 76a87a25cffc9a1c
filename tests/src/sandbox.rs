//! The two far ends as a process of their own: `mms sandbox --json`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use serde_json::{Value, json};

use crate::process::program;

/// A running sandbox.
pub struct Sandbox {
    child: Child,
    folder: PathBuf,
    delta_root: PathBuf,
    told: Value,
}

/// A port nobody listens on now. Whoever takes it must tolerate that another test was faster.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Sandbox {
    /// Starts one; its project lives in `<folder>/project`.
    pub fn start(folder: &Path, delta_root: &Path) -> anyhow::Result<Self> {
        Self::start_at(folder, delta_root, free_port()?, free_port()?)
    }

    fn start_at(folder: &Path, delta_root: &Path, workspace: u16, project: u16) -> anyhow::Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(folder.join("sandbox.log"))?;
        let mut child = Command::new(program("mms")?)
            .args(["sandbox", "--json", "--delta-root"])
            .arg(delta_root)
            .arg("--project-dir")
            .arg(folder.join("project"))
            .args(["--workspace-port", &workspace.to_string(), "--project-port", &project.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let told = serde_json::from_str(&line).with_context(|| format!("the sandbox said {line:?}"))?;
        Ok(Self { child, folder: folder.to_owned(), delta_root: delta_root.to_owned(), told })
    }

    /// Something it told, by JSON pointer.
    pub fn told(&self, pointer: &str) -> String {
        self.told.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Endpoint, project, key id and key, as the Python programs take them.
    pub fn project(&self) -> [String; 4] {
        ["/project/endpoint", "/project/name", "/project/access_id", "/project/access_key"].map(|key| self.told(key))
    }

    /// Kills it and starts it again at the same addresses, over the same data.
    pub fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        let port = |url: String| -> anyhow::Result<u16> {
            let host = url.trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned();
            Ok(host.rsplit(':').next().context("a port")?.parse()?)
        };
        let (workspace, project) = (port(self.told("/workspace/url"))?, port(self.told("/project/endpoint"))?);
        let fresh = Self::start_at(&self.folder, &self.delta_root, workspace, project)?;
        anyhow::ensure!(fresh.told == self.told, "a restarted sandbox tells something else");
        *self = fresh;
        Ok(())
    }

    /// The request that makes a data source of it, as proto JSON. Names are mapped as in the demo.
    pub fn data_source(&self, id: &str) -> Value {
        let names = json!({ "other": "_", "prefix": "t_" });
        json!({
            "data_source_id": id,
            "data_source": {
                "databricks": {
                    "workspace_url": self.told("/workspace/url"),
                    "catalog": self.told("/workspace/catalog"),
                    "access_token": { "token": self.told("/workspace/token") },
                    "local_files": { "root": self.delta_root },
                },
                "max_compute": {
                    "endpoint": self.told("/project/endpoint"),
                    "default_project": self.told("/project/name"),
                    "access_key": {
                        "access_key_id": self.told("/project/access_id"),
                        "access_key_secret": self.told("/project/access_key"),
                    },
                },
                "settings": {
                    "table_names": names,
                    "column_names": { "other": "_" },
                    "partition_values": { "characters": crate::tables::partition_characters() },
                    "max_partitions_per_task": 2,
                },
            },
        })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
