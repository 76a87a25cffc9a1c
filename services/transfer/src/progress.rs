//! How far an attempt is, for heartbeats and for TransferService. In memory only.

use std::sync::atomic::{AtomicI32, AtomicI64, Ordering::Relaxed};

use mms_proto::scheduler::v1::{TaskProgress, TaskStep};
use mms_proto::transfer::v1::TransferStep;

#[derive(Debug, Default)]
pub struct Progress {
    step: AtomicI32,
    shown: AtomicI32,
    rows: AtomicI64,
    bytes: AtomicI64,
    units: AtomicI32,
}

impl Progress {
    /// Sets the step, for both readers.
    pub fn set_step(&self, step: TaskStep) {
        self.step.store(step as i32, Relaxed);
        self.show(match step {
            TaskStep::Data => TransferStep::Data,
            TaskStep::Verification => TransferStep::Verification,
            TaskStep::Look => TransferStep::Look,
            _ => TransferStep::Schema,
        });
    }

    /// Sets the step that people see; the heartbeat's stays.
    pub fn show(&self, step: TransferStep) {
        self.shown.store(step as i32, Relaxed);
    }

    /// Shows that all steps are done.
    pub fn finish(&self) {
        self.show(TransferStep::Done);
    }

    /// Sets rows and bytes read so far, of finished units and of the current one.
    pub fn set(&self, rows: i64, bytes: i64) {
        self.rows.store(rows, Relaxed);
        self.bytes.store(bytes, Relaxed);
    }

    /// Sets the number of units published so far.
    pub fn set_units(&self, units: usize) {
        self.units.store(i32::try_from(units).unwrap_or(i32::MAX), Relaxed);
    }

    /// What the heartbeat reports.
    pub fn beat(&self) -> TaskProgress {
        TaskProgress { step: self.step.load(Relaxed), rows: self.rows.load(Relaxed), bytes: self.bytes.load(Relaxed) }
    }

    /// What people see: the step, and the number of units published.
    pub fn shown(&self) -> (TransferStep, i32) {
        (TransferStep::try_from(self.shown.load(Relaxed)).unwrap_or_default(), self.units.load(Relaxed))
    }
}
