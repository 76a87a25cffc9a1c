//! What can be configured in this service.

use mms_server::{ClientConfig, Faults, FrameConfig, ServiceConfig};
use serde::{Deserialize, Serialize};

/// The section `[catalog]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How to reach the registry.
    pub registry: ClientConfig,
    /// Bounds of scans.
    pub scan: ScanConfig,
    /// Bounds of plans.
    pub plan: PlanConfig,
    /// Whether far ends may lie on this machine's loopback: for the sandbox. Metadata and link-local addresses are denied
    /// whatever this says, private ones unless the data source's network connection names the host.
    pub allow_loopback: bool,
}

/// The section `[catalog.scan]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScanConfig {
    /// Scans that run at once, each of another data source; further ones wait.
    pub at_once: usize,
    /// Metadata calls of one scan at once, where its data source says nothing.
    pub metadata_concurrency: usize,
}

/// The section `[catalog.plan]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanConfig {
    /// Bytes that the files of one plan may take in memory, about a hundred each. The log of a table with more is read several
    /// times.
    pub memory_bytes: usize,
    /// Bytes that files of logs may take which are kept for 15 minutes, so that a plan need not read what a scan has just read;
    /// and the same while scans read them. 0: nothing is kept.
    pub kept_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            registry: ClientConfig::to("http://127.0.0.1:7401"),
            scan: ScanConfig::default(),
            plan: PlanConfig::default(),
            allow_loopback: false,
        }
    }
}

impl Default for ScanConfig {
    fn default() -> Self {
        Self { at_once: 4, metadata_concurrency: mms_proto::defaults::METADATA_CONCURRENCY }
    }
}

impl Default for PlanConfig {
    fn default() -> Self {
        Self { memory_bytes: 256 << 20, kept_bytes: 256 << 20 }
    }
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "catalog";
    const DEFAULT_PORT: u16 = 7402;

    fn check(&self, _frame: &FrameConfig, faults: &mut Faults) {
        self.registry.check("catalog.registry", faults);
        if !(1..=64).contains(&self.scan.at_once) {
            faults.add("catalog.scan.at_once", "must be from 1 to 64");
        }
        if !(1..=64).contains(&self.scan.metadata_concurrency) {
            faults.add("catalog.scan.metadata_concurrency", "must be from 1 to 64");
        }
        if !((1 << 20)..=(16 << 30)).contains(&self.plan.memory_bytes) {
            faults.add("catalog.plan.memory_bytes", "must be from 1048576 to 17179869184");
        }
        if self.plan.kept_bytes > 16 << 30 {
            faults.add("catalog.plan.kept_bytes", "must be at most 17179869184");
        }
    }
}
