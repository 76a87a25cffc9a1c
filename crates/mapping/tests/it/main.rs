//! The integration tests of this crate: one module per behaviour, in one program, so that they link once.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod existing;
mod plan;
mod properties;
