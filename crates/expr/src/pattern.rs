//! Lists of schemas and tables, as names or globs of `*` and `?`: the whitelists and blacklists of data sources and jobs.
//!
//! Unity Catalog ignores the case of names, so names of a source must be folded here before they are compared.

use crate::like::glob;

/// The form of a name that is compared: lower case.
pub fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// A list of names or globs. `table` matches that table in any schema, `schema.table` only in that schema. A table's own name may
/// contain dots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// Folds the case of the patterns.
    pub fn new<T: AsRef<str>>(patterns: &[T]) -> Self {
        Self(patterns.iter().map(|pattern| folded(pattern.as_ref())).collect())
    }

    /// Whether the list is empty, and so matches nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any pattern matches a schema.
    pub fn fit_schema(&self, schema: &str) -> bool {
        let schema = folded(schema);
        self.0.iter().any(|pattern| glob(pattern, &schema))
    }

    /// The first pattern, in lower case, that matches a table.
    pub fn fitting_table(&self, schema: &str, table: &str) -> Option<&str> {
        let table = folded(table);
        let full = format!("{}.{table}", folded(schema));
        // A pattern without a dot never matches the schema: "a*" must not match all tables of schema "ab".
        let fits = |pattern: &&String| glob(pattern, &table) || (pattern.contains('.') && glob(pattern, &full));
        self.0.iter().find(fits).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition of a glob, as simply as possible.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => naive(rest, text) || (!text.is_empty() && naive(pattern, &text[1..])),
            (['?', rest @ ..], [_, tail @ ..]) => naive(rest, tail),
            ([c, rest @ ..], [t, tail @ ..]) if c == t => naive(rest, tail),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_glob_means_what_its_definition_says(pattern in "[ab*?]{0,7}", text in "[ab]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(glob(&pattern, &text), naive(&chars(&pattern), &chars(&text)));
        }

        #[test]
        fn case_makes_no_difference(schema in "[aAbBéÉ]{1,4}", table in "[aAbB.]{1,4}", pattern in "[aAbB*?.]{0,6}") {
            let plain = Patterns::new(&[&pattern]).fitting_table(&schema, &table).is_some();
            for (pattern, schema, table) in [
                (pattern.to_uppercase(), schema.to_lowercase(), table.to_uppercase()),
                (pattern.to_lowercase(), schema.to_uppercase(), table.to_lowercase()),
            ] {
                prop_assert_eq!(Patterns::new(&[pattern]).fitting_table(&schema, &table).is_some(), plain);
            }
        }
    }

    #[test]
    fn a_pattern_without_a_dot_means_the_table_in_any_schema() {
        let list = Patterns::new(&["Sales.fact_*", "dim"]);
        assert_eq!(list.fitting_table("SALES", "Fact_1"), Some("sales.fact_*"));
        assert_eq!(list.fitting_table("hr", "dim"), Some("dim"));
        assert_eq!(list.fitting_table("hr", "fact_1"), None);
        assert_eq!(Patterns::new(&["a*"]).fitting_table("ab", "t"), None);
        assert!(Patterns::new(&["x.y"]).fitting_table("s", "X.Y").is_some(), "a table's own name may have dots");
        assert!(Patterns::new(&["sales*"]).fit_schema("Sales_eu") && !Patterns::new(&["sales"]).fit_schema("sales_eu"));
    }
}
