//! Some member of the workspace uses every dependency that the workspace's manifest pins.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names at the beginning of lines in a section of a manifest.
fn names(manifest: &Path, section: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(manifest).expect("a manifest");
    let from = text.find(section).expect("the section");
    let name = |line: &str| line.split([' ', '.', '=']).next().unwrap_or_default().to_owned();
    let lines = text[from..].lines().skip(1).take_while(|line| section.is_empty() || !line.starts_with('['));
    lines.filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic())).map(name).collect()
}

#[test]
fn no_dependency_of_the_workspace_is_without_a_user() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut members = vec![root.join("tests/Cargo.toml")];
    for folder in ["crates", "services"] {
        let entries = fs::read_dir(root.join(folder)).expect("a folder");
        members.extend(entries.map(|entry| entry.expect("an entry").path().join("Cargo.toml")));
    }
    let used: BTreeSet<String> = members.iter().filter(|path| path.exists()).flat_map(|path| names(path, "")).collect();
    let pinned = names(&root.join("Cargo.toml"), "[workspace.dependencies]");
    assert!(pinned.contains("tokio") && used.contains("tokio"));
    assert_eq!(pinned.difference(&used).collect::<Vec<_>>(), [""; 0], "take them out of Cargo.toml");
}
