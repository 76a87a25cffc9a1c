//! What the tests of this package share: real processes of the suite and of the sandbox, interpreters of other
//! languages, and the tables that are moved. The product uses nothing of it.
//!
//! A test that needs something that this machine does not have prints `SKIPPED what: why` and passes; the runner counts
//! it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the runner reads what tests print")]

pub mod attack;
pub mod azurite;
pub mod calls;
pub mod collector;
pub mod compose;
pub mod echo;
pub mod faults;
pub mod figures;
pub mod gate;
pub mod held;
pub mod login;
pub mod metrics;
pub mod outsider;
pub mod page;
pub mod parts;
pub mod peers;
pub mod process;
pub mod raw;
pub mod sandbox;
pub mod slow_link;
pub mod suite;
pub mod tables;
/// Messages encoded by hand, shared with the tests of the contract.
#[path = "../../crates/proto/tests/it/wire.rs"]
pub mod wire;
