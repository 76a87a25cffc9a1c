//! Where a scan can stand.

use super::Scan;

/// The states of a scan; the numbers are those of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum ScanState {
    /// Waits for its turn.
    Pending = 1,
    /// Reads.
    Running = 2,
    /// Everything in scope was read.
    Done = 3,
    /// Some objects could not be read.
    Partial = 4,
    /// Could not be done at all.
    Failed = 5,
    /// Somebody cancelled it.
    Cancelled = 6,
}

impl ScanState {
    /// The state of a scan, of those that its table knows.
    pub fn of(scan: &Scan) -> Self {
        Self::try_from(scan.state).unwrap_or(Self::Failed)
    }

    /// Whether it has not ended.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}
