//! The integration tests of this crate: one module per behaviour, in one program, so that they link once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod faults;
mod sandbox_roundtrip;
mod storage_api;
mod support;
