//! The states of a scan.

use super::Scan;

/// The numbers are those of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum ScanState {
    /// Waits until fewer scans run.
    Pending = 1,
    /// Reads the source.
    Running = 2,
    /// Everything in scope was read.
    Done = 3,
    /// Some objects could not be read.
    Partial = 4,
    /// The scan ended with an error.
    Failed = 5,
    /// A caller cancelled it.
    Cancelled = 6,
}

impl ScanState {
    /// The state of a scan. An unknown number, which the store rejects as damaged, would be FAILED.
    pub fn of(scan: &Scan) -> Self {
        Self::try_from(scan.state).unwrap_or(Self::Failed)
    }

    /// Whether it has not ended.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}
