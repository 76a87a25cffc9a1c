//! Interpreters and tools of other languages, installed by `tests/peers` into a folder of the project.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The root folder of the project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The path of a file in `tests/interop`.
pub fn script(name: &str) -> PathBuf {
    root().join("tests/interop").join(name)
}

/// The path of a peer's program. `None`, with the line that the runner counts, if it is not installed.
pub fn find(peer: &str, program: &str) -> Option<PathBuf> {
    let path = root().join(".peers").join(program);
    if path.exists() {
        return Some(path);
    }
    let state = std::fs::read_to_string(root().join(".peers/state")).unwrap_or_default();
    let why = state.lines().find_map(|line| line.strip_prefix(&format!("{peer}="))).unwrap_or("run tests/peers");
    println!("SKIPPED {peer}: {why}");
    None
}

/// Python with PyODPS, gRPC and Arrow.
pub fn python() -> Option<PathBuf> {
    find("python", "py/bin/python")
}

/// Python with the Databricks SDK and SQL connector.
pub fn python_databricks() -> Option<PathBuf> {
    find("python-databricks", "py-databricks/bin/python")
}

/// The folder with the tools that a Go client is built with.
pub fn go() -> Option<PathBuf> {
    find("go", "go/bin/protoc-gen-go").map(|_| root().join(".peers/go"))
}

/// A command that runs a Java program of `tests/interop` from its source, with the Java libraries of the peers.
pub fn java(source: &str) -> Option<Command> {
    let libraries = find("java", "java")?;
    let mut command = Command::new("java");
    // The program runs for seconds: the second compiler and parallel collectors would cost more than they gain. Arrow
    // needs java.nio.
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "--add-opens=java.base/java.nio=ALL-UNNAMED"]);
    command.arg("-cp").arg(libraries.join("*")).arg(script(source));
    Some(command)
}

/// Runs a command to its end; if it fails, the error has its output.
pub fn run(command: &mut Command) -> anyhow::Result<Output> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    anyhow::bail!("{command:?} ended with {}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}
