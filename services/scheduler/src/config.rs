//! The configuration of this service, beside the frame's.

use std::time::Duration;

use mms_server::{ClientConfig, Faults, FrameConfig, ServiceConfig};
use serde::{Deserialize, Serialize};

/// The section `[scheduler]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the registry is reached.
    pub registry: ClientConfig,
    /// How the catalog is reached.
    pub catalog: ClientConfig,
    /// Seconds that a lease lasts without a heartbeat, 1 to 3600. Short: tasks of a dead worker are soon leased again.
    /// Long: workers survive longer outages of this service.
    pub lease_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            registry: ClientConfig::to("http://127.0.0.1:7401"),
            catalog: ClientConfig::to("http://127.0.0.1:7402"),
            lease_seconds: 30,
        }
    }
}

impl Config {
    /// How long a lease lasts without a heartbeat.
    pub fn lease_term(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "scheduler";
    const DEFAULT_PORT: u16 = 7403;

    fn check(&self, _: &FrameConfig, faults: &mut Faults) {
        self.registry.check("scheduler.registry", faults);
        self.catalog.check("scheduler.catalog", faults);
        if !(1..=3600).contains(&self.lease_seconds) {
            faults.add("scheduler.lease_seconds", "must be from 1 to 3600");
        }
    }
}
