//! The integration tests of this crate, one module a behaviour: one program, so that they link once.

mod again;
mod blocks;
mod canary;
mod chaos;
mod contract_is_whole;
mod databricks_sdk;
mod demo;
mod deploy;
mod drain_worker;
mod hostile;
mod kills;
mod line;
mod lineage;
mod memory;
mod metrics;
mod metrics_cost;
mod metrics_rules;
mod not_yet;
mod owners;
mod pyodps;
mod python_client;
mod python_worker;
mod readme;
mod reasons;
mod recover;
mod replace;
mod skipped;
mod target_changes;
mod typescript_client;
mod use_edges;
// Messages made by hand, as the contract's own tests make them.
#[path = "../../crates/proto/tests/it/wire.rs"]
mod wire;
