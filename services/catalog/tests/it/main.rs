//! The integration tests of this crate, one module a behaviour: one program, so that they link once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod existing_target;
mod filters;
mod pin;
mod places;
mod plan_of_odd_tables;
mod real_tables;
mod reports;
mod scan;
mod scan_clock;
mod scan_life;
mod scan_wide;
mod sessions;
mod support;
mod targets;
mod unreadable;
