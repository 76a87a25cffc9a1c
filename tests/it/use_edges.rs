//! How the files of each service use each other: at most two files form a circle, and records, keys and tables use
//! nothing above them. Read from the source: what `use` names, and full paths in the code. Tests may use anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The services, and the modules of each that keep data: records and their keys, tables, and what changing them needs.
const SERVICES: [(&str, &[&str]); 4] = [
    ("registry", &["record", "store", "state"]),
    ("catalog", &["record", "store"]),
    ("scheduler", &["record", "store", "key", "moment"]),
    ("transfer", &[]),
];

/// A module's path in its crate, the names joined by `::`; empty for the crate's root.
type Module = String;

struct Service {
    name: String,
    /// The modules that each module uses.
    uses: BTreeMap<Module, BTreeSet<Module>>,
}

impl Service {
    fn read(source: &Path) -> Self {
        let mut texts = BTreeMap::new();
        gather(source, source, &mut texts);
        let known: BTreeSet<Module> = texts.keys().cloned().collect();
        let uses = texts.iter().map(|(module, text)| (module.clone(), used(module, text, &known))).collect();
        let name = source.parent().and_then(Path::file_name).expect("a folder of a service");
        Self { name: name.to_string_lossy().into_owned(), uses }
    }

    /// The modules that can be reached from one; that includes the module itself only if it is part of a circle.
    fn reach<'a>(&'a self, from: &'a Module) -> BTreeSet<&'a Module> {
        let mut found = BTreeSet::new();
        let mut open = vec![from];
        while let Some(at) = open.pop() {
            open.extend(self.uses[at].iter().filter(|next| found.insert(*next)));
        }
        found
    }

    /// The groups of modules that use each other.
    fn circles(&self) -> BTreeSet<BTreeSet<&Module>> {
        let reach: BTreeMap<&Module, _> = self.uses.keys().map(|module| (module, self.reach(module))).collect();
        let circle = |module: &Module| {
            let back = |other: &&&Module| reach[**other].contains(module);
            reach[module].iter().filter(back).copied().collect::<BTreeSet<_>>()
        };
        self.uses.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
    }
}

fn is_test(file: &Path) -> bool {
    let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    name == "tests" || name.ends_with("_tests") || name == "fixture" || name == "rules_of_the_source"
}

fn gather(root: &Path, folder: &Path, texts: &mut BTreeMap<Module, String>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            gather(root, &path, texts);
        } else if path.extension().is_some_and(|kind| kind == "rs") && !is_test(&path) {
            let below = path.strip_prefix(root).expect("below").with_extension("");
            let names: Vec<_> = below.iter().map(|name| name.to_string_lossy().into_owned()).collect();
            let names: &[String] = match names.last().map(String::as_str) {
                Some("main") => continue,
                Some("lib" | "mod") => &names[..names.len() - 1],
                _ => &names,
            };
            texts.insert(names.join("::"), code(&fs::read_to_string(&path).expect("a text")));
        }
    }
}

/// The code of a file without comments and without its inline tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn used(module: &str, text: &str, known: &BTreeSet<Module>) -> BTreeSet<Module> {
    let mut paths = Vec::new();
    let mut rest = String::new();
    let mut statement: Option<String> = None;
    for line in text.lines() {
        let begins = ["use ", "pub use ", "pub(crate) use ", "pub(super) use "];
        let begun = begins.iter().find_map(|begin| line.strip_prefix(begin));
        match (&mut statement, begun) {
            (Some(open), _) => open.push_str(line),
            (None, Some(begun)) => statement = Some(begun.to_owned()),
            (None, None) => {
                rest.push_str(line);
                rest.push('\n');
            }
        }
        if statement.as_ref().is_some_and(|open| open.contains(';')) {
            expand("", statement.take().unwrap_or_default().trim_end_matches(';'), &mut paths);
        }
    }
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    paths.extend(
        rest.split(|c| !word(c)).filter(|text| text.contains("::")).map(|text| text.trim_matches(':').to_owned()),
    );
    let found = paths.iter().filter_map(|path| resolve(module, path, known));
    found.filter(|other| other != module).collect()
}

/// Expands the tree of a `use` into paths.
fn expand(before: &str, tree: &str, paths: &mut Vec<String>) {
    let (mut depth, mut start) = (0, 0);
    let mut parts = Vec::new();
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&tree[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tree[start..]);
    for part in parts.into_iter().map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('{') {
            Some((path, inner)) => {
                let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
                expand(&format!("{before}{path}"), inner, paths);
            }
            None => paths.push(format!("{before}{}", part.split(" as ").next().unwrap_or_default())),
        }
    }
}

/// The module that a path names, if it is one of the crate's.
fn resolve(module: &str, path: &str, known: &BTreeSet<Module>) -> Option<Module> {
    let mut at: Vec<&str> = module.split("::").filter(|name| !name.is_empty()).collect();
    let mut names = path.split("::").peekable();
    match *names.peek()? {
        "crate" => {
            at.clear();
            names.next();
        }
        "self" => drop(names.next()),
        "super" => {
            while names.next_if(|name| *name == "super").is_some() {
                at.pop();
            }
        }
        // A child module, or another crate.
        child => {
            let path = at.iter().copied().chain([child]).collect::<Vec<_>>().join("::");
            if !known.contains(&path) {
                return None;
            }
        }
    }
    for name in names {
        let deeper = at.iter().copied().chain([name]).collect::<Vec<_>>().join("::");
        if !known.contains(&deeper) {
            break;
        }
        at.push(name);
    }
    let found = at.join("::");
    // Items of the root assemble the service; no module below uses them.
    (!found.is_empty()).then_some(found)
}

fn services() -> Vec<Service> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the project").join("services");
    SERVICES.iter().map(|(name, _)| Service::read(&root.join(name).join("src"))).collect()
}

#[test]
fn no_circle_of_more_than_two_files() {
    let mut found = Vec::new();
    for service in services() {
        assert!(service.uses.len() > 10, "{}: {:?}", service.name, service.uses.keys());
        let large = service.circles().into_iter().filter(|circle| circle.len() > 2);
        found.extend(large.map(|circle| format!("{}: {circle:?}", service.name)));
    }
    assert!(found.is_empty(), "files that use each other in a circle:\n{}", found.join("\n"));
}

#[test]
fn what_is_kept_knows_nothing_above_it() {
    let mut found = Vec::new();
    for (service, (_, names)) in services().iter().zip(SERVICES) {
        let kept = |module: &str| names.contains(&module.split("::").next().unwrap_or_default());
        assert!(names.iter().all(|name| service.uses.contains_key(*name)), "{}: {names:?}", service.name);
        for (module, uses) in service.uses.iter().filter(|(module, _)| kept(module)) {
            let above = uses.iter().filter(|other| !kept(other));
            found.extend(above.map(|other| format!("{}: {module} uses {other}", service.name)));
        }
    }
    assert!(found.is_empty(), "what is kept uses what keeps it:\n{}", found.join("\n"));
}

#[test]
fn the_reader_sees_what_is_used() {
    let known: BTreeSet<Module> = ["a", "a::b", "a::c", "d", "d::e"].map(str::to_owned).into();
    let text =
        "use crate::d::{self, e::{X, Y as Z},\n    W};\nuse super::c;\nuse std::fmt;\nfn f() { crate::a::g(); }\n";
    let found = used("a::b", &code(text), &known);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "a::c", "d", "d::e"]);
    assert_eq!(used("a", "pub use b::X;\nuse c::Y;", &known).into_iter().collect::<Vec<_>>(), ["a::b", "a::c"]);
    let tests = "use super::c;\n#[cfg(test)]\nmod tests {\n    use crate::d;\n}\n";
    assert_eq!(used("a::b", &code(tests), &known).into_iter().collect::<Vec<_>>(), ["a::c"]);
    let service = Service {
        name: "s".to_owned(),
        uses: [("a", vec!["b"]), ("b", vec!["c"]), ("c", vec!["a", "d"]), ("d", vec!["d"])]
            .map(|(module, uses)| (module.to_owned(), uses.into_iter().map(str::to_owned).collect()))
            .into(),
    };
    let sizes: Vec<usize> = service.circles().iter().map(BTreeSet::len).collect();
    assert_eq!(sizes, [3, 1]);
}
