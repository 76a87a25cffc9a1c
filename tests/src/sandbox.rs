//! The sandbox's workspace and project as a process of their own: `mms sandbox --json`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use serde_json::{Value, json};

use crate::process::program;

/// A running sandbox.
pub struct Sandbox {
    child: Child,
    project_dir: PathBuf,
    /// The folder of the Delta tables; `None` if the test needs only the project.
    delta_root: Option<PathBuf>,
    /// Further options of the command.
    options: Vec<String>,
    told: Value,
}

/// A port that nobody listens on at present. Another test may take it first, which the caller must tolerate.
///
/// # Errors
/// No port is free.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Sandbox {
    /// Starts a sandbox whose project is kept in `<folder>/project`.
    ///
    /// # Errors
    /// The sandbox does not start.
    pub fn start(folder: &Path, delta_root: &Path) -> anyhow::Result<Self> {
        Self::start_with(folder, delta_root, &[])
    }

    /// As [`Self::start`], with further options of the command.
    ///
    /// # Errors
    /// The sandbox does not start.
    pub fn start_with(folder: &Path, delta_root: &Path, options: &[&str]) -> anyhow::Result<Self> {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Self::start_at(&folder.join("project"), Some(delta_root), [0, 0], options)
    }

    /// Serves an existing project from its folder alone.
    ///
    /// # Errors
    /// The sandbox does not start.
    pub fn serve(project_dir: &Path) -> anyhow::Result<Self> {
        Self::start_at(project_dir, None, [0, 0], Vec::new())
    }

    fn start_at(
        project_dir: &Path,
        delta_root: Option<&Path>,
        ports: [u16; 2],
        options: Vec<String>,
    ) -> anyhow::Result<Self> {
        let log = project_dir.with_extension("sandbox.log");
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(program("mms")?);
        command.args(["sandbox", "--json", "--project-dir"]).arg(project_dir);
        if let Some(root) = delta_root {
            command.arg("--delta-root").arg(root);
        }
        let [workspace, project] = ports.map(|port| port.to_string());
        command.args(["--workspace-port", &workspace, "--project-port", &project]);
        let mut child = command.args(&options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let told = serde_json::from_str(&line).with_context(|| format!("the sandbox said {line:?}"))?;
        Ok(Self {
            child,
            project_dir: project_dir.to_owned(),
            delta_root: delta_root.map(Path::to_owned),
            options,
            told,
        })
    }

    /// A text of what the sandbox printed when it started, by JSON pointer; empty if there is none.
    pub fn told(&self, pointer: &str) -> String {
        self.told.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Endpoint, project, key id and key, in the order in which the Python programs take them.
    pub fn project(&self) -> [String; 4] {
        ["/project/endpoint", "/project/name", "/project/access_id", "/project/access_key"].map(|key| self.told(key))
    }

    /// Kills the sandbox with SIGKILL.
    ///
    /// # Errors
    /// The process cannot be killed.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts the sandbox again, at the same addresses and with the same data.
    ///
    /// # Errors
    /// It does not start, or prints other addresses or credentials.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let port = |url: String| -> anyhow::Result<u16> {
            let host = url.trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned();
            Ok(host.rsplit(':').next().context("a port")?.parse()?)
        };
        let ports = [port(self.told("/workspace/url"))?, port(self.told("/project/endpoint"))?];
        let fresh = Self::start_at(&self.project_dir, self.delta_root.as_deref(), ports, self.options.clone())?;
        anyhow::ensure!(fresh.told == self.told, "a restarted sandbox tells something else");
        *self = fresh;
        Ok(())
    }

    /// The request that creates a data source for the sandbox, as proto JSON. Names are mapped as in the demo; in
    /// partition values, only the characters that the tests' own tables have and that the target, or its reader, does
    /// not accept.
    pub fn data_source(&self, id: &str) -> Value {
        let names = json!({ "other": "_", "prefix": "t_" });
        json!({
            "data_source_id": id,
            "data_source": {
                "databricks": {
                    "workspace_url": self.told("/workspace/url"),
                    "catalog": self.told("/workspace/catalog"),
                    "access_token": { "token": self.told("/workspace/token") },
                    "storage": [{ "local_files": { "root": self.delta_root } }],
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
