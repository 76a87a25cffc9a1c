//! Runs the command as people do: as a process. Processes are killed when a test ends, however it ends.

#![allow(clippy::print_stderr, clippy::print_stdout)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A process that runs until it is told to stop.
pub struct Running {
    child: Child,
    /// The first line of its stdout, parsed.
    pub told: Value,
    rest: mpsc::Receiver<String>,
}

pub fn mms() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mms"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MMS_")) {
        command.env_remove(name);
    }
    command
}

/// Starts a process and waits for its first line.
pub fn start(args: &[&str]) -> Running {
    started(args, Stdio::inherit())
}

/// Starts a process with its log in a file, and waits for its first line.
pub fn start_logged(args: &[&str], log: &Path) -> Running {
    started(args, std::fs::File::create(log).unwrap().into())
}

fn started(args: &[&str], log: Stdio) -> Running {
    let mut child = mms().args(args).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let out = child.stdout.take().unwrap();
    let (send, rest) = mpsc::channel();
    std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    let mut running = Running { child, told: Value::Null, rest };
    let line = running.rest.recv_timeout(Duration::from_secs(60)).expect("a first line within a minute");
    running.told = serde_json::from_str(&line).expect("a line of JSON");
    running
}

impl Running {
    pub fn told(&self, pointer: &str) -> String {
        self.told
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("{pointer} in {}", self.told))
            .into()
    }

    /// Sends SIGTERM. Returns the exit code and the lines that it printed after its first one.
    pub fn stop(self) -> (Option<i32>, Vec<String>) {
        signal("TERM", &self.child);
        self.ended()
    }

    /// Waits for its end. Returns the exit code and the lines that it printed after its first one.
    pub fn ended(mut self) -> (Option<i32>, Vec<String>) {
        // Its stdout is closed when it ends.
        let rest = self.rest.iter().collect();
        (exit(&mut self.child), rest)
    }

    /// Kills it as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A process whose stderr is read line by line.
pub struct Told {
    child: Child,
    lines: mpsc::Receiver<String>,
}

/// Starts a command and follows its stderr.
pub fn tell(args: &[&str]) -> Told {
    let mut child = mms().args(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let err = child.stderr.take().unwrap();
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || BufReader::new(err).lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    Told { child, lines }
}

impl Told {
    /// The lines up to the first that has this part.
    pub fn until(&self, part: &str) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(Duration::from_secs(60)) else { panic!("no {part:?} in {told:?}") };
            told.push(line);
            if told.last().is_some_and(|line| line.contains(part)) {
                return told;
            }
        }
    }

    /// Sends SIGINT, as Ctrl-C does. Returns the exit code and what it printed afterwards.
    pub fn interrupt(mut self) -> (Option<i32>, String) {
        signal("INT", &self.child);
        let rest: Vec<String> = self.lines.iter().collect();
        (exit(&mut self.child), rest.join("\n"))
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn signal(name: &str, child: &Child) {
    // Uses the kill of the shell, since a machine may have no program of that name.
    let pid = child.id().to_string();
    let sent = Command::new("sh").args(["-c", "kill -\"$1\" \"$2\"", "sh", name, &pid]).status().unwrap();
    assert!(sent.success());
}

fn exit(child: &mut Child) -> Option<i32> {
    let late = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < late, "it does not stop");
        std::thread::yield_now();
    }
}

/// Runs a command exactly as it was printed.
pub fn run_printed(command: &str) -> Output {
    let output = mms_on_path(command).output().unwrap();
    eprintln!("{command}: {:?}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    output
}

/// A shell command for this line, with `mms` on its PATH.
pub fn mms_on_path(line: &str) -> Command {
    let dir = Path::new(env!("CARGO_BIN_EXE_mms")).parent().unwrap();
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", line]).env("PATH", path);
    command
}

/// The command after a label, as in `  watch it: mms job watch …`.
pub fn printed<'a>(told: &'a str, label: &str) -> &'a str {
    let line = told.lines().find_map(|line| line.trim_start().strip_prefix(label));
    line.unwrap_or_else(|| panic!("{label:?} in {told}")).trim()
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts the sandbox's workspace and project over these tables.
pub fn sandbox(project: &Path, delta_root: &Path, ports: Option<(&str, &str)>) -> Running {
    let mut args = vec!["sandbox", "--json", "--project-dir", project.to_str().unwrap()];
    args.extend(["--delta-root", delta_root.to_str().unwrap()]);
    if let Some((workspace, project)) = ports {
        args.extend(["--workspace-port", workspace, "--project-port", project]);
    }
    start(&args)
}

/// The CreateDataSourceRequest for this sandbox.
pub fn source(id: &str, sandbox: &Running, delta_root: &Path, settings: &Value) -> Value {
    json!({
        "dataSourceId": id,
        "dataSource": {
            "databricks": {
                "workspaceUrl": sandbox.told("/workspace/url"),
                "catalog": sandbox.told("/workspace/catalog"),
                "accessToken": {"token": sandbox.told("/workspace/token")},
                "storage": [{"localFiles": {"root": delta_root}}],
            },
            "maxCompute": {
                "endpoint": sandbox.told("/project/endpoint"),
                "accessKey": {
                    "accessKeyId": sandbox.told("/project/access_id"),
                    "accessKeySecret": sandbox.told("/project/access_key"),
                },
                "defaultProject": sandbox.told("/project/name"),
            },
            "settings": settings,
        },
    })
}

/// The client commands against the suite of a data folder.
pub struct Client<'a>(pub &'a str);

impl Client<'_> {
    pub fn run(&self, args: &[&str]) -> Output {
        run(&[args, &["--data-dir", self.0]].concat())
    }

    /// The messages that a command prints with --json. It must succeed.
    pub fn json(&self, args: &[&str]) -> Vec<Value> {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}");
        lines(&output)
    }

    /// The only message that a command prints with --json.
    pub fn one(&self, args: &[&str]) -> Value {
        let mut all = self.json(args);
        assert_eq!(all.len(), 1, "{args:?}: {all:?}");
        all.remove(0)
    }

    /// What a command prints for people. It must succeed.
    pub fn text(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The stderr of a command that must fail.
    pub fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// Runs a command to its end.
pub fn run(args: &[&str]) -> Output {
    let output = mms().args(args).output().unwrap();
    eprintln!("mms {args:?}: {:?}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    output
}

/// The JSON values on stdout, one for each line.
pub fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// Writes the log of a Delta table with one column and no rows.
pub fn table_of(root: &Path, table: &str, column_type: &str) {
    let log = root.join("odd").join(table).join("_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    let schema = serde_json::json!({"type": "struct", "fields": [
        {"name": "a", "type": column_type, "nullable": true, "metadata": {}}]});
    let protocol = serde_json::json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}});
    let metadata = serde_json::json!({"metaData": {
        "id": "11111111-1111-1111-1111-111111111111", "format": {"provider": "parquet", "options": {}},
        "schemaString": schema.to_string(), "partitionColumns": [], "configuration": {}, "createdTime": 1}});
    std::fs::write(log.join("00000000000000000000.json"), format!("{protocol}\n{metadata}\n")).unwrap();
}

/// A port base for which all ports of a suite are free.
pub fn free_port_base() -> String {
    let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).ok();
    let any = || free(0).unwrap().local_addr().unwrap().port();
    let all = |base: u16| (0..4).all(|at| free(base + at).is_some() && free(base + 100 + at).is_some());
    std::iter::repeat_with(any).find(|base| *base < 65_000 && all(*base)).unwrap().to_string()
}

/// The port in a URL.
pub fn port(url: &str) -> String {
    url.trim_end_matches("/api").rsplit(':').next().unwrap().to_owned()
}

/// The name of a resource.
pub fn name(message: &Value) -> &str {
    message["name"].as_str().unwrap()
}
