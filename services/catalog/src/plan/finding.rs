//! What a plan found, whoever found it: the mapping, or this service.

use mms_mapping::Finding;
use mms_proto::types::v1 as pb;

/// A finding of this service itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    severity: pb::Severity,
    reason: &'static str,
    column: String,
    message: String,
    remedy: String,
}

impl Note {
    /// A finding about the whole table.
    pub fn new(
        severity: pb::Severity,
        reason: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity, reason, column: String::new(), message: message.into(), remedy: remedy.into() }
    }

    /// The same, about one column.
    pub fn of_column(mut self, column: impl Into<String>) -> Self {
        self.column = column.into();
        self
    }

    /// A finding that forbids the move.
    pub fn blocker(reason: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(pb::Severity::Blocker, reason, message, remedy)
    }

    /// As the contract has it.
    pub fn to_pb(&self, table: &str) -> pb::Finding {
        pb::Finding {
            severity: self.severity as i32,
            reason: self.reason.to_owned(),
            table: table.to_owned(),
            column: self.column.clone(),
            message: self.message.clone(),
            remedy: self.remedy.clone(),
        }
    }
}

/// A finding of the mapping as the contract has it.
pub fn mapped(finding: &Finding, table: &str) -> pb::Finding {
    let severity = match finding.severity {
        mms_mapping::Severity::Note => pb::Severity::Note,
        mms_mapping::Severity::Lossy => pb::Severity::Lossy,
        mms_mapping::Severity::Blocker => pb::Severity::Blocker,
    };
    pb::Finding {
        severity: severity as i32,
        reason: finding.reason.code().to_owned(),
        table: table.to_owned(),
        column: finding.column.clone().unwrap_or_default(),
        message: finding.message.clone(),
        remedy: finding.remedy.clone(),
    }
}

/// Whether any of them forbids the move.
pub fn blocks(findings: &[pb::Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == pb::Severity::Blocker as i32)
}
