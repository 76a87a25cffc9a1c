//! Decisions about a table, tested without a catalog.

use super::*;
use crate::record::{Target, TargetName, Version};
use mms_proto::types::v1 as types;

fn planned() -> TablePlan {
    let name = TargetName { project: "P".to_owned(), schema: "s".to_owned(), table: "t".to_owned() };
    TablePlan {
        version: Some(Version { delta: Some(0), table_id: "id".to_owned(), ..Version::default() }),
        target: Some(Target { name: Some(name), ..Target::default() }),
        ..TablePlan::default()
    }
}

fn stored(version: i64, table_id: &str, schema: Option<&str>, state: MigrationState) -> catalog::Table {
    let delta = types::DeltaVersion { version, table_id: table_id.to_owned(), commit_time: None };
    let target =
        |schema: &str| types::TargetTable { project: "p".to_owned(), schema: schema.to_owned(), table: "T".to_owned() };
    catalog::Table {
        state: state.into(),
        migrated_version: Some(types::SourceVersion { version: Some(types::source_version::Version::Delta(delta)) }),
        migrated_target: schema.map(target),
        ..catalog::Table::default()
    }
}

fn plan_of(findings: &[(FindingReason, Severity)], spec: &Spec) -> TablePlan {
    let finding = |(reason, severity): &(FindingReason, Severity)| types::Finding {
        reason: (*reason).into(),
        severity: (*severity).into(),
        ..types::Finding::default()
    };
    let blocked = findings.iter().any(|(_, severity)| *severity == Severity::Blocker);
    let plan = catalog::TablePlan {
        target: (!blocked).then(types::TargetDefinition::default),
        findings: findings.iter().map(finding).collect(),
        ..catalog::TablePlan::default()
    };
    let pinned = catalog::PinnedTable { plan: Some(plan), ..catalog::PinnedTable::default() };
    super::planned(pinned, (DecisionReason::Named, "named".to_owned()), spec).expect("known")
}

#[test]
fn what_a_finding_forbids_is_blocked_and_what_cannot_be_read_is_skipped() {
    let fail = Spec { unsupported_tables: UnsupportedTables::Fail.into(), ..Spec::default() };
    let decided = |plan: &TablePlan| (*plan.decision, *plan.decision_reason, plan.reason.is_some());
    let of = |findings: &[(FindingReason, Severity)], spec: &Spec| decided(&plan_of(findings, spec));
    let differs = [(FindingReason::TargetDiffers, Severity::Blocker)];
    let is = |decision: TableDecision, reason: DecisionReason, failed| (decision, reason, failed);
    assert_eq!(of(&[], &fail), is(TableDecision::Move, DecisionReason::Named, false));
    assert_eq!(of(&differs, &Spec::default()), is(TableDecision::Blocked, DecisionReason::Finding, true));
    for reason in OF_KIND {
        let found = [(reason, Severity::Blocker)];
        assert_eq!(of(&found, &Spec::default()), is(TableDecision::Skipped, DecisionReason::KindUnsupported, false));
        assert_eq!(of(&found, &fail), is(TableDecision::Blocked, DecisionReason::KindUnsupported, true));
    }
}

#[test]
fn a_table_is_unchanged_only_as_the_same_version_of_the_same_table_at_the_same_place() {
    use MigrationState::{Done, Init};
    assert!(is_at_target(stored(0, "id", Some("s"), Done), &planned()));
    assert!(is_at_target(stored(0, "id", None, Done), &planned()), "set by hand");
    for (stored, why) in [
        (stored(1, "id", Some("s"), Done), "another version"),
        (stored(0, "made anew", Some("s"), Done), "another table"),
        (stored(0, "", Some("s"), Done), "nobody knows which table"),
        (stored(0, "id", Some("elsewhere"), Done), "another place"),
        (stored(0, "id", Some("s"), Init), "not said to be there"),
        (catalog::Table { state: Done.into(), ..catalog::Table::default() }, "no version"),
    ] {
        assert!(!is_at_target(stored, &planned()), "{why}");
    }
}
