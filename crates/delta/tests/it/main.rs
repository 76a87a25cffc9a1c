//! The integration tests of this crate, one module per behaviour, in one program so that it links once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;
mod differential;
mod handmade;
mod many_files;
mod odd_files;
mod odd_logs;
mod planning;
mod real_tables;
mod refusals;
mod requests;
mod sample_tables;
