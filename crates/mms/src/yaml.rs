//! Finds the line of each key and item of a YAML text by its path. Reads positions only; checks nothing.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Lines by path, for example `dataSource.databricks.storage[0].azureSas`.
#[derive(Debug, Default)]
pub struct Lines(HashMap<String, u64>);

impl Lines {
    /// The lines of a text; none if it is not YAML, which the reader of its values reports.
    pub fn of(text: &str) -> Self {
        let mut lines = Self::default();
        if let Ok(tree) = serde_saphyr::from_str::<Tree>(text) {
            lines.add(&tree, "");
        }
        lines
    }

    /// The line at which a path begins, counted from 1.
    pub fn at(&self, path: &str) -> Option<u64> {
        self.0.get(path).copied()
    }

    fn add(&mut self, tree: &Tree, at: &str) {
        match tree {
            Tree::Map(entries) => {
                for (key, value) in entries {
                    let path = if at.is_empty() { key.value.clone() } else { format!("{at}.{}", key.value) };
                    self.0.insert(path.clone(), key.referenced.line());
                    self.add(value, &path);
                }
            }
            Tree::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.add(item, &format!("{at}[{index}]"));
                }
            }
            Tree::Leaf => {}
        }
    }
}

enum Tree {
    Map(Vec<(Spanned<String>, Tree)>),
    List(Vec<Tree>),
    Leaf,
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Tree, D::Error> {
        Tree::deserialize(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_path_and_also_in_json() {
        let lines = Lines::of("a:\n  b: 1\n  # a comment\n  list:\n    - x: 2\n      y: {z: 3}\n");
        let at = |path: &str| lines.at(path);
        assert_eq!([at("a"), at("a.b"), at("a.list[0].x"), at("a.list[0].y.z")], [Some(1), Some(2), Some(5), Some(6)]);
        assert_eq!(Lines::of("{\"a\":\n {\"b\": null}}").at("a.b"), Some(2));
        assert_eq!(Lines::of("a: [").at("a"), None);
    }
}
