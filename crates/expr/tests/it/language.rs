//! The language by example: what is accepted, what is rejected, and how the errors read.

use std::borrow::Cow;

use mms_expr::{DEPTH_MAX, Expr, ExprError, Kind, Row, Schema, TEXT_BYTES_MAX, Truth, Value};

const FIELDS: &[(&str, Kind)] = &[
    ("state", Kind::Text),
    ("rows", Kind::Integer),
    ("share", Kind::Number),
    ("changed", Kind::Boolean),
    ("error", Kind::Text),
];

struct Table {
    state: &'static str,
    rows: i64,
    changed: bool,
}

impl Row for Table {
    fn value(&self, field: &str) -> Value<'_> {
        match field {
            "state" => Value::Text(Cow::Borrowed(self.state)),
            "rows" => Value::Integer(self.rows),
            "share" => Value::Number(0.5),
            "changed" => Value::Boolean(self.changed),
            _ => Value::Null,
        }
    }
}

const ROW: Table = Table { state: "O'Brien /a=b,\"c\"", rows: 9_007_199_254_740_993, changed: true };

fn truth(text: &str) -> Truth {
    let expr: Expr = text.parse().unwrap_or_else(|e| panic!("{e}"));
    expr.check(FIELDS).unwrap_or_else(|e| panic!("{e}"));
    expr.eval(&ROW)
}

#[test]
fn what_is_true() {
    for text in [
        r#"state = 'O''Brien /a=b,"c"'"#,
        r#"state = "O'Brien /a=b,""c""""#,
        r"state like 'O\'B%'",
        "rows = 9007199254740993 and rows <> 9007199254740992.0",
        "rows in (1, 2.5, 9007199254740993)",
        "share between 0 and 1 AND share not between 1 and 2 and share > -1e3",
        "changed = true and not changed = FALSE and `state` is not null and error is null",
        "changed = false or changed = true and rows > 0",
        "changed = true or changed = true and changed = false",
        "not (rows < 0 or rows <= 1)",
    ] {
        assert_eq!(truth(text), Truth::True, "{text}");
    }
}

#[test]
fn what_is_unknown_stays_unknown_when_negated() {
    for text in
        ["error = 'x'", "not error = 'x'", "error in ('a')", "error not like '%'", "error not between 'a' and 'b'"]
    {
        assert_eq!(truth(text), Truth::Unknown, "{text}");
    }
    assert_eq!(truth("error = 'x' and rows < 0"), Truth::False);
    assert_eq!(truth("error = 'x' or rows > 0"), Truth::True);
}

#[test]
fn and_binds_tighter_than_or() {
    let bare: Expr = "state='a' or state='b' and rows=1".parse().unwrap();
    let grouped: Expr = "state='a' or (state='b' and rows=1)".parse().unwrap();
    assert_eq!(bare, grouped);
    assert_ne!(bare, "(state='a' or state='b') and rows=1".parse::<Expr>().unwrap());
}

#[test]
fn a_syntax_error_points_at_its_place() {
    let error = "state = 'a' AND\n  (rows > )".parse::<Expr>().unwrap_err();
    assert_eq!(error.to_string(), "filter: expected a value, found `)` at character 27\n    (rows > )\n            ^");
}

#[test]
fn what_does_not_parse() {
    for (text, part) in [
        ("", "expected a field name"),
        ("state", "expected a comparison"),
        ("state = done", "put quotes around"),
        ("state = null", "IS NULL"),
        ("state = 'x", "never closed"),
        ("rows = 5x", "runs into"),
        ("rows = 9223372036854775808", "64 bits"),
        ("rows = 1e999", "too large"),
        ("rows = - 1", "not followed by a number"),
        ("rows in ()", "expected a value"),
        ("rows = 1 rows = 2", "expected AND, OR or the end"),
        ("(rows = 1", "expected `)`"),
        ("rows not = 1", "IN, LIKE or BETWEEN"),
        ("state like 5", "pattern in quotes"),
        ("rows = 1; drop", "has no meaning"),
        ("`` = 1", "must not be empty"),
        ("1 = rows", "expected a field name"),
    ] {
        let message = text.parse::<Expr>().unwrap_err().to_string();
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn depth_and_length_are_bounded() {
    let nested = |n: usize| format!("{}rows = 1{}", "(".repeat(n), ")".repeat(n)).parse::<Expr>();
    assert!(nested(DEPTH_MAX - 1).is_ok());
    assert!(matches!(nested(DEPTH_MAX), Err(ExprError::Syntax { .. })));
    assert!(matches!(nested(TEXT_BYTES_MAX / 2), Err(ExprError::TooLong { .. })));
    assert!(matches!("not ".repeat(9000).parse::<Expr>(), Err(ExprError::Syntax { .. })));
}

#[test]
fn fields_and_types_are_checked() {
    let refused = |text: &str| text.parse::<Expr>().unwrap().check(FIELDS).unwrap_err().to_string();
    assert_eq!(
        refused("size > 1"),
        "filter: there is no field `size`; known fields: state, rows, share, changed, error"
    );
    assert!(
        refused("rows = '1'")
            .ends_with("`rows` is a whole number, so it cannot be compared with '1': write it without quotes")
    );
    assert!(refused("state in ('a', 5)").contains("cannot be compared with 5: put quotes around it"));
    assert!(refused("changed > true").contains("which > does not apply to"));
    assert!(refused("rows like '1%'").contains("LIKE does not apply"));
    assert!(FIELDS.kind("State").is_none(), "names are taken as they are");
}
