//! The integration tests of this crate, one module a behaviour: one program, so that they link once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;
mod login;
mod objects;
mod paging;
mod refusals;
mod spark;
mod sql;
