//! The scope of a job from the command line, and the comparison of two scopes. Names are compared without case. Pure.

use std::collections::BTreeSet;

use mms_proto::scheduler::v1::job_spec::Scope;
use mms_proto::scheduler::v1::{SchemasScope, TablesScope};
use mms_proto::types::v1::SourceTable;

/// The named tables if there are any, else the named schemas, else everything.
pub fn of(schemas: &[String], tables: &[SourceTable]) -> Scope {
    match tables.is_empty() {
        true => Scope::Schemas(SchemasScope { schemas: schemas.to_vec(), ..Default::default() }),
        false => Scope::Tables(TablesScope { tables: tables.to_vec() }),
    }
}

/// Parses `SCHEMA.TABLE`; the schema ends at the first dot.
pub fn source_table(text: &str) -> Result<SourceTable, String> {
    let (schema, table) = text.split_once('.').ok_or("write SCHEMA.TABLE")?;
    Ok(SourceTable { schema: schema.to_owned(), table: table.to_owned() })
}

/// Whether both scopes mean the same tables.
pub fn same(a: &Scope, b: &Scope) -> bool {
    match (a, b) {
        (Scope::Schemas(a), Scope::Schemas(b)) => {
            set(&a.schemas) == set(&b.schemas)
                && set(&a.table_whitelist) == set(&b.table_whitelist)
                && set(&a.table_blacklist) == set(&b.table_blacklist)
        }
        (Scope::Tables(a), Scope::Tables(b)) => named(a) == named(b),
        _ => a == b,
    }
}

/// Whether a table may be in both scopes.
pub fn overlap(a: &Scope, b: &Scope) -> bool {
    if let (Scope::Tables(a), Scope::Tables(b)) = (a, b) {
        return !named(a).is_disjoint(&named(b));
    }
    match (schemas(a), schemas(b)) {
        (Some(a), Some(b)) => !a.is_disjoint(&b),
        _ => true,
    }
}

/// Whether a schema may have tables of the scope.
pub fn has_schema(scope: &Scope, schema: &str) -> bool {
    schemas(scope).is_none_or(|schemas| schemas.contains(&schema.to_lowercase()))
}

/// Whether a table is in the scope, judged by its name.
pub fn has_table(scope: &Scope, schema: &str, table: &str) -> bool {
    match scope {
        Scope::Tables(tables) => named(tables).contains(&(schema.to_lowercase(), table.to_lowercase())),
        _ => has_schema(scope, schema),
    }
}

/// The schemas of a scope; `None` means any.
fn schemas(scope: &Scope) -> Option<BTreeSet<String>> {
    match scope {
        Scope::Schemas(scope) if scope.schemas.is_empty() => None,
        Scope::Schemas(scope) => Some(set(&scope.schemas)),
        Scope::Tables(scope) => Some(scope.tables.iter().map(|table| table.schema.to_lowercase()).collect()),
        Scope::Partitions(_) => None,
    }
}

fn set(words: &[String]) -> BTreeSet<String> {
    words.iter().map(|word| word.to_lowercase()).collect()
}

fn named(scope: &TablesScope) -> BTreeSet<(String, String)> {
    scope.tables.iter().map(|table| (table.schema.to_lowercase(), table.table.to_lowercase())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemas_of(schemas: &[&str]) -> Scope {
        of(&schemas.iter().map(|&schema| schema.to_owned()).collect::<Vec<_>>(), &[])
    }

    fn tables_of(tables: &[&str]) -> Scope {
        of(&[], &tables.iter().map(|table| source_table(table).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn order_and_case_make_no_other_scope() {
        assert!(same(&schemas_of(&["a", "B"]), &schemas_of(&["b", "A"])));
        assert!(same(&tables_of(&["a.t", "a.u"]), &tables_of(&["A.u", "a.T"])));
        assert!(!same(&schemas_of(&["a"]), &schemas_of(&[])));
        assert!(!same(&tables_of(&["a.t"]), &schemas_of(&["a"])));
    }

    #[test]
    fn scopes_overlap_where_a_table_may_be_of_both() {
        assert!(overlap(&schemas_of(&[]), &tables_of(&["a.t"])));
        assert!(overlap(&schemas_of(&["a"]), &tables_of(&["A.t"])));
        assert!(!overlap(&schemas_of(&["b"]), &tables_of(&["a.t"])));
        assert!(!overlap(&tables_of(&["a.u"]), &tables_of(&["a.t"])));
        assert!(!overlap(&schemas_of(&["a", "b"]), &schemas_of(&["c"])));
    }
}
