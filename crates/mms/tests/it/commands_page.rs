//! `docs/commands.md` has the help of every command as it is printed. `MMS_BLESS=1` records it anew.

use std::fmt::Write as _;
use std::path::Path;

use crate::support::run;

const HEAD: &str = "\
# Commands

What `mms` and each of its commands print with `--help`, without the options that all have: those stand at the first.

This page is made by the command itself; after a change of it, `MMS_BLESS=1 cargo test --release -p mms --test it -- commands_page` writes it
anew.
";

/// A command's help, and the names of its subcommands.
fn help(words: &[String]) -> (String, Vec<String>) {
    let args: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
    let output = run(&args);
    assert!(output.status.success(), "{words:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let below = text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = below.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let names = names.map(str::to_owned).collect();
    (text, names)
}

/// The help without the group of options that all commands have.
fn own(text: &str) -> String {
    let mut kept = String::new();
    let mut skipping = false;
    for line in text.lines() {
        if !line.starts_with(' ') && !line.is_empty() {
            skipping = line == "Global options:";
        }
        if !skipping {
            kept.push_str(line.trim_end());
            kept.push('\n');
        }
    }
    kept.trim_end().to_owned()
}

fn page(words: &mut Vec<String>, out: &mut String) {
    let (text, below) = help(words);
    let shown = if words.is_empty() { text.trim_end().to_owned() } else { own(&text) };
    let name = std::iter::once("mms").chain(words.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    write!(out, "\n## {name}\n\n```text\n{shown}\n```\n").unwrap();
    for name in below {
        words.push(name);
        page(words, out);
        words.pop();
    }
}

#[test]
fn the_page_has_the_help_of_every_command() {
    let mut made = HEAD.to_owned();
    page(&mut Vec::new(), &mut made);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    if std::env::var_os("MMS_BLESS").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    assert!(
        std::fs::read_to_string(&file).unwrap() == made,
        "docs/commands.md is not what the command prints: see its head"
    );
    assert!(made.matches("\n## mms ").count() > 30, "{made}");
}
