//! The source and the target of a migration on loopback, speaking the real wire protocols: [`project`] is a MaxCompute
//! project, [`workspace`] is a Databricks workspace. [`samples`] writes Delta tables for the workspace to serve.
//!
//! Nothing here may share wire code with our own clients: a mistake made the same way on both sides would pass every
//! test.

pub mod project;
pub mod samples;
pub mod workspace;
