//! Decides which schemas and tables are in scope: by the data source's allow and deny lists and by the scope of one scan. Case is
//! ignored. Pure.

use mms_expr::{Patterns, folded};
use mms_proto::registry::v1::MigrationSettings;

use crate::record::SourceTable;

/// Always out of scope: it describes the catalog itself.
const INFORMATION_SCHEMA: &str = "information_schema";

/// The lists of a data source, and the scope of a scan.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    schema_white: Patterns,
    schema_black: Patterns,
    table_white: Patterns,
    table_black: Patterns,
    /// Case-folded names, not patterns. Empty: all.
    schemas: Vec<String>,
    /// Case-folded (schema, table), not patterns. Empty: all.
    tables: Vec<(String, String)>,
}

impl Lists {
    /// Combines the lists of these settings with the scope that `schemas` and `tables` name; both empty: everything.
    pub fn new(settings: &MigrationSettings, schemas: &[String], tables: &[SourceTable]) -> Self {
        Self {
            schema_white: Patterns::new(&settings.schema_whitelist),
            schema_black: Patterns::new(&settings.schema_blacklist),
            table_white: Patterns::new(&settings.table_whitelist),
            table_black: Patterns::new(&settings.table_blacklist),
            schemas: schemas.iter().map(|schema| folded(schema)).collect(),
            tables: tables.iter().map(|table| (folded(&table.schema), folded(&table.table))).collect(),
        }
    }

    /// Whether the scan's scope includes some table of a schema, regardless of the lists.
    pub fn reaches_schema(&self, schema: &str) -> bool {
        let schema = folded(schema);
        let named = self.schemas.is_empty() || self.schemas.contains(&schema);
        named && (self.tables.is_empty() || self.tables.iter().any(|table| table.0 == schema))
    }

    /// Whether the scan's scope includes a table, regardless of the lists.
    pub fn reaches_table(&self, schema: &str, table: &str) -> bool {
        let named = |known: &(String, String)| known.0 == folded(schema) && known.1 == folded(table);
        self.reaches_schema(schema) && (self.tables.is_empty() || self.tables.iter().any(named))
    }

    /// Whether the lists include a schema. The blacklist precedes the whitelist.
    pub fn keep_schema(&self, schema: &str) -> bool {
        folded(schema) != INFORMATION_SCHEMA
            && (self.schema_white.is_empty() || self.schema_white.fit_schema(schema))
            && !self.schema_black.fit_schema(schema)
    }

    /// Whether the lists include a table, given that they include its schema. The blacklist precedes the whitelist.
    pub fn keep_table(&self, schema: &str, table: &str) -> bool {
        (self.table_white.is_empty() || self.table_white.fitting_table(schema, table).is_some())
            && self.table_black.fitting_table(schema, table).is_none()
    }

    /// Whether a scan reads a table: the scope and the lists include it.
    pub fn take_table(&self, schema: &str, table: &str) -> bool {
        self.keep_schema(schema) && self.reaches_table(schema, table) && self.keep_table(schema, table)
    }

    /// The schemas that the scope names, case-folded.
    pub fn named_schemas(&self) -> &[String] {
        &self.schemas
    }

    /// The tables that the scope names, as case-folded (schema, table).
    pub fn named_tables(&self) -> &[(String, String)] {
        &self.tables
    }
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

    proptest! {
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
    }

    #[test]
    fn a_scope_narrows() {
        let table = |schema: &str, table: &str| SourceTable { schema: schema.to_owned(), table: table.to_owned() };
        let scoped = Lists::new(&MigrationSettings::default(), &[], &[table("A", "t.x")]);
        assert!(scoped.reaches_schema("a") && !scoped.reaches_schema("b"));
        assert!(scoped.take_table("a", "T.x") && !scoped.take_table("a", "t"));
        let schemas = Lists::new(&MigrationSettings::default(), &["b".to_owned()], &[]);
        assert!(schemas.take_table("b", "anything") && !schemas.take_table("a", "t"));
    }
}
