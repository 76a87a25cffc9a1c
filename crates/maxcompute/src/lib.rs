//! Client of a MaxCompute project.
//!
//! Without features this crate is the *model* of the target side, free of I/O: [`types`], [`table`], [`name`] and [`ddl`].
//! `client` adds REST, SQL and signing; `arrow` adds the tunnel, which moves rows as Arrow batches.
//!
//! It must never know where rows come from, and never decide what is to be published: it does what it is told, once,
//! and says truthfully what the server answered.

pub mod name;
pub mod table;
pub mod types;
