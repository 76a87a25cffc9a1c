//! Converts limits: how many tasks of single schemas and tables run at once, and how fast they read.

use mms_expr::folded;
use mms_proto::types::v1 as pb;

use crate::record::{Concurrency, Rate, TableBound};

/// The bounds of a request or a data source, names case-folded. If one schema or table is named twice in different
/// case, the lesser bound holds.
pub fn concurrency_from(given: pb::Concurrency) -> Concurrency {
    let mut own =
        Concurrency { per_schema: given.tasks_per_schema, per_table: given.tasks_per_table, ..Concurrency::default() };
    for (schema, tasks) in given.schemas {
        let bound = own.schemas.entry(folded(&schema)).or_insert(tasks);
        *bound = tasks.min(*bound);
    }
    for given in given.tables {
        let table = given.table.unwrap_or_default();
        let (schema, table) = (folded(&table.schema), folded(&table.table));
        match own.tables.iter_mut().find(|one| (&one.schema, &one.table) == (&schema, &table)) {
            Some(known) => known.tasks = known.tasks.min(given.tasks),
            None => own.tables.push(TableBound { schema, table, tasks: given.tasks }),
        }
    }
    own
}

/// The bounds as callers see them; names in lower case.
pub fn concurrency_to(own: &Concurrency) -> pb::Concurrency {
    let table = |one: &TableBound| pb::TableConcurrency {
        table: Some(pb::SourceTable { schema: one.schema.clone(), table: one.table.clone() }),
        tasks: one.tasks,
    };
    pb::Concurrency {
        tasks_per_schema: own.per_schema,
        tasks_per_table: own.per_table,
        schemas: own.schemas.clone().into_iter().collect(),
        tables: own.tables.iter().map(table).collect(),
    }
}

/// A rate limit per second; 0 for none. Negative numbers were rejected before.
pub fn rate_from(given: pb::RateLimit) -> Rate {
    let number = |given: i64| u64::try_from(given).unwrap_or(0);
    Rate { bytes: number(given.bytes_per_second), rows: number(given.rows_per_second) }
}

/// A rate limit as callers and workers see it.
pub fn rate_to(rate: Rate) -> pb::RateLimit {
    let number = |own: u64| i64::try_from(own).unwrap_or(i64::MAX);
    pb::RateLimit {
        bytes_per_second: number(rate.bytes),
        rows_per_second: number(rate.rows),
        ..pb::RateLimit::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_makes_no_difference_and_the_least_holds() {
        let table = |schema: &str, tasks| pb::TableConcurrency {
            table: Some(pb::SourceTable { schema: schema.to_owned(), table: "T".to_owned() }),
            tasks,
        };
        let given = pb::Concurrency {
            tasks_per_schema: 9,
            schemas: [("A".to_owned(), 3), ("a".to_owned(), 2)].into(),
            tables: vec![table("S", 5), table("s", 4)],
            ..pb::Concurrency::default()
        };
        let own = concurrency_from(given);
        assert_eq!((own.of_schema("a"), own.of_schema("b")), (Some(2), Some(9)));
        assert_eq!((own.of_table("s", "t"), own.of_table("s", "u")), (Some(4), None));
        assert_eq!(concurrency_from(concurrency_to(&own)), own);
    }
}
