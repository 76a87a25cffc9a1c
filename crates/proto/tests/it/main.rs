//! The integration tests of this crate, one module per behaviour, in one program so that they link once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bounds;
mod canonical_json;
mod contract;
mod field_rules;
mod memory;
mod name_examples;
mod names;
mod not_yet;
mod reasons_page;
mod wire;
