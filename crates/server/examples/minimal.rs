//! The whole `main` of a service: its section of the configuration and how it is assembled. This one serves health and
//! reflection and nothing else.

use std::process::ExitCode;

use mms_server::{Secret, ServiceConfig, Services};
use serde::{Deserialize, Serialize};

/// The section `[minimal]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Minimal {
    key: Option<Secret>,
    label: Option<String>,
}

impl ServiceConfig for Minimal {
    const SERVICE: &'static str = "minimal";
    const DEFAULT_PORT: u16 = 0;
}

fn main() -> ExitCode {
    mms_server::main::<Minimal, _, _>(env!("CARGO_PKG_VERSION"), |context| async move {
        tracing::info!(listen = %context.local_addr, key = ?context.config.key, label = ?context.config.label, "ready");
        Ok(Services::new())
    })
}
