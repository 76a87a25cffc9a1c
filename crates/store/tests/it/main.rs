//! The integration tests of this crate, one module per behaviour, in one program so that they link once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;
mod conformance;
mod crash;
mod damage;
mod descriptors;
mod durable_before_ack;
mod export_restore;
mod failed_apply;
mod failing_disk;
mod full_disk;
mod migration;
mod model;
mod observed;
mod opening;
mod real_fdatasync;
