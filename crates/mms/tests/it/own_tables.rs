//! The path of the README from a folder of Delta tables to their rows: each line of it, as it stands there.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{free_port_base, mms_on_path, printed, table_of};

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

    /// Runs a line to its end: what it prints and says.
    fn run(&self, line: &str) -> (String, String) {
        let output = self.command(line).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{line}: {said}");
        (String::from_utf8(output.stdout).unwrap(), said)
    }

    /// Leaves a line running, once it has printed this.
    fn leave_running(&self, line: &str, until: &str) -> Left {
        // The shell makes way for the command, so that ending one ends the other.
        let mut child = self.command(&format!("exec {line}")).stdout(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(told.any(|line| line.contains(until)), "{line} ended without {until:?}");
        // Whoever stops reading would end what writes.
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
    let [build, sandbox, up, review, list] = lines[..] else { panic!("{lines:?}") };
    assert!(build.starts_with("cargo build --release -p mms"), "this program was built by now");

    let dir = tempfile::tempdir().unwrap();
    for table in ["one", "two"] {
        table_of(&dir.path().join("tables"), table, "integer");
    }
    let shell = Shell { dir: dir.path(), port_base: free_port_base() };
    let _sandbox = shell.leave_running(sandbox, "settings:");
    let _suite = shell.leave_running(up, "transfer");
    let (plan, told) = shell.run(review);
    assert!(plan.contains("2 to move"), "{plan}");
    assert!(shell.run(list).0.contains("PENDING_REVIEW"));
    shell.run(printed(&told, "start it:"));
    let job = printed(&told, "start it:").split(' ').nth(3).unwrap();
    shell.run(&format!("mms job watch {job}"));
    let (again, _) = shell.run("mms migrate -f source.yaml");
    assert!(again.contains("2 tables: 2 unchanged"), "{again}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(dir.path().join("source.yaml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it has secrets in it");
    }
}
