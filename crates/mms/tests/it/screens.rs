//! What the main commands show on a screen of 80 and of 200 columns, compared with the recordings in `tests/screens`.
//! `MMS_BLESS=1` records them anew. What differs from run to run (ids, times, ports) is replaced by a text of the same
//! length.

use std::path::{Path, PathBuf};
use std::process::Output;

use regex::Regex;
use serde_json::json;

use crate::support::{lines, mms, sandbox, source, start, table_of};

/// The screens: their columns and lines.
const SCREENS: [(&str, &str); 2] = [("80", "24"), ("200", "50")];

struct Terminal<'a> {
    dir: &'a Path,
    size: (&'a str, &'a str),
}

impl Terminal<'_> {
    fn output(&self, args: &[&str]) -> Output {
        let mut command = mms();
        command.current_dir(self.dir).env("COLUMNS", self.size.0).env("LINES", self.size.1).env("MMS_TEST_TABLES", "");
        command.args(args).output().unwrap()
    }

    /// The whole screen that a command leaves.
    fn shows(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}'), "no colours where no terminal is: {out}{err}");
        let code = output.status.code().unwrap();
        steady(&format!("$ mms {}\n{err}{out}[exit {code}]\n", args.join(" ")))
    }
}

/// Replaces what differs from run to run.
fn steady(text: &str) -> String {
    let rules = [
        // How often progress is printed depends on the machine.
        ("(?m)^(scan|job) [A-Z_]+\n", ""),
        ("([jw])[0-9a-f]{32}", "${1}0123456789abcdef0123456789abcdef"),
        (r"127\.0\.0\.1:[0-9]{4,5}", "127.0.0.1:00000"),
        ("[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}Z", "2026-01-01 00:00:00Z"),
        // Folders of this machine and its clock, up to the end of what is said about them.
        ("(?s)(STORAGE_READABLE +OK +).*?(\ncheck PROJECT)", "${1}...$2"),
        ("(?s)this machine's clock.*?other's", "..."),
        (" [0-9]+\\.[0-9](\n|$)", " 0.0$1"),
        ("--etag [0-9]+", "--etag 9"),
        (" in [0-9]+ seconds?", " in 0 seconds"),
        ("estimated: [^;\n]*", "estimated: 0 seconds"),
    ];
    let replaced =
        |text: String, (rule, by): &(&str, &str)| Regex::new(rule).unwrap().replace_all(&text, *by).into_owned();
    rules.iter().fold(text.to_owned(), replaced)
}

fn compare(name: &str, shown: &str) -> Option<String> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/screens").join(format!("{name}.txt"));
    if std::env::var_os("MMS_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, shown).unwrap();
        return None;
    }
    let recorded = std::fs::read_to_string(&file).unwrap_or_default();
    (recorded != shown).then(|| format!("{}\nrecorded:\n{recorded}\nshown:\n{shown}", file.display()))
}

/// Text is wrapped, so a line may be too long only if it is a single word, a path, or a command or statement that
/// people copy.
fn fits(line: &str, width: usize) -> bool {
    let text = line.trim_start();
    let copied =
        text.starts_with("$ ") || text.contains("mms ") || text.starts_with('`') || text.starts_with("CREATE ");
    line.chars().count() <= width || copied || !text.contains(' ')
}

#[test]
fn the_main_commands_fit_both_screens() {
    let mut differ = Vec::new();
    for size in SCREENS {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("tables");
        // Only one table moves: with several, chance decides whose task is first.
        table_of(&root, "returns_by_customer_and_day", "integer");
        table_of(&root, "durations", "interval day to second");
        std::fs::create_dir_all(root.join("odd/recent")).unwrap();
        std::fs::write(root.join("odd/recent/_object.json"), r#"{"table_type": "VIEW"}"#).unwrap();
        let ends = sandbox(&dir.path().join("project"), &root, None);
        let data = dir.path().join("data");
        let up = ["up", "--json", "--port-base", "0", "--allow-local-files", "--data-dir", data.to_str().unwrap()];
        let _suite = start(&up);
        let file = dir.path().join("source.yaml");
        std::fs::write(file, source("sales", &ends, &root, &json!({})).to_string()).unwrap();
        let terminal = Terminal { dir: dir.path(), size };
        let job = |at: usize| {
            let jobs = lines(&terminal.output(&["job", "list", "sales", "--json", "--data-dir", "data"]));
            jobs[at]["name"].as_str().unwrap().replace("dataSources/", "").replace("/jobs/", "/")
        };

        let mut screens = vec![
            ("help", terminal.shows(&["--help"])),
            ("migrate-help", terminal.shows(&["migrate", "--help"])),
            ("review", terminal.shows(&["migrate", "-f", "source.yaml", "--review", "--data-dir", "data"])),
        ];
        let first = job(0);
        terminal.output(&["job", "approve", &first, "--accept-blocked", "--data-dir", "data"]);
        terminal.output(&["job", "watch", &first, "--data-dir", "data"]);
        screens.push(("migrate", terminal.shows(&["migrate", "-f", "source.yaml", "--data-dir", "data"])));
        for (name, args) in [
            ("source-list", &["source", "list"][..]),
            ("source-check", &["source", "check", "sales"]),
            ("schema-list", &["schema", "list", "sales"]),
            ("table-list", &["table", "list", "sales"]),
            ("table-plan", &["table", "plan", "odd.durations"]),
            ("job-list", &["job", "list"]),
            ("job-tables", &["job", "tables", &first]),
            ("task-list", &["task", "list", &first]),
            ("worker-list", &["worker", "list"]),
            ("health", &["health"]),
        ] {
            screens.push((name, terminal.shows(&[args, &["--data-dir", "data"]].concat())));
        }
        let width: usize = size.0.parse().unwrap();
        for (name, shown) in screens {
            let wide: Vec<&str> = shown.lines().filter(|line| !fits(line, width)).collect();
            assert!(wide.is_empty(), "{name} at {width}: {wide:#?}");
            differ.extend(compare(&format!("{name}-{width}"), &shown));
        }
    }
    assert!(
        differ.is_empty(),
        "{} screens differ; MMS_BLESS=1 records them anew:\n{}",
        differ.len(),
        differ.join("\n")
    );
}
