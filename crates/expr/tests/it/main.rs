//! The integration tests of this crate, one module for each behaviour. They are one program, so that they are linked once.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod language;
mod properties;
