//! Which tables a job takes, and what tasks they become.

mod known;
pub mod limits;
mod listing;
pub mod parts;
pub mod planner;
pub mod scope;
mod split;
mod spool;
pub mod table;
pub mod tasks;
pub mod waits;
