//! Parses the supported statements with sqlparser. Unsupported clauses are rejected by name, except for a few that no
//! client sends.

use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, LimitClause, ObjectName, Query,
    SelectFlavor, SelectItem, SetExpr, Statement, TableFactor, TableVersion, Value,
};
use sqlparser::dialect::DatabricksDialect;
use sqlparser::parser::Parser;

/// A statement that is supported.
#[derive(Debug, PartialEq)]
pub enum Ask {
    /// A session setting, which has no effect: times are always in UTC.
    Nothing,
    /// `SELECT 1`.
    Number(i64),
    Select(Box<Select>),
    /// `DESCRIBE DETAIL` of a table.
    Detail(Vec<String>),
    /// `DESCRIBE HISTORY` of a table.
    History(Vec<String>),
}

#[derive(Debug, PartialEq)]
pub struct Select {
    pub table: Vec<String>,
    pub version: Option<u64>,
    /// `None` selects all columns.
    pub items: Option<Vec<Item>>,
    pub filter: Vec<Condition>,
    pub groups: Vec<String>,
    pub limit: Option<u64>,
}

/// A selected expression, and the name of its column in the result.
#[derive(Debug, PartialEq)]
pub enum Item {
    Column(String, String),
    Count(String),
}

/// A condition of WHERE; all of them must hold.
#[derive(Debug, PartialEq)]
pub enum Condition {
    IsNull(String, bool),
    /// The column equals this value, given as text.
    Equals(String, String),
}

/// Why a statement is rejected: the error class, the SQLSTATE and a message.
#[derive(Debug, PartialEq)]
pub struct Refused {
    pub class: &'static str,
    pub state: &'static str,
    pub text: String,
}

impl Refused {
    pub fn new(class: &'static str, state: &'static str, text: impl Into<String>) -> Self {
        Self { class, state, text: text.into() }
    }

    fn unsupported(what: &str) -> Self {
        Self::new("UNSUPPORTED_FEATURE", "0A000", format!("the sandbox does not answer {what}"))
    }
}

pub fn parse(sql: &str) -> Result<Ask, Refused> {
    let sql = sql.trim().trim_end_matches(';');
    let word = |at: usize| sql.split_whitespace().nth(at).unwrap_or_default().to_ascii_uppercase();
    let syntax = |text: String| Refused::new("PARSE_SYNTAX_ERROR", "42601", text);
    match (word(0).as_str(), word(1).as_str()) {
        ("SET" | "USE", _) if sql.to_ascii_uppercase().contains("TIME ZONE") && !sql.contains("UTC") => {
            Err(Refused::unsupported("a time zone other than UTC"))
        }
        ("SET" | "USE", _) => Ok(Ask::Nothing),
        ("DESCRIBE" | "DESC", kind @ ("DETAIL" | "HISTORY")) => {
            let rest = sql.split_once(|c: char| c.is_whitespace()).map_or("", |(_, rest)| rest.trim_start());
            let name = rest.split_once(|c: char| c.is_whitespace()).map_or("", |(_, name)| name.trim());
            let parsed = Parser::new(&DatabricksDialect {})
                .try_with_sql(name)
                .and_then(|mut parser| parser.parse_object_name(false));
            let name = words(&parsed.map_err(|error| syntax(error.to_string()))?)?;
            Ok(if kind == "DETAIL" { Ask::Detail(name) } else { Ask::History(name) })
        }
        _ => {
            let mut parsed =
                Parser::parse_sql(&DatabricksDialect {}, sql).map_err(|error| syntax(error.to_string()))?;
            match (parsed.pop(), parsed.is_empty()) {
                (Some(Statement::Query(query)), true) => select(&query),
                _ => Err(Refused::unsupported("anything but SELECT, DESCRIBE DETAIL and DESCRIBE HISTORY")),
            }
        }
    }
}

fn words(name: &ObjectName) -> Result<Vec<String>, Refused> {
    let word = |part: &sqlparser::ast::ObjectNamePart| part.as_ident().map(|ident| ident.value.clone());
    name.0.iter().map(word).collect::<Option<_>>().ok_or_else(|| Refused::unsupported("a computed name"))
}

fn select(query: &Query) -> Result<Ask, Refused> {
    let Query { with: None, body, order_by: None, limit_clause, fetch: None, locks, for_clause: None, .. } = query
    else {
        return Err(Refused::unsupported("WITH or ORDER BY"));
    };
    let SetExpr::Select(select) = body.as_ref() else { return Err(Refused::unsupported("a set operation")) };
    let plain = locks.is_empty()
        && query.pipe_operators.is_empty()
        && select.distinct.is_none()
        && select.having.is_none()
        && select.qualify.is_none()
        && select.lateral_views.is_empty()
        && select.connect_by.is_empty()
        && select.sort_by.is_empty()
        && select.cluster_by.is_empty()
        && select.distribute_by.is_empty()
        && select.flavor == SelectFlavor::Standard;
    if !plain {
        return Err(Refused::unsupported("a clause besides FROM, WHERE, GROUP BY and LIMIT"));
    }
    let limit = match limit_clause {
        None => None,
        Some(LimitClause::LimitOffset { limit: Some(limit), offset: None, limit_by }) if limit_by.is_empty() => {
            Some(number(limit).ok_or_else(|| Refused::unsupported("a computed LIMIT"))?)
        }
        Some(_) => return Err(Refused::unsupported("OFFSET")),
    };
    if select.from.is_empty() {
        return match select.projection.as_slice() {
            [SelectItem::UnnamedExpr(one)] => {
                let one = number(one).and_then(|one| i64::try_from(one).ok());
                one.map(Ask::Number).ok_or_else(|| Refused::unsupported("an expression without a table"))
            }
            _ => Err(Refused::unsupported("expressions without a table")),
        };
    }
    let [from] = select.from.as_slice() else { return Err(Refused::unsupported("several tables")) };
    let TableFactor::Table { name, args: None, version, sample: None, .. } = &from.relation else {
        return Err(Refused::unsupported("anything but a table in FROM"));
    };
    if !from.joins.is_empty() {
        return Err(Refused::unsupported("a join"));
    }
    let version = match version {
        None => None,
        Some(TableVersion::VersionAsOf(version)) => number(version),
        Some(_) => return Err(Refused::unsupported("time travel but by version")),
    };
    let GroupByExpr::Expressions(groups, modifiers) = &select.group_by else {
        return Err(Refused::unsupported("GROUP BY ALL"));
    };
    if !modifiers.is_empty() {
        return Err(Refused::unsupported("a modifier of GROUP BY"));
    }
    let mut filter = Vec::new();
    if let Some(condition) = &select.selection {
        conditions(condition, &mut filter)?;
    }
    Ok(Ask::Select(Box::new(Select {
        table: words(name)?,
        version,
        items: items(&select.projection)?,
        filter,
        groups: groups.iter().map(column).collect::<Result<_, _>>()?,
        limit,
    })))
}

fn items(projection: &[SelectItem]) -> Result<Option<Vec<Item>>, Refused> {
    if let [SelectItem::Wildcard(_)] = projection {
        return Ok(None);
    }
    let item = |item: &SelectItem| {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.value.clone())),
            _ => return Err(Refused::unsupported("`*` beside other columns")),
        };
        if is_count(expr) {
            return Ok(Item::Count(alias.unwrap_or_else(|| "count(1)".to_owned())));
        }
        let name = column(expr)?;
        Ok(Item::Column(name.clone(), alias.unwrap_or(name)))
    };
    projection.iter().map(item).collect::<Result<_, _>>().map(Some)
}

fn is_count(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let FunctionArguments::List(list) = &function.args else { return false };
    let star = match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] => true,
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(one))] => number(one).is_some(),
        _ => false,
    };
    let plain = list.duplicate_treatment.is_none() && function.filter.is_none() && function.over.is_none();
    star && plain && function.name.to_string().eq_ignore_ascii_case("count")
}

fn column(expr: &Expr) -> Result<String, Refused> {
    match expr {
        Expr::Identifier(ident) => Ok(ident.value.clone()),
        _ => Err(Refused::unsupported(&format!("the expression {expr}"))),
    }
}

fn number(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The text of a literal. Casts are ignored, since the text is converted to the column's type anyway.
fn literal(expr: &Expr) -> Result<String, Refused> {
    match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => literal(expr),
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) | Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => {
                Ok(text.clone())
            }
            Value::Boolean(value) => Ok(value.to_string()),
            _ => Err(Refused::unsupported(&format!("the literal {expr}"))),
        },
        Expr::TypedString(typed) => literal(&Expr::Value(typed.value.clone())),
        _ => Err(Refused::unsupported(&format!("the expression {expr}"))),
    }
}

fn conditions(expr: &Expr, all: &mut Vec<Condition>) -> Result<(), Refused> {
    match expr {
        Expr::Nested(inner) => return conditions(inner, all),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conditions(left, all)?;
            return conditions(right, all);
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq | BinaryOperator::Spaceship, right } => {
            all.push(Condition::Equals(column(left)?, literal(right)?));
        }
        Expr::IsNull(inner) => all.push(Condition::IsNull(column(inner)?, true)),
        Expr::IsNotNull(inner) => all.push(Condition::IsNull(column(inner)?, false)),
        _ => return Err(Refused::unsupported(&format!("the condition {expr}"))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_migration_sends_is_understood() {
        let asked = parse(
            "SELECT `a b`, COUNT(*) AS n FROM `main`.`s.x`.`t` VERSION AS OF 3 WHERE `p` <=> CAST('it\\'s' AS STRING) AND (`q` IS NULL) GROUP BY `a b`",
        );
        let expected = Select {
            table: ["main", "s.x", "t"].map(str::to_owned).to_vec(),
            version: Some(3),
            items: Some(vec![Item::Column("a b".to_owned(), "a b".to_owned()), Item::Count("n".to_owned())]),
            filter: vec![Condition::Equals("p".to_owned(), "it's".to_owned()), Condition::IsNull("q".to_owned(), true)],
            groups: vec!["a b".to_owned()],
            limit: None,
        };
        assert_eq!(asked.unwrap(), Ask::Select(Box::new(expected)));
        assert_eq!(parse("select 1").unwrap(), Ask::Number(1));
        assert_eq!(parse("SET TIME ZONE 'UTC'").unwrap(), Ask::Nothing);
        let name = ["main", "s", "t x"].map(str::to_owned).to_vec();
        assert_eq!(parse("DESCRIBE HISTORY main.s.`t x`").unwrap(), Ask::History(name.clone()));
        assert_eq!(parse("describe detail main.s.`t x`;").unwrap(), Ask::Detail(name));
        assert!(
            matches!(parse("SELECT * FROM t LIMIT 5").unwrap(), Ask::Select(select) if select.items.is_none() && select.limit == Some(5))
        );
    }

    #[test]
    fn what_is_not_answered_is_refused_by_name() {
        for sql in [
            "SELECT a FROM t ORDER BY a",
            "SELECT a + 1 FROM t",
            "SELECT a FROM t, u",
            "SELECT a FROM t WHERE a > 1",
            "SELECT DISTINCT a FROM t",
            "SELECT a FROM t UNION SELECT b FROM u",
            "DELETE FROM t",
            "SET TIME ZONE 'Europe/Berlin'",
        ] {
            assert_eq!(parse(sql).unwrap_err().state, "0A000", "{sql}");
        }
        assert_eq!(parse("SELEC 1").unwrap_err().state, "42601");
    }
}
