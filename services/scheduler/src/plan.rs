//! Decides which tables a job moves and which tasks they become. It stores tables, manifests, claims and tasks; it must
//! never open a table itself: the catalog pins each one and streams its files.

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
