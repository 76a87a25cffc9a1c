//! The integration tests of this crate, one module per behaviour, in one program so that it links once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;
mod login;
mod objects;
mod paging;
mod refusals;
mod spark;
mod sql;
