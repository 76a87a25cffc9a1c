//! Both far ends of a migration, on loopback, speaking the real wire protocols: [`project`] is a MaxCompute project,
//! [`workspace`] a Databricks workspace. [`samples`] writes Delta tables for them.
//!
//! Nothing here may share wire code with our own clients: what both sides get wrong in the same way, no test would find.

pub mod project;
pub mod samples;
pub mod workspace;
