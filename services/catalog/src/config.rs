//! The configuration of this service: its options, defaults and bounds.

use mms_server::{ClientConfig, Faults, FrameConfig, ServiceConfig};
use serde::{Deserialize, Serialize};

/// The section `[catalog]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address of the registry, and how to connect to it.
    pub registry: ClientConfig,
    /// Limits of scans.
    pub scan: ScanConfig,
    /// Limits of plans.
    pub plan: PlanConfig,
    /// Whether sources and targets may be at loopback addresses, as the sandbox is. Metadata and link-local addresses are always
    /// denied; private ones are denied unless the data source's network connection names the host.
    pub allow_loopback: bool,
}

/// The section `[catalog.scan]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScanConfig {
    /// How many scans run at once, each of another data source; further ones wait. From 1 to 64.
    pub at_once: usize,
    /// Concurrent metadata calls of one scan, for data sources that set nothing. From 1 to 64.
    pub metadata_concurrency: usize,
}

/// The section `[catalog.plan]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanConfig {
    /// Bytes of memory that the files of one plan may take; a file takes about a hundred. The log of a table with more files is
    /// read several times. From 1 MiB to 16 GiB.
    pub memory_bytes: usize,
    /// Bytes of memory for the files of logs that are kept for 15 minutes, so that a plan need not read a log again that a scan
    /// has just read; scans may take as much again while they read. 0 keeps nothing; at most 16 GiB.
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
