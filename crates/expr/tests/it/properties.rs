//! Properties of arbitrary filters: printing is the inverse of parsing, and evaluation follows SQL's three truth values.

use std::collections::BTreeMap;

use mms_expr::{CompareOp, Expr, Literal, Row, Truth, Value};
use proptest::prelude::*;

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        ".{0,8}".prop_map(Literal::Text),
        any::<i64>().prop_map(Literal::Integer),
        (-3..3_i64).prop_map(Literal::Integer),
        any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(Literal::Number),
        any::<bool>().prop_map(Literal::Boolean),
    ]
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]".prop_map(|s| s), ".{1,5}".prop_map(|s| s), Just("between".to_owned())]
}

fn op() -> impl Strategy<Value = CompareOp> {
    use CompareOp::*;
    prop::sample::select(vec![Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual])
}

fn expr() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        (field(), op(), literal()).prop_map(|(field, op, value)| Expr::Compare { field, op, value }),
        (field(), prop::collection::vec(literal(), 1..4), any::<bool>())
            .prop_map(|(field, values, negated)| Expr::In { field, values, negated }),
        (field(), ".{0,6}", any::<bool>()).prop_map(|(field, pattern, negated)| Expr::Like { field, pattern, negated }),
        (field(), literal(), literal(), any::<bool>()).prop_map(|(field, low, high, negated)| Expr::Between {
            field,
            low,
            high,
            negated
        }),
        (field(), any::<bool>()).prop_map(|(field, negated)| Expr::IsNull { field, negated }),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::Or),
            inner.prop_map(|e| Expr::Not(Box::new(e))),
        ]
    })
}

#[derive(Debug)]
struct Fields(BTreeMap<String, Value<'static>>);

impl Row for Fields {
    fn value(&self, field: &str) -> Value<'_> {
        self.0.get(field).cloned().unwrap_or(Value::Null)
    }
}

fn row() -> impl Strategy<Value = Fields> {
    let value = prop_oneof![
        Just(Value::Null),
        (-3..3_i64).prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Number),
        "[ab]{0,2}".prop_map(|s| Value::Text(s.into())),
        any::<bool>().prop_map(Value::Boolean),
    ];
    prop::collection::btree_map("[a-c]", value, 0..3).prop_map(Fields)
}

/// SQL's truth values as numbers: AND is the minimum, OR the maximum, NOT the distance from the top.
fn rank(truth: Truth) -> u8 {
    match truth {
        Truth::False => 0,
        Truth::Unknown => 1,
        Truth::True => 2,
    }
}

fn naive(expr: &Expr, row: &Fields) -> u8 {
    let compare =
        |field: &str, op, value: &Literal| Expr::Compare { field: field.to_owned(), op, value: value.clone() };
    let flip = |rank: u8, negated: bool| if negated { 2 - rank } else { rank };
    match expr {
        Expr::And(parts) => parts.iter().map(|p| naive(p, row)).min().unwrap(),
        Expr::Or(parts) => parts.iter().map(|p| naive(p, row)).max().unwrap(),
        Expr::Not(inner) => 2 - naive(inner, row),
        Expr::In { field, values, negated } => {
            let any = values.iter().map(|v| naive(&compare(field, CompareOp::Equal, v), row)).max().unwrap();
            flip(any, *negated)
        }
        Expr::Between { field, low, high, negated } => {
            let at_least = naive(&compare(field, CompareOp::GreaterOrEqual, low), row);
            flip(at_least.min(naive(&compare(field, CompareOp::LessOrEqual, high), row)), *negated)
        }
        Expr::Compare { field, op, value } => {
            let ordering = match (row.value(field), value) {
                (Value::Integer(a), Literal::Integer(b)) => Some(a.cmp(b)),
                // The integers of the rows are small, so this cast is exact.
                (Value::Integer(a), Literal::Number(b)) => (a as f64).partial_cmp(b),
                (Value::Number(_), Literal::Integer(_)) => return rank(expr.eval(row)),
                (Value::Number(a), Literal::Number(b)) => a.partial_cmp(b),
                (Value::Text(a), Literal::Text(b)) => Some(a.as_ref().cmp(b.as_str())),
                (Value::Boolean(a), Literal::Boolean(b)) => Some(a.cmp(b)),
                _ => None,
            };
            ordering.map_or(1, |o| match op {
                CompareOp::Equal => 2 * u8::from(o.is_eq()),
                CompareOp::NotEqual => 2 * u8::from(o.is_ne()),
                CompareOp::Less => 2 * u8::from(o.is_lt()),
                CompareOp::LessOrEqual => 2 * u8::from(o.is_le()),
                CompareOp::Greater => 2 * u8::from(o.is_gt()),
                CompareOp::GreaterOrEqual => 2 * u8::from(o.is_ge()),
            })
        }
        Expr::IsNull { field, negated } => flip(2 * u8::from(row.value(field) == Value::Null), *negated),
        Expr::Like { field, pattern, negated } => match row.value(field) {
            Value::Text(text) => flip(2 * u8::from(naive_like(&pattern.chars().collect::<Vec<_>>(), &text)), *negated),
            _ => 1,
        },
    }
}

fn naive_like(pattern: &[char], text: &str) -> bool {
    let mut chars = text.chars();
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => naive_like(rest, text) || (chars.next().is_some() && naive_like(pattern, chars.as_str())),
        ['\\', c, rest @ ..] => chars.next() == Some(*c) && naive_like(rest, chars.as_str()),
        [c, rest @ ..] => chars.next().is_some_and(|t| *c == '_' || t == *c) && naive_like(rest, chars.as_str()),
    }
}

proptest! {
    #[test]
    fn printing_and_parsing_give_the_same_filter(e in expr()) {
        let text = e.to_string();
        prop_assert_eq!(text.parse::<Expr>().map_err(|e| TestCaseError::fail(e.to_string()))?, e, "{}", text);
    }

    #[test]
    fn evaluation_follows_the_definition(e in expr(), r in row()) {
        prop_assert_eq!(rank(e.eval(&r)), naive(&e, &r), "{}", e);
    }

    #[test]
    fn precedence_is_that_of_the_definition(a in 0..2_i64, b in 0..2_i64, c in 0..2_i64) {
        let one = |v: i64| v == 1;
        let e: Expr = format!("a={a} OR a={b} AND a={c}").parse().unwrap();
        let row = Fields(BTreeMap::from([("a".to_owned(), Value::Integer(1))]));
        prop_assert_eq!(e.eval(&row).is_true(), one(a) || (one(b) && one(c)));
    }

    #[test]
    fn like_is_what_its_definition_says(pattern in "[ab%_\\\\]{0,8}", text in "[ab%_]{0,8}") {
        let e = Expr::Like { field: "a".into(), pattern: pattern.clone(), negated: false };
        let row = Fields(BTreeMap::from([("a".to_owned(), Value::Text(text.clone().into()))]));
        prop_assert_eq!(e.eval(&row).is_true(), naive_like(&pattern.chars().collect::<Vec<_>>(), &text));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,60}", near in "[a-c ='<>(),0-9.eE\\\\`\n-]{0,40}|(a (not )?(in|like|is|between) ?['1(]){1,3}") {
        for text in [text, near] {
            if let Err(e) = text.parse::<Expr>() {
                prop_assert!(!e.to_string().is_empty());
            }
        }
    }

    #[test]
    fn integers_and_numbers_compare_exactly(a in any::<i64>(), b in -64_i64..64) {
        let near = (a as f64) + b as f64;
        let e = Expr::Compare { field: "a".into(), op: CompareOp::Less, value: Literal::Number(near) };
        let row = Fields(BTreeMap::from([("a".to_owned(), Value::Integer(a))]));
        prop_assert_eq!(e.eval(&row).is_true(), i128::from(a) < near as i128);
    }
}
