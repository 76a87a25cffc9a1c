//! The integration tests of this crate, one module per behaviour, in one program so that they link once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod config;
mod drain;
mod faults;
mod hostile;
mod metrics;
mod metrics_table;
mod process;
mod reflection;
mod renew;
mod rights;
mod support;
mod tls;
mod trace;
