//! Rules of this service's source text that the compiler cannot check. Tests are exempt.

use std::fs;
use std::path::{Path, PathBuf};

/// Every source file by its path below `src`, without its inline tests.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut open, mut found) = (vec![root.clone()], Vec::new());
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).expect("below").to_string_lossy().into_owned();
            let test = ["tests.rs", "fixture.rs", "rules.rs"].iter().any(|end| name.ends_with(end));
            if !test {
                let text = fs::read_to_string(&path).expect("a text");
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
                found.push((name, code));
            }
        }
    }
    assert!(found.len() > 50, "{}", found.len());
    found
}

/// The files that contain a text, except `but`.
fn standing(text: &str, but: &[&str]) -> Vec<String> {
    let found = sources().into_iter().filter(|(name, code)| code.contains(text) && !but.contains(&name.as_str()));
    found.map(|(name, _)| name).collect()
}

#[test]
fn numbers_of_enums_stand_in_convert_alone() {
    let found = standing(" as i32", &[]).into_iter().filter(|name| !name.starts_with("convert/"));
    assert_eq!(found.collect::<Vec<_>>(), [""; 0], "records hold enums: number() or into() where a message is made");
}

#[test]
fn keys_have_named_parts() {
    for tuple in ["Table<(S", "Table<(u", "Index<(", "Scope<(", "&(key."] {
        assert_eq!(standing(tuple, &[]), [""; 0], "{tuple}: a key is declared in key.rs");
    }
}

/// Records with states are stored only where everything that depends on them is updated too.
#[test]
fn what_has_states_is_stored_in_one_place() {
    for (table, files) in [
        ("&JOBS", &["job/stored.rs"][..]),
        ("&TASKS", &["job/rollup.rs", "plan/tasks.rs", "lease/heartbeat.rs"]),
        ("&JOB_TABLES", &["job/rollup.rs", "plan/tasks.rs", "job/change.rs"]),
        ("&INTENTS", &["commit/intent.rs", "commit/handed.rs"]),
        ("&UNITS", &["commit/claim.rs", "commit/intent.rs"]),
        ("&TIMERS", &["timer/run.rs"]),
        ("&TIMER_RUNS", &["timer/run.rs"]),
    ] {
        let put = format!("put({table},");
        assert_eq!(standing(&put, files), [""; 0], "{table}");
        for file in files {
            assert!(sources().iter().any(|(name, code)| name == file && code.contains(&put)), "{file} puts no {table}");
        }
    }
}
