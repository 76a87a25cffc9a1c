//! `docs/` is a book: its summary lists every page, every link between the project's pages leads to a file, and the
//! states that the pages name are those of the contracts.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use mms_tests::peers::root;

/// The targets of a page's links, without those that leave the project.
fn links(text: &str) -> Vec<&str> {
    let found = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    found.filter(|link| !link.contains("://")).map(|link| link.split('#').next().unwrap_or_default()).collect()
}

fn pages(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    let names = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(names.into_iter().filter(|name| name.ends_with(".md")).collect())
}

#[test]
fn every_page_is_in_the_summary_and_every_link_leads_somewhere() -> anyhow::Result<()> {
    let docs = root().join("docs");
    let summary = std::fs::read_to_string(docs.join("SUMMARY.md"))?;
    let mut listed: BTreeSet<String> = links(&summary).into_iter().map(str::to_owned).collect();
    listed.insert("SUMMARY.md".to_owned());
    assert_eq!(listed, pages(&docs)?);
    let others = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "deploy/README.md",
        "tests/README.md",
        "tests/interop/README.md",
    ];
    for page in listed.iter().map(|name| format!("docs/{name}")).chain(others.map(str::to_owned)) {
        let file = root().join(&page);
        let text = std::fs::read_to_string(&file).with_context(|| page.clone())?;
        let folder = file.parent().context("a folder")?;
        for link in links(&text).into_iter().filter(|link| !link.is_empty()) {
            assert!(folder.join(link).exists(), "{page} has a link to {link}, which is not there");
        }
    }
    Ok(())
}

#[test]
fn the_states_that_concepts_names_are_those_of_the_contracts() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(root().join("docs/concepts.md"))?;
    for (what, full) in [
        ("data source", "mms.registry.v1.DataSourceState"),
        ("scan", "mms.catalog.v1.ScanState"),
        ("job", "mms.scheduler.v1.JobState"),
    ] {
        let row = text.lines().find_map(|line| line.strip_prefix(&format!("| {what} | "))).context(what)?;
        let named: Vec<&str> = row.trim_end_matches(" |").split(", ").collect();
        let states = mms_proto::descriptor::pool().get_enum_by_name(full).context(full)?;
        let all: Vec<String> = states.values().skip(1).map(|value| value.name().to_owned()).collect();
        assert!(
            all.len() == named.len()
                && all.iter().zip(&named).all(|(value, name)| value.ends_with(&format!("STATE_{name}"))),
            "{what}: {named:?} and {all:?}"
        );
    }
    Ok(())
}
