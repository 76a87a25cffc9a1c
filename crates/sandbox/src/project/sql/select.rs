//! SELECT of counts: `COUNT(*)` and partition columns, filtered and grouped by partition columns. Reads no rows, since
//! the manifests store their number.

use std::collections::BTreeMap;

use mms_maxcompute::types::DataType;
use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr,
    ObjectName, Query, Select, SelectFlavor, SelectItem, SetExpr, Statement, TableFactor, TableWithJoins,
    UnaryOperator, Value,
};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Location;

use super::super::partition::PartKey;
use super::super::schema::{Column, TableMeta};
use super::ResultSet;
use super::ddl::Path;
use super::tokens::{MaxCompute, START, SqlError};

/// The most partitions that a query may touch.
const TOUCHED_MAX: usize = 10_000;

/// A SELECT that can be answered.
pub struct CountQuery {
    pub path: Path,
    /// The position of the table's name in the statement.
    pub place: Location,
    items: Vec<(Option<String>, Item)>,
    filter: Option<Expr>,
    groups: Vec<String>,
}

enum Item {
    Count,
    Column(String),
}

fn unsupported(what: &str) -> SqlError {
    SqlError::parse(1, 1, &format!("{what} is not offered by this project: only counts by partition columns are"))
}

fn words(name: &ObjectName) -> Result<Path, SqlError> {
    name.0
        .iter()
        .map(|part| part.as_ident().map(|ident| ident.value.clone()).ok_or_else(|| unsupported("a computed name")))
        .collect()
}

/// The column that an expression names: `pt`, or `t.pt`.
fn column_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(ident.value.to_lowercase()),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| ident.value.to_lowercase()),
        _ => None,
    }
}

/// Whether a call is `COUNT(*)` or `COUNT(1)` and nothing more. Every part of the call is checked.
fn is_count(function: &Function) -> bool {
    let Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses }),
        within_group,
        filter: None,
        null_treatment: None,
        over: None,
    } = function
    else {
        return false;
    };
    let star = match args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] => true,
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] => matches!(value.value, Value::Number(..)),
        _ => false,
    };
    star && clauses.is_empty() && within_group.is_empty() && name.to_string().eq_ignore_ascii_case("count")
}

/// The SELECT of a query. Every clause is checked, so that none is parsed and then ignored.
fn plain_select(query: &Query) -> Result<&Select, SqlError> {
    let Query {
        with: None,
        body,
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks,
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators,
    } = query
    else {
        return Err(unsupported("WITH, ORDER BY, LIMIT or another clause around the SELECT"));
    };
    match body.as_ref() {
        SetExpr::Select(select) if locks.is_empty() && pipe_operators.is_empty() => Ok(select),
        _ => Err(unsupported("a set operation, a lock or a pipe")),
    }
}

/// The clauses that are supported.
struct Clauses<'q> {
    projection: &'q [SelectItem],
    from: &'q [TableWithJoins],
    filter: Option<&'q Expr>,
    group_by: &'q GroupByExpr,
}

/// The supported clauses of a SELECT. Every other clause must be absent.
fn clauses_of(select: &Select) -> Result<Clauses<'_>, SqlError> {
    let Select {
        select_token: _,
        optimizer_hints,
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: _,
        projection,
        exclude: None,
        into: None,
        from,
        lateral_views,
        prewhere: None,
        selection,
        connect_by,
        group_by,
        cluster_by,
        distribute_by,
        sort_by,
        having: None,
        named_window,
        qualify: None,
        window_before_qualify: _,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    } = select
    else {
        return Err(unsupported("DISTINCT, HAVING, QUALIFY or another clause of this SELECT"));
    };
    if !lateral_views.is_empty() || !named_window.is_empty() || !connect_by.is_empty() || !optimizer_hints.is_empty() {
        return Err(unsupported("LATERAL VIEW, WINDOW, CONNECT BY or a hint"));
    }
    if !cluster_by.is_empty() || !distribute_by.is_empty() || !sort_by.is_empty() {
        return Err(unsupported("CLUSTER BY, DISTRIBUTE BY or SORT BY"));
    }
    Ok(Clauses { projection, from, filter: selection.as_ref(), group_by })
}

/// The one table of a FROM.
fn one_table(from: &[TableWithJoins]) -> Result<&ObjectName, SqlError> {
    let [TableWithJoins { relation, joins }] = from else {
        return Err(unsupported("a SELECT from other than one table"));
    };
    let TableFactor::Table {
        name,
        alias: _,
        args: None,
        with_hints,
        version: None,
        with_ordinality: false,
        partitions,
        json_path: None,
        sample: None,
        index_hints,
    } = relation
    else {
        return Err(unsupported("a subquery, a sample or a version of a table"));
    };
    if joins.is_empty() && with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() {
        Ok(name)
    } else {
        Err(unsupported("a join or a hint"))
    }
}

fn item(expr: &Expr) -> Result<Item, SqlError> {
    match expr {
        Expr::Function(function) if is_count(function) => Ok(Item::Count),
        other => column_name(other).map(Item::Column).ok_or_else(|| unsupported(&format!("`{other}`"))),
    }
}

/// The result of a SELECT of one number without a table; `None` for any other statement.
pub fn constant(sql: &str) -> Option<ResultSet> {
    let digits = sql.trim().get(6..)?.trim().strip_suffix(';')?.trim_end();
    let number: i32 = digits.parse().ok()?;
    Some(ResultSet { columns: vec![("_c0".to_owned(), DataType::Int)], rows: vec![vec![number.to_string()]] })
}

/// Parses a SELECT.
///
/// # Errors
/// The service's parse error, also for clauses that this project does not support.
pub fn parse(sql: &str) -> Result<CountQuery, SqlError> {
    let statements = Parser::parse_sql(&MaxCompute, sql).map_err(|error| match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => SqlError::parse(1, 1, &text),
        ParserError::RecursionLimitExceeded => SqlError::parse(1, 1, "nested too deep"),
    })?;
    let [Statement::Query(query)] = statements.as_slice() else { return Err(unsupported("more than one SELECT")) };
    let Clauses { projection, from, filter, group_by } = clauses_of(plain_select(query)?)?;
    let name = one_table(from)?;
    let items = projection
        .iter()
        .map(|projected| match projected {
            SelectItem::UnnamedExpr(expr) => Ok((None, item(expr)?)),
            SelectItem::ExprWithAlias { expr, alias } => Ok((Some(alias.value.clone()), item(expr)?)),
            other => Err(unsupported(&format!("`{other}`"))),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let groups = match group_by {
        GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => exprs
            .iter()
            .map(|expr| column_name(expr).ok_or_else(|| unsupported(&format!("GROUP BY {expr}"))))
            .collect::<Result<Vec<_>, _>>()?,
        _ => return Err(unsupported("this GROUP BY")),
    };
    let place = name.0.first().and_then(|part| part.as_ident()).map_or(START, |ident| ident.span.start);
    Ok(CountQuery { path: words(name)?, place, items, filter: filter.cloned(), groups })
}

/// The text of a literal. The comparison follows the column's type: integers by value, texts by bytes.
fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Some(text.clone()),
            Value::Number(digits, _) => Some(digits.clone()),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => literal(expr).map(|digits| format!("-{digits}")),
        _ => None,
    }
}

fn position(columns: &[Column], name: &str) -> Result<usize, SqlError> {
    columns.iter().position(|c| c.name == name).ok_or_else(|| {
        SqlError::semantic(&format!("column `{name}` is not a partition column; this project counts by those only"))
    })
}

fn equals(columns: &[Column], key: &PartKey, column: &Expr, value: &Expr) -> Result<bool, SqlError> {
    let (Some(name), Some(value)) = (column_name(column), literal(value)) else {
        return Err(unsupported(&format!("the condition on `{column}`")));
    };
    let i = position(columns, &name)?;
    Ok(match (key[i].parse::<i64>(), value.parse::<i64>()) {
        (Ok(a), Ok(b)) if columns[i].data_type.is_integer() => a == b,
        _ => key[i] == value,
    })
}

fn holds(columns: &[Column], key: &PartKey, filter: &Expr) -> Result<bool, SqlError> {
    match filter {
        Expr::Nested(inner) => holds(columns, key, inner),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => Ok(!holds(columns, key, expr)?),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            Ok(holds(columns, key, left)? & holds(columns, key, right)?)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
            Ok(holds(columns, key, left)? | holds(columns, key, right)?)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => equals(columns, key, left, right),
        Expr::BinaryOp { left, op: BinaryOperator::NotEq, right } => Ok(!equals(columns, key, left, right)?),
        Expr::InList { expr, list, negated } => {
            let found: Vec<bool> = list.iter().map(|v| equals(columns, key, expr, v)).collect::<Result<_, _>>()?;
            Ok(found.contains(&true) != *negated)
        }
        other => Err(unsupported(&format!("the condition `{other}`"))),
    }
}

impl CountQuery {
    /// Whether the query reads all partitions, since it has no filter.
    pub fn is_full_scan(&self) -> bool {
        self.filter.is_none()
    }

    /// Computes the result from the row counts of the partitions.
    pub fn run(&self, meta: &TableMeta, parts: &[(PartKey, u64)]) -> Result<ResultSet, SqlError> {
        let columns = &meta.partition_columns;
        let group_at: Vec<usize> = self.groups.iter().map(|g| position(columns, g)).collect::<Result<_, _>>()?;
        let mut out_columns = Vec::new();
        let mut picks: Vec<Option<usize>> = Vec::new();
        for (i, (alias, item)) in self.items.iter().enumerate() {
            match item {
                Item::Count => {
                    out_columns.push((alias.clone().unwrap_or_else(|| format!("_c{i}")), DataType::BigInt));
                    picks.push(None);
                }
                Item::Column(name) => {
                    let at = position(columns, name)?;
                    let Some(group) = group_at.iter().position(|g| *g == at) else {
                        return Err(SqlError::semantic(&format!("column `{name}` is not in GROUP BY")));
                    };
                    let shown = alias.clone().unwrap_or_else(|| name.clone());
                    out_columns.push((shown, columns[at].data_type.clone()));
                    picks.push(Some(group));
                }
            }
        }
        if let Some(filter) = &self.filter {
            // The filter is checked once against an empty key, so that a wrong one fails even if there are no
            // partitions.
            let nothing = vec![String::new(); columns.len()];
            holds(columns, &nothing, filter)?;
        }
        let mut counts: BTreeMap<Vec<String>, u64> = BTreeMap::new();
        if self.groups.is_empty() {
            counts.insert(Vec::new(), 0);
        }
        let mut touched = 0;
        for (key, rows) in parts {
            if !self.filter.as_ref().map_or(Ok(true), |f| holds(columns, key, f))? {
                continue;
            }
            touched += 1;
            if touched > TOUCHED_MAX {
                let message = format!("the query touches more than {TOUCHED_MAX} partitions: filter by partition");
                return Err(SqlError::semantic(&message));
            }
            if *rows > 0 || self.groups.is_empty() {
                *counts.entry(group_at.iter().map(|i| key[*i].clone()).collect()).or_default() += rows;
            }
        }
        let rows = counts
            .into_iter()
            .map(|(group, count)| {
                picks.iter().map(|pick| pick.map_or_else(|| count.to_string(), |g| group[g].clone())).collect()
            })
            .collect();
        Ok(ResultSet { columns: out_columns, rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_and_everything_else_is_refused() {
        for sql in [
            "SELECT COUNT(*) FROM t;",
            "select count(1) as n from p.s.`t` where pt = 'a' and (n in (1, 2) or not n <> -3);",
            "SELECT pt, COUNT(*) FROM t GROUP BY pt;",
        ] {
            assert!(parse(sql).is_ok(), "{sql}: {:?}", parse(sql).err());
        }
        for sql in [
            "SELECT DISTINCT pt FROM t;",
            "SELECT COUNT(DISTINCT pt) FROM t;",
            "SELECT COUNT(*) OVER (PARTITION BY pt) FROM t;",
            "SELECT COUNT(*) FILTER (WHERE n = 1) FROM t;",
            "SELECT COUNT(*) FROM t CLUSTER BY pt;",
            "SELECT COUNT(*) FROM t DISTRIBUTE BY pt;",
            "SELECT COUNT(*) FROM t SORT BY pt;",
            "SELECT COUNT(*) FROM t QUALIFY pt = 'a';",
            "SELECT pt, COUNT(*) FROM t GROUP BY pt HAVING COUNT(*) > 1;",
            "SELECT pt, COUNT(*) FROM t GROUP BY pt ORDER BY pt;",
            "SELECT COUNT(*) FROM t LIMIT 1;",
            "SELECT COUNT(*) FROM t FOR UPDATE;",
            "SELECT COUNT(*) FROM t TABLESAMPLE (10 PERCENT);",
            "SELECT COUNT(*) FROM t WITH (NOLOCK);",
            "SELECT COUNT(*) FROM t, u;",
            "SELECT COUNT(*) FROM t JOIN u;",
            "SELECT COUNT(*) FROM (SELECT * FROM t);",
            "SELECT COUNT(*) FROM t UNION ALL SELECT COUNT(*) FROM t;",
            "WITH x AS (SELECT 1) SELECT COUNT(*) FROM x;",
            "SELECT COUNT(*) INTO u FROM t;",
            "SELECT COUNT(*) FROM t; SELECT COUNT(*) FROM t;",
        ] {
            let error = parse(sql).err().unwrap_or_else(|| panic!("{sql} was accepted"));
            assert!(error.0.starts_with("ODPS-0130161:["), "{sql}: {}", error.0);
        }
    }

    fn table() -> TableMeta {
        let column =
            |name: &str| Column { name: name.to_owned(), data_type: DataType::BigInt, nullable: true, comment: None };
        TableMeta {
            id: "1".to_owned(),
            name: "t".to_owned(),
            columns: vec![column("a")],
            partition_columns: vec![column("n")],
            primary_key: Vec::new(),
            comment: None,
            lifecycle: None,
            properties: BTreeMap::new(),
            created: 0,
            last_ddl: 0,
        }
    }

    #[test]
    fn a_query_touches_ten_thousand_partitions_and_no_more() {
        let parts: Vec<(PartKey, u64)> = (0..=TOUCHED_MAX).map(|n| (vec![n.to_string()], 1)).collect();
        let all = parse("SELECT COUNT(*) FROM t;").expect("read");
        assert!(all.run(&table(), &parts).expect_err("one too many").0.contains("10000 partitions"));
        assert_eq!(all.run(&table(), &parts[1..]).expect("as many as may be").rows, [["10000"]]);
        let fewer = parse("SELECT COUNT(*) FROM t WHERE n <> 5;").expect("read");
        assert_eq!(fewer.run(&table(), &parts).expect("filtered").rows, [["10000"]]);
    }
}
