//! VERIFICATION: counts the rows of each unit at the target and compares them with those of the pinned version.

use std::collections::BTreeMap;

use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::{
    TargetUnit, ValueOrigin, Verdict, VerificationCheck, VerificationKind, VerificationLevel, VerificationResult,
};
use prost::Message as _;

use crate::context::{Published, Run};
use crate::count;
use crate::error::{Result, TransferError};
use crate::look::Sight;
use crate::target::Target;

/// The most checks of one report, in number and in bytes, and what a check takes on the wire besides its own bytes.
const CHECKS_MAX: usize = 10_000;
const CHECKS_BYTES_MAX: usize = 4 << 20;
const FRAME_BYTES: usize = 6;

/// Counts and compares. Fails with [`TransferError::Differs`] unless every check is equal. `sight` holds the rows of an
/// unpartitioned table if this attempt has just counted them.
pub async fn run(
    run: &Run,
    target: &Target,
    published: &Published,
    sight: Option<&Sight>,
) -> Result<(pb::StepDone, Vec<String>)> {
    let counted = match sight {
        Some(sight) => run.spec.units.iter().map(|unit| (unit.index, sight.rows())).collect(),
        None => counted(run, target).await?,
    };
    let checks: Vec<VerificationCheck> =
        run.spec.units.iter().map(|unit| check(unit, published, counted.get(&unit.index))).collect();
    let result = judge(checks)?;
    let line = format!("row counts of {} units are equal", result.checks_total);
    let done =
        pb::StepDone { step: pb::TaskStep::Verification as i32, verification: Some(result), ..pb::StepDone::default() };
    Ok((done, vec![line]))
}

/// Equal only if every check is: an unknown count proves nothing.
fn judge(checks: Vec<VerificationCheck>) -> Result<VerificationResult> {
    let different: Vec<&VerificationCheck> = checks.iter().filter(|c| c.verdict() != Verdict::Equal).collect();
    let message = different
        .iter()
        .take(10)
        .map(|c| format!("unit {}: source {}, target {}", c.unit_index, shown(&c.source_value), shown(&c.target_value)))
        .collect::<Vec<_>>()
        .join("; ");
    let verdict = if different.is_empty() { Verdict::Equal } else { Verdict::Different };
    let number = |checks: usize| i64::try_from(checks).unwrap_or(i64::MAX);
    let of = |verdict| number(different.iter().filter(|check| check.verdict() == verdict).count());
    let (checks_different, checks_unknown) = (of(Verdict::Different), of(Verdict::Unknown));
    let checks_total = number(checks.len());
    let result = VerificationResult {
        level: VerificationLevel::RowCount as i32,
        checks: fitting(checks),
        verdict: verdict as i32,
        checks_total,
        checks_different,
        checks_unknown,
    };
    if verdict != Verdict::Equal {
        let message = format!("row counts differ: {message}");
        return Err(TransferError::Differs { message, result: Box::new(result) });
    }
    Ok(result)
}

/// The checks that fit into one report; those that are not equal take precedence.
fn fitting(mut checks: Vec<VerificationCheck>) -> Vec<VerificationCheck> {
    checks.sort_by_key(|check| check.verdict() == Verdict::Equal);
    let mut bytes = 0;
    let room = checks.iter().take(CHECKS_MAX).take_while(|check| {
        bytes += check.encoded_len() + FRAME_BYTES;
        bytes <= CHECKS_BYTES_MAX
    });
    let room = room.count();
    checks.truncate(room);
    checks.sort_by_key(|check| check.unit_index);
    checks
}

fn shown(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("unknown")
}

/// The source's rows are those that the log of the pinned version records; if it records none, those that were read.
fn check(unit: &TargetUnit, published: &Published, counted: Option<&u64>) -> VerificationCheck {
    let read = published.get(&unit.index).map(|done| done.rows);
    let source = unit.source_rows.or(read);
    let verdict = match (source, counted) {
        (Some(source), Some(target)) if u64::try_from(source) == Ok(*target) => Verdict::Equal,
        (Some(_), Some(_)) => Verdict::Different,
        _ => Verdict::Unknown,
    };
    let origin = match (unit.source_rows, read) {
        (Some(_), _) => ValueOrigin::Log,
        (None, Some(_)) => ValueOrigin::Read,
        (None, None) => ValueOrigin::Unspecified,
    };
    VerificationCheck {
        unit_index: unit.index,
        kind: VerificationKind::RowCount as i32,
        source_value: source.map(|rows| rows.to_string()),
        source_origin: origin as i32,
        target_value: counted.map(ToString::to_string),
        verdict: verdict as i32,
        ..VerificationCheck::default()
    }
}

/// Rows at the target, by unit index.
async fn counted(run: &Run, target: &Target) -> Result<BTreeMap<i32, u64>> {
    if target.definition.partition_columns.is_empty() {
        let rows = count::table(target).await?;
        return Ok(run.spec.units.iter().map(|unit| (unit.index, rows)).collect());
    }
    let specs = target.partitions(&run.spec.units)?;
    let found = count::partitions(target, &specs).await?;
    // A partition without rows is not in the result.
    let rows = |spec| found.get(&count::levels(spec)).copied().unwrap_or(0);
    Ok(run.spec.units.iter().zip(&specs).map(|(unit, spec)| (unit.index, rows(spec))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(source_rows: Option<i64>) -> TargetUnit {
        TargetUnit { index: 3, source_rows, ..TargetUnit::default() }
    }

    #[test]
    fn the_log_is_believed_before_what_was_read() {
        let read: Published = [(3, pb::UnitResult { unit_index: 3, rows: 5, bytes: 0 })].into();
        assert_eq!(check(&unit(Some(6)), &read, Some(&5)).verdict(), Verdict::Different);
        assert_eq!(check(&unit(Some(6)), &read, Some(&5)).source_origin(), ValueOrigin::Log);
        assert_eq!(check(&unit(None), &read, Some(&5)).source_origin(), ValueOrigin::Read);
        assert_eq!(check(&unit(None), &read, Some(&5)).verdict(), Verdict::Equal);
        assert_eq!(check(&unit(None), &Published::new(), Some(&5)).verdict(), Verdict::Unknown);
        assert_eq!(check(&unit(Some(5)), &read, None).verdict(), Verdict::Unknown);
    }

    #[test]
    fn what_is_not_known_is_not_equal() {
        let read: Published = [(3, pb::UnitResult { unit_index: 3, rows: 5, bytes: 0 })].into();
        let equal = || check(&unit(Some(5)), &read, Some(&5));
        assert!(judge(vec![equal(), equal()]).is_ok());
        let error = judge(vec![equal(), check(&unit(Some(5)), &read, None)]).expect_err("one is not known");
        assert!(error.to_string().contains("unit 3: source 5, target unknown"), "{error}");
    }

    #[test]
    fn what_a_report_leaves_out_is_equal_and_counted() {
        let read: Published = [(3, pb::UnitResult { unit_index: 3, rows: 5, bytes: 0 })].into();
        let mut checks = vec![check(&unit(Some(5)), &read, Some(&5)); CHECKS_MAX];
        checks.push(check(&unit(Some(6)), &read, Some(&5)));
        let Err(TransferError::Differs { result, .. }) = judge(checks) else { panic!("one differs") };
        assert_eq!(result.checks.len(), CHECKS_MAX);
        assert_eq!((result.checks_total, result.checks_different), (10_001, 1));
        assert!(result.checks.iter().any(|check| check.verdict() == Verdict::Different));
        let mut wide = check(&unit(Some(5)), &read, Some(&5));
        wide.column = "x".repeat(1 << 20);
        assert_eq!(judge(vec![wide; 8]).expect("equal").checks.len(), 3);
    }
}
