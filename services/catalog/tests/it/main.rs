//! The integration tests of this crate, one module for each behaviour. They are one program, so that they are linked once.

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
