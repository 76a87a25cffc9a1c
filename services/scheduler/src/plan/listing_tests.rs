//! Scopes that cannot be planned, and the reason given for each.

use super::*;
use crate::record::{SourceTable, Spec};

#[test]
fn what_cannot_be_planned_at_all_says_why() {
    let named = |names: &[&str]| Spec {
        tables_scope: true,
        tables: names.iter().map(|name| SourceTable { schema: "s".to_owned(), table: (*name).to_owned() }).collect(),
        ..Spec::default()
    };
    let reason = |scope: &Scope, taken, listed| unusable(scope, taken, listed).map(|why| *why.reason);
    let mut scope = Scope::of(&named(&["t", "gone"]));
    scope.choose("s", "t");
    assert_eq!(reason(&scope, 1, 1), Some(ErrorReason::TableUnknown));
    assert!(unusable(&scope, 1, 1).is_some_and(|why| why.message.contains("s.gone") && !why.message.contains("s.t,")));
    scope.choose("s", "gone");
    assert_eq!(reason(&scope, 2, 2), None);
    let all = Scope::of(&Spec::default());
    assert_eq!(reason(&all, 0, 0), Some(ErrorReason::EmptyScope));
    assert_eq!(reason(&all, TABLES_MAX, TABLES_MAX), None);
    assert_eq!(reason(&all, TABLES_MAX, TABLES_MAX + 1), Some(ErrorReason::ScopeTooLarge));
}
