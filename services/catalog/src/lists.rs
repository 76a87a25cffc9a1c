//! Which schemas and tables are taken: white lists, black lists, and the scope of one scan. Pure.

use mms_proto::registry::v1::MigrationSettings;

/// Never taken: it describes the catalog itself.
const INFORMATION_SCHEMA: &str = "information_schema";

/// The lists of a data source and the scope of a scan.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    schema_white: Vec<String>,
    schema_black: Vec<String>,
    table_white: Vec<String>,
    table_black: Vec<String>,
    /// Names, not globs. Empty: all.
    schemas: Vec<String>,
    /// `schema.table`, not globs. Empty: all.
    tables: Vec<String>,
}

impl Lists {
    /// The lists of these settings, within a scope.
    pub fn new(settings: &MigrationSettings, schemas: &[String], tables: &[String]) -> Self {
        let lower = |list: &[String]| list.iter().map(|text| text.to_lowercase()).collect();
        Self {
            schema_white: lower(&settings.schema_whitelist),
            schema_black: lower(&settings.schema_blacklist),
            table_white: lower(&settings.table_whitelist),
            table_black: lower(&settings.table_blacklist),
            schemas: lower(schemas),
            tables: lower(tables),
        }
    }

    /// Whether the scope reaches into a schema, whatever the lists say.
    pub fn reaches_schema(&self, schema: &str) -> bool {
        let schema = schema.to_lowercase();
        let named = self.schemas.is_empty() || self.schemas.contains(&schema);
        let prefix = format!("{schema}.");
        named && (self.tables.is_empty() || self.tables.iter().any(|table| table.starts_with(&prefix)))
    }

    /// Whether the scope reaches a table, whatever the lists say.
    pub fn reaches_table(&self, schema: &str, table: &str) -> bool {
        let full = format!("{schema}.{table}").to_lowercase();
        self.reaches_schema(schema) && (self.tables.is_empty() || self.tables.contains(&full))
    }

    /// Whether the lists keep a schema.
    pub fn keep_schema(&self, schema: &str) -> bool {
        let schema = schema.to_lowercase();
        let fits = |pattern: &String| glob(pattern, &schema);
        schema != INFORMATION_SCHEMA
            && (self.schema_white.is_empty() || self.schema_white.iter().any(fits))
            && !self.schema_black.iter().any(fits)
    }

    /// Whether the lists keep a table of a schema that they keep.
    pub fn keep_table(&self, schema: &str, table: &str) -> bool {
        let (schema, table) = (schema.to_lowercase(), table.to_lowercase());
        let full = format!("{schema}.{table}");
        // A pattern without a dot means the table in any schema; "a*" must not take all tables of schema "ab".
        let fits = |pattern: &String| glob(pattern, &table) || (pattern.contains('.') && glob(pattern, &full));
        (self.table_white.is_empty() || self.table_white.iter().any(fits)) && !self.table_black.iter().any(fits)
    }

    /// Whether a table is to be read.
    pub fn take_table(&self, schema: &str, table: &str) -> bool {
        self.keep_schema(schema) && self.reaches_table(schema, table) && self.keep_table(schema, table)
    }

    /// What the scope names: schemas, and tables as `schema.table`, in lower case.
    pub fn named(&self) -> impl Iterator<Item = &String> {
        self.schemas.iter().chain(&self.tables)
    }
}

/// Whether a text fits a pattern of `*` (any characters) and `?` (one character).
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                // The last star takes one character more; earlier ones never need to.
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lists(white: &[&str], black: &[&str], table_white: &[&str], table_black: &[&str]) -> Lists {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let settings = MigrationSettings {
            schema_whitelist: own(white),
            schema_blacklist: own(black),
            table_whitelist: own(table_white),
            table_blacklist: own(table_black),
            ..MigrationSettings::default()
        };
        Lists::new(&settings, &[], &[])
    }

    /// The definition, without cleverness.
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
        fn black_wins_over_white(name in "[ab]{1,4}", pattern in "[ab*]{1,4}") {
            prop_assert!(!lists(&[&name], &[&name], &[], &[]).keep_schema(&name));
            let both = lists(&[], &[], &[&pattern], &[&pattern]);
            prop_assert!(!both.keep_table("s", &name));
            let one = lists(&[], &[], &[&pattern], &[]);
            let other = lists(&[], &[], &[], &[&pattern]);
            prop_assert_ne!(one.keep_table("s", &name), other.keep_table("s", &name));
        }
    }

    #[test]
    fn schemas_and_tables() {
        let all = lists(&[], &[], &[], &[]);
        assert!(all.keep_schema("sales") && all.keep_table("sales", "t") && !all.keep_schema("information_schema"));
        assert!(!lists(&["information_schema"], &[], &[], &[]).keep_schema("Information_Schema"));
        let some = lists(&["sales*"], &["sales_tmp"], &["sales.fact_*", "dim"], &["*.fact_old"]);
        assert!(some.keep_schema("Sales_eu") && !some.keep_schema("sales_tmp") && !some.keep_schema("hr"));
        assert!(some.keep_table("sales", "fact_1") && some.keep_table("hr", "dim"));
        assert!(!some.keep_table("hr", "fact_1") && !some.keep_table("sales", "fact_old"));
        assert!(!lists(&[], &[], &["a*"], &[]).keep_table("ab", "t"), "a pattern without a dot names no schema");
    }

    #[test]
    fn a_scope_narrows() {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let scoped = Lists::new(&MigrationSettings::default(), &[], &own(&["A.t.x"]));
        assert!(scoped.reaches_schema("a") && !scoped.reaches_schema("b"));
        assert!(scoped.take_table("a", "T.x") && !scoped.take_table("a", "t"));
        let schemas = Lists::new(&MigrationSettings::default(), &own(&["b"]), &[]);
        assert!(schemas.take_table("b", "anything") && !schemas.take_table("a", "t"));
    }
}
