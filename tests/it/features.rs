//! `docs/features.md` names only what exists: each row's methods and fields are in the contract, its commands in the page of
//! commands, its tests in their files. A row that claims a feature names a test.

use std::collections::BTreeSet;

use anyhow::Context;
use mms_proto::descriptor;
use mms_tests::peers::root;

/// `Service.Method` and `Message.field` of the contract, as the page spells them.
fn contract() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for service in descriptor::pool().services() {
        names.extend(service.methods().map(|method| format!("{}.{}", service.name(), method.name())));
    }
    for message in descriptor::pool().all_messages().filter(|message| message.package_name().starts_with("mms.")) {
        names.extend(message.fields().map(|field| format!("{}.{}", message.name(), field.name())));
    }
    names
}

/// The texts in backticks in a cell.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The names that rows may use.
struct Known {
    contract: BTreeSet<String>,
    commands: BTreeSet<String>,
}

impl Known {
    fn read() -> anyhow::Result<Self> {
        let page = std::fs::read_to_string(root().join("docs/commands.md"))?;
        let commands = page.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
        Ok(Self { contract: contract(), commands })
    }

    /// Returns what is wrong with a row of the page; each fault names what it is about.
    fn faults(&self, row: &str) -> Vec<String> {
        let cells: Vec<&str> = row.trim_start_matches("| ").trim_end_matches(" |").split(" | ").collect();
        let [_, contract, commands, tests, state] = cells[..] else {
            return vec![format!("{} cells instead of 5", cells.len())];
        };
        let mut faults = Vec::new();
        for name in quoted(contract).into_iter().filter(|name| !self.contract.contains(*name)) {
            faults.push(format!("the contract has no {name}"));
        }
        for name in quoted(commands).into_iter().filter(|name| !self.commands.contains(*name)) {
            faults.push(format!("docs/commands.md has no {name}"));
        }
        let tests = quoted(tests);
        for pair in tests.chunks(2) {
            let [file, test] = pair else {
                faults.push(format!("{pair:?} is not a file and a test"));
                continue;
            };
            match std::fs::read_to_string(root().join(file)) {
                Err(error) => faults.push(format!("{file}: {error}")),
                Ok(text) if text.contains(&format!("fn {test}(")) => {}
                Ok(_) => faults.push(format!("{file} has no test {test}")),
            }
        }
        let not_yet = state == "not yet" || state.starts_with("not yet: ");
        if !not_yet && state != "yes" && !state.starts_with("in part: ") {
            faults.push(format!("{state:?} is no state"));
        }
        if !not_yet && tests.is_empty() {
            faults.push("no test shows it".to_owned());
        }
        faults
    }
}

#[test]
fn each_row_names_what_there_is() -> anyhow::Result<()> {
    let page = std::fs::read_to_string(root().join("docs/features.md"))?;
    let known = Known::read()?;
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| feature |"));
    let rows: Vec<&str> = rows.collect();
    let faults: Vec<String> =
        rows.iter().flat_map(|row| known.faults(row).into_iter().map(move |fault| format!("{fault}: {row}"))).collect();
    anyhow::ensure!(faults.is_empty(), "{}", faults.join("\n"));
    anyhow::ensure!(rows.len() > 100, "{} rows", rows.len());
    Ok(())
}

#[test]
fn a_wrong_name_is_a_fault() -> anyhow::Result<()> {
    let known = Known::read()?;
    let good =
        "| jobs | `JobService.CreateJob` | `mms job create` | `tests/it/features.rs` `a_wrong_name_is_a_fault` | yes |";
    assert_eq!(known.faults(good), Vec::<String>::new());
    for (right, wrong) in [
        ("JobService.CreateJob", "JobService.MakeJob"),
        ("mms job create", "mms job make"),
        ("tests/it/features.rs", "tests/it/nowhere.rs"),
        ("`a_wrong_name_is_a_fault`", "`a_test_of_another_name`"),
        ("`tests/it/features.rs` `a_wrong_name_is_a_fault`", "—"),
        ("| yes |", "| perhaps |"),
    ] {
        let faults = known.faults(&good.replace(right, wrong));
        let fault = faults.first().with_context(|| format!("{wrong} was not found"))?;
        assert_eq!(faults.len(), 1, "{fault}");
    }
    Ok(())
}
