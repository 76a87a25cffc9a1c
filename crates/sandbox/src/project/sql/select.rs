//! SELECT of counts: `COUNT(*)` and partition columns, filtered and grouped by partition columns. It reads no rows:
//! the manifests know how many there are.

use std::collections::BTreeMap;

use mms_maxcompute::types::DataType;
use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, ObjectName,
    SelectItem, SetExpr, Statement, TableFactor, UnaryOperator, Value,
};
use sqlparser::parser::{Parser, ParserError};

use super::super::partition::PartKey;
use super::super::schema::{Column, TableMeta};
use super::ResultSet;
use super::ddl::Path;
use super::tokens::{MaxCompute, SqlError};

/// A count that can be answered.
pub struct CountQuery {
    /// The table.
    pub path: Path,
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

/// `pt`, or `t.pt`.
fn column_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(ident.value.to_lowercase()),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| ident.value.to_lowercase()),
        _ => None,
    }
}

fn is_count(function: &Function) -> bool {
    let FunctionArguments::List(list) = &function.args else { return false };
    let star = match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] => true,
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] => matches!(value.value, Value::Number(..)),
        _ => false,
    };
    star && list.duplicate_treatment.is_none()
        && list.clauses.is_empty()
        && function.name.to_string().eq_ignore_ascii_case("count")
        && function.over.is_none()
        && function.filter.is_none()
}

fn item(expr: &Expr) -> Result<Item, SqlError> {
    match expr {
        Expr::Function(function) if is_count(function) => Ok(Item::Count),
        other => column_name(other).map(Item::Column).ok_or_else(|| unsupported(&format!("`{other}`"))),
    }
}

/// Parses a SELECT.
///
/// # Errors
/// The service's parse error, also for what this project does not offer.
pub fn parse(sql: &str) -> Result<CountQuery, SqlError> {
    let statements = Parser::parse_sql(&MaxCompute, sql).map_err(|error| match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => SqlError::parse(1, 1, &text),
        ParserError::RecursionLimitExceeded => SqlError::parse(1, 1, "nested too deep"),
    })?;
    let [Statement::Query(query)] = statements.as_slice() else { return Err(unsupported("more than one SELECT")) };
    let SetExpr::Select(select) = query.body.as_ref() else { return Err(unsupported("a set operation")) };
    if query.with.is_some() || query.order_by.is_some() || query.limit_clause.is_some() || query.fetch.is_some() {
        return Err(unsupported("WITH, ORDER BY or LIMIT"));
    }
    if select.distinct.is_some() || select.having.is_some() || !select.lateral_views.is_empty() {
        return Err(unsupported("DISTINCT, HAVING or LATERAL VIEW"));
    }
    let [from] = select.from.as_slice() else { return Err(unsupported("a SELECT from other than one table")) };
    let TableFactor::Table { name, args: None, .. } = &from.relation else { return Err(unsupported("a subquery")) };
    if !from.joins.is_empty() {
        return Err(unsupported("a join"));
    }
    let items = select
        .projection
        .iter()
        .map(|projected| match projected {
            SelectItem::UnnamedExpr(expr) => Ok((None, item(expr)?)),
            SelectItem::ExprWithAlias { expr, alias } => Ok((Some(alias.value.clone()), item(expr)?)),
            other => Err(unsupported(&format!("`{other}`"))),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let groups = match &select.group_by {
        GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => exprs
            .iter()
            .map(|expr| column_name(expr).ok_or_else(|| unsupported(&format!("GROUP BY {expr}"))))
            .collect::<Result<Vec<_>, _>>()?,
        _ => return Err(unsupported("this GROUP BY")),
    };
    Ok(CountQuery { path: words(name)?, items, filter: select.selection.clone(), groups })
}

/// A literal, compared as the column's type: integers by value, text by bytes.
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
    /// Whether the query reads all partitions.
    pub fn is_full_scan(&self) -> bool {
        self.filter.is_none()
    }

    /// Answers from row counts by partition.
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
            // A filter must make sense even where there is nothing to filter.
            let nothing = vec![String::new(); columns.len()];
            holds(columns, &nothing, filter)?;
        }
        let mut counts: BTreeMap<Vec<String>, u64> = BTreeMap::new();
        if self.groups.is_empty() {
            counts.insert(Vec::new(), 0);
        }
        for (key, rows) in parts {
            if self.filter.as_ref().map_or(Ok(true), |f| holds(columns, key, f))?
                && (*rows > 0 || self.groups.is_empty())
            {
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
