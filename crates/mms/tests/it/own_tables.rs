//! The README's path from a folder of Delta tables to their rows at the target: runs each line as it is written there,
//! and the one that is printed in between. With the clone that makes eight.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{free_port_base, mms_on_path, printed};

const README: &str = include_str!("../../../../README.md");

struct Shell<'a> {
    dir: &'a Path,
    port_base: String,
}

impl Shell<'_> {
    fn command(&self, line: &str) -> Command {
        let mut command = mms_on_path(line);
        command.current_dir(self.dir).env("MMS_PORT_BASE", &self.port_base);
        command
    }

    /// Runs a line to its end and returns its stdout and its stderr.
    fn run(&self, line: &str) -> (String, String) {
        let output = self.command(line).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{line}: {said}");
        (String::from_utf8(output.stdout).unwrap(), said)
    }

    /// Starts a line and leaves it running once it has printed `until`.
    fn leave_running(&self, line: &str, until: &str) -> Left {
        // exec replaces the shell by the command, so that ending one ends the other.
        let mut child = self.command(&format!("exec {line}")).stdout(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(told.any(|line| line.contains(until)), "{line} ended without {until:?}");
        // If nobody reads its output, the command would end or block.
        std::thread::spawn(move || told.count());
        Left(child)
    }
}

struct Left(Child);

impl Drop for Left {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn each_line_of_the_readme_leads_on() {
    let (_, section) = README.split_once("## Try it on your own tables").unwrap();
    let block = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let lines: Vec<&str> = block.lines().map(|line| line.split(" #").next().unwrap().trim()).collect();
    let [build, sandbox, up, review, list, migrate] = lines[..] else { panic!("{lines:?}") };
    assert!(build.starts_with("cargo build --release -p mms"), "this program was built by now");

    let dir = tempfile::tempdir().unwrap();
    let written = mms_sandbox::samples::tpch(&dir.path().join("tables"), 0.001, 1_700_000_000_000).unwrap();
    let shell = Shell { dir: dir.path(), port_base: free_port_base() };
    let _sandbox = shell.leave_running(sandbox, "settings:");
    let _suite = shell.leave_running(up, "transfer");
    let (plan, told) = shell.run(review);
    assert!(plan.contains(&format!("{} to move", written.len())), "{plan}");
    assert!(shell.run(list).0.contains("PENDING_REVIEW"));
    shell.run(printed(&told, "start it:"));
    let (moved, _) = shell.run(migrate);
    for table in &written {
        let name = format!("{}.{} ", table.schema, table.name);
        let row = moved.lines().find(|line| line.starts_with(&name)).unwrap_or_else(|| panic!("{name} in {moved}"));
        let rows = row.replace(',', "");
        assert!(rows.split_whitespace().any(|word| word == table.rows.to_string()), "{} rows: {row}", table.rows);
        assert!(row.contains("DONE") || row.contains("UNCHANGED"), "{row}");
    }
    let (again, _) = shell.run(migrate);
    assert!(again.contains(&format!("{0} tables: {0} unchanged", written.len())), "{again}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(dir.path().join("source.yaml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it has secrets in it");
    }
}
