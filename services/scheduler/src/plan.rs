//! Which tables a job takes, and what tasks they become.

pub mod planner;
pub mod scope;
mod split;
mod spool;
pub mod tasks;
