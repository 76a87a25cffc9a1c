//! The findings of a plan, from the mapping and from this service, in one form.

use mms_mapping::Finding;
use mms_proto::FindingReason;
use mms_proto::error::finding_reason;
use mms_proto::types::v1 as pb;

/// A finding that this service makes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    severity: pb::Severity,
    reason: FindingReason,
    column: String,
    message: String,
    remedy: String,
}

impl Note {
    /// A finding about the whole table. Empty `remedy`: nothing is to be done.
    pub fn new(
        severity: pb::Severity,
        reason: FindingReason,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity, reason, column: String::new(), message: message.into(), remedy: remedy.into() }
    }

    /// Makes the finding one about this column.
    pub fn of_column(mut self, column: impl Into<String>) -> Self {
        self.column = column.into();
        self
    }

    /// A finding that forbids the move.
    pub fn blocker(reason: FindingReason, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(pb::Severity::Blocker, reason, message, remedy)
    }

    /// The message of the contract.
    pub fn to_pb(&self, table: &str) -> pb::Finding {
        pb::Finding {
            severity: self.severity as i32,
            reason: self.reason as i32,
            table: table.to_owned(),
            column: self.column.clone(),
            message: self.message.clone(),
            remedy: self.remedy.clone(),
        }
    }
}

/// The contract's message for a finding of the mapping.
pub fn mapped(finding: &Finding, table: &str) -> pb::Finding {
    let severity = match finding.severity {
        mms_mapping::Severity::Note => pb::Severity::Note,
        mms_mapping::Severity::Lossy => pb::Severity::Lossy,
        mms_mapping::Severity::Blocker => pb::Severity::Blocker,
    };
    pb::Finding {
        severity: severity as i32,
        // A test below checks that the contract has every reason of the mapping.
        reason: finding_reason(finding.reason.code()).unwrap_or(FindingReason::Unspecified) as i32,
        table: table.to_owned(),
        column: finding.column.clone().unwrap_or_default(),
        message: finding.message.clone(),
        remedy: finding.remedy.clone(),
    }
}

/// Whether any finding forbids the move.
pub fn blocks(findings: &[pb::Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == pb::Severity::Blocker as i32)
}

#[cfg(test)]
mod tests {
    use mms_proto::descriptor;

    use super::*;

    #[test]
    fn the_contract_has_every_reason_of_the_mapping_with_its_severity() {
        let comment = |reason: FindingReason| {
            let kind = descriptor::pool().get_enum_by_name("mms.type.v1.FindingReason").unwrap();
            descriptor::comment(&kind.parent_file(), kind.get_value(reason as i32).unwrap().path())
        };
        for reason in mms_mapping::Reason::ALL {
            let told = finding_reason(reason.code()).unwrap_or_else(|| panic!("{}", reason.code()));
            let severity = format!("{:?}.", reason.severity()).to_uppercase();
            assert!(comment(told).starts_with(&severity), "{}: {}", reason.code(), comment(told));
        }
    }
}
