//! The folder `<root>/<schema>/<table>/_delta_log`, read again for each request. The members of a table's
//! `_object.json`, if it has one, replace those of the object that Unity Catalog returns. This makes it a view, a
//! foreign table, or a table with a row filter.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

/// A folder of schemas.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    pub fn open(root: &Path) -> io::Result<Self> {
        let root = fs::canonicalize(root)?;
        fs::read_dir(&root)?;
        Ok(Self { root })
    }

    /// Names of the schemas: the folders that are not tables themselves.
    pub fn schemas(&self) -> io::Result<Vec<String>> {
        folders(&self.root, |path| !is_table(path))
    }

    pub fn has_schema(&self, schema: &str) -> bool {
        is_name(schema) && self.root.join(schema).is_dir() && !is_table(&self.root.join(schema))
    }

    pub fn tables(&self, schema: &str) -> io::Result<Vec<String>> {
        if !self.has_schema(schema) {
            return Ok(Vec::new());
        }
        folders(&self.root.join(schema), is_table)
    }

    /// The folder of a table, if it exists.
    pub fn table(&self, schema: &str, table: &str) -> Option<PathBuf> {
        if !self.has_schema(schema) || !is_name(table) {
            return None;
        }
        let path = self.root.join(schema).join(table);
        is_table(&path).then_some(path)
    }

    /// Finds `schema.table`, where either name may contain dots.
    pub fn find(&self, dotted: &str) -> Option<(String, String, PathBuf)> {
        dotted.match_indices('.').find_map(|(at, _)| {
            let (schema, table) = (&dotted[..at], &dotted[at + 1..]);
            Some((schema.to_owned(), table.to_owned(), self.table(schema, table)?))
        })
    }
}

/// The file whose members replace those made from the log. A null removes a member.
const OBJECT: &str = "_object.json";

fn is_table(path: &Path) -> bool {
    path.join("_delta_log").is_dir() || path.join(OBJECT).is_file()
}

/// The members of a table's `_object.json`; empty without that file.
pub fn shown(path: &Path) -> io::Result<Map<String, Value>> {
    match fs::read(path.join(OBJECT)) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Map::new()),
        Err(error) => Err(error),
    }
}

/// Whether a name is a single path component: not empty, not `..`, without a separator, and not hidden.
fn is_name(name: &str) -> bool {
    let mut steps = Path::new(name).components();
    let one_step = matches!((steps.next(), steps.next()), (Some(Component::Normal(step)), None) if step == name);
    one_step && !name.starts_with('.')
}

fn folders(dir: &Path, keep: impl Fn(&Path) -> bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        match path.file_name().and_then(|name| name.to_str()) {
            Some(name) if is_name(name) && path.is_dir() && keep(&path) => names.push(name.to_owned()),
            Some(_) => {}
            None => tracing::warn!(path = %path.display(), "folder left out of the list: its name is not UTF-8"),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_the_folder_is_found() {
        let dir = tempfile::tempdir().unwrap();
        for table in ["s/t", "s/a b%20ü", "s.1/t.2", "s/.hidden"] {
            fs::create_dir_all(dir.path().join("root").join(table).join("_delta_log")).unwrap();
        }
        fs::create_dir_all(dir.path().join("root/s/no_table")).unwrap();
        fs::create_dir_all(dir.path().join("root/s/view")).unwrap();
        fs::write(dir.path().join("root/s/view/_object.json"), r#"{ "table_type": "VIEW" }"#).unwrap();
        fs::create_dir_all(dir.path().join("outside/t/_delta_log")).unwrap();
        let folder = Folder::open(&dir.path().join("root")).unwrap();
        let mut tables = folder.tables("s").unwrap();
        tables.sort();
        assert_eq!(tables, ["a b%20ü", "t", "view"]);
        assert_eq!(shown(&folder.table("s", "view").unwrap()).unwrap()["table_type"], "VIEW");
        assert!(shown(&folder.table("s", "t").unwrap()).unwrap().is_empty());
        assert!(folder.table("../outside", "t").is_none() && folder.table("s", "../s/t").is_none());
        assert!(folder.table("", "s").is_none() && folder.table("s", "no_table").is_none());
        let (schema, table, _) = folder.find("s.1.t.2").unwrap();
        assert_eq!((schema.as_str(), table.as_str()), ("s.1", "t.2"));
        assert!(Folder::open(&dir.path().join("nowhere")).is_err());
    }
}
