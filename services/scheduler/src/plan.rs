//! Which tables a job takes, and what tasks they become.

mod listing;
pub mod planner;
pub mod scope;
mod split;
mod spool;
mod table;
pub mod tasks;
pub mod waits;
