//! Decides which tables a job's scope takes, by name and pattern. Case makes no difference. Pure.

use std::collections::BTreeSet;

use mms_expr::{Patterns, folded};
use mms_proto::scheduler::v1::DecisionReason;

use crate::record::{SourceTable, Spec, TableOptions};

/// The scope's decision about one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// The table is to be moved: why, and the same in words.
    Taken(DecisionReason, String),
    /// The table is in scope, but the whitelist or blacklist excludes it: why, and the same in words.
    Left(DecisionReason, String),
    /// The table is not in scope.
    Outside,
}

/// Schema and table, case-folded for comparison.
type Folded = (String, String);

fn fold(schema: &str, table: &str) -> Folded {
    (folded(schema), folded(table))
}

/// A job's scope, prepared for deciding about many tables.
#[derive(Debug)]
pub struct Scope {
    /// The tables of a tables scope; None for a scope of schemas.
    named: Option<BTreeSet<Folded>>,
    schemas: BTreeSet<String>,
    white: Patterns,
    black: Patterns,
    /// Tables that the job names and that were not taken so far, spelled as in the job.
    missing: Vec<(Folded, SourceTable)>,
}

impl Scope {
    pub fn of(spec: &Spec) -> Self {
        let of = |table: &SourceTable| (fold(&table.schema, &table.table), table.clone());
        let options = spec.table_options.iter().map(|options| &options.table);
        Self {
            named: spec.tables_scope.then(|| spec.tables.iter().map(|table| of(table).0).collect()),
            schemas: spec.schemas.iter().map(|schema| folded(schema)).collect(),
            white: Patterns::new(&spec.table_whitelist),
            black: Patterns::new(&spec.table_blacklist),
            missing: spec.tables.iter().chain(options).map(of).collect(),
        }
    }

    /// Decides about one table, given by its source names. The whitelist selects first; then the blacklist excludes.
    pub fn choose(&mut self, schema: &str, table: &str) -> Chosen {
        let chosen = self.judge(schema, table);
        if let Chosen::Taken(..) = chosen {
            let own = fold(schema, table);
            self.missing.retain(|(name, _)| *name != own);
        }
        chosen
    }

    fn judge(&self, schema: &str, table: &str) -> Chosen {
        if let Some(named) = &self.named {
            return if named.contains(&fold(schema, table)) {
                Chosen::Taken(DecisionReason::Named, "named in the job's tables".to_owned())
            } else {
                Chosen::Outside
            };
        }
        if !self.schemas.is_empty() && !self.schemas.contains(&folded(schema)) {
            return Chosen::Outside;
        }
        if !self.white.is_empty() && self.white.fitting_table(schema, table).is_none() {
            return Chosen::Left(DecisionReason::NotInWhitelist, "not in the job's table_whitelist".to_owned());
        }
        match self.black.fitting_table(schema, table) {
            Some(pattern) => {
                Chosen::Left(DecisionReason::InBlacklist, format!("`{pattern}` of the job's table_blacklist"))
            }
            None => Chosen::Taken(DecisionReason::InSchema, format!("in schema `{schema}`")),
        }
    }

    /// Tables that the job names, in its scope or its table options, and that no call of [`Self::choose`] has taken.
    pub fn missing(&self) -> impl ExactSizeIterator<Item = &SourceTable> {
        self.missing.iter().map(|(_, table)| table)
    }
}

/// Returns the job's options for one table, if it has any.
pub fn options<'a>(spec: &'a Spec, schema: &str, table: &str) -> Option<&'a TableOptions> {
    let own = fold(schema, table);
    spec.table_options.iter().find(|options| fold(&options.table.schema, &options.table.table) == own)
}

/// Returns the positions of options whose table an earlier position names already.
pub fn doubled(options: &[SourceTable]) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let again = |(_, table): &(usize, &SourceTable)| !seen.insert(fold(&table.schema, &table.table));
    options.iter().enumerate().filter(again).map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(schema: &str, table: &str) -> SourceTable {
        SourceTable { schema: schema.to_owned(), table: table.to_owned() }
    }

    fn spec(white: &[&str], black: &[&str]) -> Spec {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Spec { table_whitelist: own(white), table_blacklist: own(black), ..Spec::default() }
    }

    fn reason(chosen: Chosen) -> Option<DecisionReason> {
        match chosen {
            Chosen::Taken(reason, _) | Chosen::Left(reason, _) => Some(reason),
            Chosen::Outside => None,
        }
    }

    #[test]
    fn white_minus_black_and_case_makes_no_difference() {
        let mut scope = Scope::of(&spec(&["Sales.*"], &["*_TMP"]));
        assert_eq!(reason(scope.choose("sales", "orders")), Some(DecisionReason::InSchema));
        assert_eq!(reason(scope.choose("SALES", "orders_tmp")), Some(DecisionReason::InBlacklist));
        assert_eq!(reason(scope.choose("hr", "people")), Some(DecisionReason::NotInWhitelist));
        let mut schemas = Scope::of(&Spec { schemas: vec!["Sales".to_owned()], ..Spec::default() });
        assert_eq!(reason(schemas.choose("sAles", "t")), Some(DecisionReason::InSchema));
        assert_eq!(schemas.choose("hr", "t"), Chosen::Outside);
    }

    #[test]
    fn a_tables_scope_takes_exactly_what_it_names() {
        let tables = vec![table("S", "t"), table("a.b", "c")];
        let mut scope = Scope::of(&Spec { tables_scope: true, tables, ..Spec::default() });
        assert_eq!(reason(scope.choose("s", "T")), Some(DecisionReason::Named));
        assert_eq!(scope.choose("s", "t2"), Chosen::Outside);
        assert_eq!(scope.choose("a", "b.c"), Chosen::Outside, "a name may have dots");
        assert_eq!(scope.missing().collect::<Vec<_>>(), [&table("a.b", "c")]);
    }

    #[test]
    fn what_is_said_of_a_table_that_is_not_taken_is_missing() {
        let said = |name: &str| TableOptions { table: table("s", name), ..TableOptions::default() };
        let spec = Spec { table_options: vec![said("T"), said("left"), said("none")], ..spec(&[], &["left"]) };
        let mut scope = Scope::of(&spec);
        scope.choose("s", "t");
        scope.choose("s", "left");
        assert_eq!(scope.missing().map(|table| table.table.as_str()).collect::<Vec<_>>(), ["left", "none"]);
        assert_eq!(options(&spec, "S", "t").map(|options| options.table.table.as_str()), Some("T"));
        assert!(options(&spec, "s", "u").is_none());
        assert_eq!(doubled(&[table("s", "t"), table("s", "u"), table("S", "T")]), [2]);
    }
}
