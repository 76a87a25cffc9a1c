//! Converts reports of checks.

use mms_proto::registry::v1 as pb;
use mms_proto::time::{millis, timestamp};

use super::value::duration_of;
use crate::record::{CheckReport, CheckStep};

/// The record of a report.
pub fn report_from(report: &pb::CheckReport) -> CheckReport {
    let steps = report.steps.iter().map(|step| CheckStep {
        id: step.id,
        subject: step.subject.clone(),
        state: step.state,
        message: step.message.clone(),
        remedy: step.remedy.clone(),
        duration_ms: step.duration.map_or(0, |d| d.seconds * 1000 + i64::from(d.nanos) / 1_000_000),
    });
    CheckReport { steps: steps.collect(), state: report.state, end_ms: millis(report.end_time) }
}

/// The contract's message of a stored report.
pub fn report_to(record: &CheckReport) -> pb::CheckReport {
    let steps = record.steps.iter().map(|step| pb::CheckStep {
        id: step.id,
        subject: step.subject.clone(),
        state: step.state,
        message: step.message.clone(),
        remedy: step.remedy.clone(),
        duration: duration_of(step.duration_ms),
    });
    pb::CheckReport { steps: steps.collect(), state: record.state, end_time: timestamp(record.end_ms) }
}
