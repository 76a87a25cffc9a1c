//! The integration tests of this crate, one module a behaviour: one program, so that they link once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod check;
mod common;
mod network;
mod resource;
mod running;
mod secrets;
mod vend;
mod watch;
